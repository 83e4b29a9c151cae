//! `hpcvm doctor`

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use super::image_table::flush_left;
use super::ui::Style;
use super::{CliError, Context, Exit};
use crate::host::{Finding, Purpose, State, Surroundings, schedulers, survey};

/// Arguments of `hpcvm doctor`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exits with 1 when something that is needed does not work. \
                             With --json: {\"doctor\": 1, \"findings\": [{subject, state, detail, remedy}]}.")]
pub struct Args {
    /// Look only at what building images, or running jobs, needs
    #[arg(long = "for", value_name = "PURPOSE")]
    purpose: Option<Purpose>,
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    /// Version of this format.
    doctor: u32,
    findings: &'a [Finding],
}

/// Looks at the host and prints what was found.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let around = Surroundings {
        host: &context.host,
        store: &context.places.store,
        cache: &context.places.cache,
        scratch: &context.places.scratch,
    };
    let mut findings = survey(around, args.purpose);
    if args.purpose != Some(Purpose::Build) {
        let has_variable = |name: &str| context.environment.get(name).is_some();
        findings.extend(schedulers(&context.host, &has_variable));
    }
    if context.ui.json() {
        let report = Report {
            doctor: 1,
            findings: &findings,
        };
        context.ui.print_json(&report)?;
    } else {
        context.ui.print(table(&findings, context.ui.stdout_style()))?;
    }
    let sound = findings.iter().all(|finding| finding.state != State::Problem);
    Ok(if sound { Exit::Done } else { Exit::Found })
}

/// One line a finding, its remedy below it.
fn table(findings: &[Finding], style: Style) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    for finding in findings {
        let state = match finding.state {
            State::Ok => style.good("ok"),
            State::Warning => style.warning("warning"),
            State::Problem => style.error("problem"),
        };
        table.add_row([
            Cell::new(state),
            Cell::new(&finding.subject),
            Cell::new(&finding.detail),
        ]);
        if let Some(remedy) = &finding.remedy {
            table.add_row(["", "", &format!("-> {remedy}")]);
        }
    }
    flush_left(&mut table);
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    format!(
        "{}\n\nok: {}, warnings: {}, problems: {}\n",
        table.trim_fmt(),
        count(State::Ok),
        count(State::Warning),
        count(State::Problem)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_stand_below_what_they_mend() {
        let finding = |subject: &str, state, remedy: Option<&str>| Finding {
            subject: subject.to_owned(),
            state,
            detail: "not installed".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let findings = [
            finding("mcopy", State::Problem, Some("apt-get install mtools")),
            finding("qemu-img", State::Ok, None),
        ];
        insta::assert_snapshot!(table(&findings, Style::Plain), @r"
        problem  mcopy     not installed
                           -> apt-get install mtools
        ok       qemu-img  not installed

        ok: 1, warnings: 0, problems: 1
        ");
    }
}
