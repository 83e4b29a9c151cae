//! The figures of a benchmark as tables for a reader.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::crowd::{Memory, Rate};
use super::report::{Compared, Figures, Report};
use super::statistics::Summary;

/// The tables: what was measured, how it compares, on what.
#[must_use]
pub fn render(report: &Report) -> String {
    let machine = &report.machine;
    let load = machine
        .load_before
        .map_or("unknown".to_owned(), |load| format!("{load:.2}"));
    let images: Vec<String> = report
        .images
        .iter()
        .map(|image| format!("{}@{}", image.name, image.digest.short()))
        .collect();
    format!(
        "{}\n{}{}{}{}job: {}\n{} cores, {}; load before {load}; {} ({}); {}\n",
        figures(&report.figures()),
        ratios(&report.ratios()),
        differences(&report.differences()),
        memory(&report.memory),
        rates(&report.rates),
        report.job,
        machine.cores,
        machine.processor,
        machine.qemu,
        machine.accelerator.qemu(),
        images.join(", ")
    )
}

fn figures(figures: &[Figures]) -> String {
    let mut header = vec!["TO FIRST LINE", "N", "MEDIAN", "MIN", "MAX", "SPREAD", "CPU", "TO END"];
    let has_target = figures.iter().any(|one| one.target.is_some());
    if has_target {
        header.push("WANTED");
    }
    let row = |one: &Figures| {
        let first = &one.first_line;
        let median = |summary: Option<Summary>| seconds(summary.map(|summary| summary.median));
        let mut cells = vec![
            one.subject.to_string(),
            first.count.to_string(),
            seconds(Some(first.median)),
            seconds(Some(first.min)),
            seconds(Some(first.max)),
            format!("{:.0} %", first.spread * 100.0),
            median(one.cpu_first_line),
            median(one.total),
        ];
        if has_target {
            cells.push(one.target.unwrap_or_default().to_owned());
        }
        cells
    };
    table(&header, figures.iter().map(row))
}

fn ratios(ratios: &[Compared]) -> String {
    compared("RATIO", '/', factor, ratios)
}

fn differences(differences: &[Compared]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    compared("DIFFERENCE", '-', seconds, differences)
}

fn compared(what: &str, sign: char, written: fn(Option<f64>) -> String, rows: &[Compared]) -> String {
    let header = [what, "N", "MEDIANS", "PAIRED", "CPU", "WANTED"];
    let row = |one: &Compared| {
        vec![
            format!("{} {sign} {}", one.comparison.above, one.comparison.below),
            one.pairs.to_string(),
            written(Some(one.of_medians)),
            written(one.paired),
            written(one.of_cpu),
            one.comparison.target.unwrap_or_default().to_owned(),
        ]
    };
    table(&header, rows.iter().map(row)) + "\n"
}

fn memory(crowds: &[Memory]) -> String {
    if crowds.is_empty() {
        return String::new();
    }
    let header = ["VMS AT ONCE", "RSS", "PSS", "PRIVATE", "WANTED"];
    let row = |one: &Memory| {
        let mebibytes = |value: f64| format!("{value:.1} MiB");
        let numbers = [one.rss, one.pss, one.private].map(mebibytes);
        let wanted = if one.vms >= 32 { "PSS at most 32 MiB" } else { "" };
        [vec![one.vms.to_string()], numbers.to_vec(), vec![wanted.to_owned()]].concat()
    };
    table(&header, crowds.iter().map(row)) + "\n"
}

fn rates(rates: &[Rate]) -> String {
    if rates.is_empty() {
        return String::new();
    }
    let header = ["IN FLIGHT", "LAUNCHES", "FAILED", "BY SECOND"];
    let row = |one: &Rate| {
        vec![
            one.in_flight.to_string(),
            one.launches.to_string(),
            one.failures.to_string(),
            format!("{:.2}", one.per_second),
        ]
    };
    table(&header, rates.iter().map(row)) + "\n"
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3} s"))
}

fn factor(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}

/// Numbers to the right, two blanks between columns.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::super::job::Job;
    use super::super::report::tests::report;
    use super::super::subject::Subject::{Baseline, Bios, Direct, Floor, RestoreFloor, Warm, WarmProgram, WarmShared};
    use super::*;

    #[test]
    fn figures_stand_in_columns() {
        let report = report(&[
            (1, Floor, 1.0),
            (1, Direct, 1.3),
            (1, Bios, 1.9),
            (1, Baseline, 41.25),
            (2, Floor, 1.1),
            (2, Direct, 1.32),
        ]);
        insta::assert_snapshot!(render(&report), @r"
        TO FIRST LINE  N    MEDIAN       MIN       MAX  SPREAD       CPU    TO END
        floor          2   1.050 s   1.000 s   1.100 s    10 %   0.525 s   1.550 s
        direct         2   1.310 s   1.300 s   1.320 s     2 %   0.655 s   1.810 s
        bios           1   1.900 s   1.900 s   1.900 s     0 %   0.950 s   2.400 s
        baseline       1  41.250 s  41.250 s  41.250 s     0 %  20.625 s  41.750 s

        RATIO              N  MEDIANS  PAIRED    CPU        WANTED
        direct / floor     2     1.25    1.25   1.25  at most 1.35
        bios / floor       1     1.81    1.90   1.81   at most 2.0
        baseline / direct  1    31.49   31.73  31.49   at least 18

        job: echo hpcvm-bench, working directory shared
        2 cores, A processor; load before 0.10; QEMU emulator version 7.2 (tcg); minimal-i386@2d711642b726
        ");
    }

    #[test]
    fn warm_starts_are_compared_in_seconds_too() {
        let mut report = report(&[
            (1, RestoreFloor, 0.2),
            (1, Warm, 0.22),
            (1, WarmShared, 0.3),
            (1, WarmProgram, 0.25),
        ]);
        report.job = Job::SHELL;
        insta::assert_snapshot!(render(&report), @r"
        TO FIRST LINE  N   MEDIAN      MIN      MAX  SPREAD      CPU   TO END                         WANTED
        restore-floor  1  0.200 s  0.200 s  0.200 s     0 %  0.100 s  0.700 s
        warm           1  0.220 s  0.220 s  0.220 s     0 %  0.110 s  0.720 s  at most 0.22 s, to end 0.28 s
        warm-shared    1  0.300 s  0.300 s  0.300 s     0 %  0.150 s  0.800 s
        warm-program   1  0.250 s  0.250 s  0.250 s     0 %  0.125 s  0.750 s  at most 0.22 s, to end 0.28 s

        RATIO                 N  MEDIANS  PAIRED   CPU       WANTED
        warm / restore-floor  1     1.10    1.10  1.10  at most 1.2

        DIFFERENCE           N  MEDIANS   PAIRED      CPU          WANTED
        warm-shared - warm   1  0.080 s  0.080 s  0.040 s  at most 0.15 s
        warm-program - warm  1  0.030 s  0.030 s  0.015 s

        job: sh -c 'echo hpcvm-bench', nothing shared
        2 cores, A processor; load before 0.10; QEMU emulator version 7.2 (tcg); minimal-i386@2d711642b726
        ");
    }

    #[test]
    fn crowds_have_tables_of_their_own() {
        let mut report = report(&[]);
        report.memory.push(Memory {
            vms: 32,
            rss: 77.0,
            pss: 29.25,
            private: 28.0,
        });
        report.rates.push(Rate {
            in_flight: 4,
            launches: 24,
            failures: 0,
            per_second: 8.125,
        });
        let said = render(&report);
        assert!(
            said.contains("32           77.0 MiB  29.2 MiB  28.0 MiB  PSS at most 32 MiB"),
            "{said}"
        );
        assert!(said.contains("4                24       0       8.12"), "{said}");
    }
}
