//! How the root file system shrank and grew, from the packages to the boot disk.

use serde::Serialize;

use super::amount::{Amount, name, per_cent, thousandths};
use super::facts::Facts;
use crate::image::DISK_FILE;
use crate::image::manifest::{Manifest, StepSize};

/// One line of the picture.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    title: String,
    note: String,
    amount: Amount,
    /// Against the line before: `−38.0 MiB`; empty for the first.
    change: String,
    shrinks: bool,
    /// What the missing part of the line is drawn as.
    gone: &'static str,
    /// Of the longest line.
    share: String,
    parts: Vec<Part>,
    /// Where the parts end and where the line before ended, in thousandths of the width.
    end: u64,
    before: u64,
}

/// One coloured part of a line, in thousandths of the width.
#[derive(Debug, Serialize)]
struct Part {
    kind: &'static str,
    title: String,
    from: u64,
    width: u64,
}

/// The steps of the build, then the file system made of it, then the boot disk.
pub(super) fn stages(facts: &Facts) -> Vec<Stage> {
    let manifest = &facts.manifest;
    let whole = longest(manifest);
    let mut stages: Vec<Stage> = Vec::new();
    let mut add = |title: String, note: String, parts: &[(&'static str, String, u64)], gone| {
        let stage = Stage::new(title, note, parts, stages.last(), whole);
        stages.push(Stage { gone, ..stage });
    };
    for step in &manifest.steps {
        let title = step_title(&step.name).map_or_else(|| step.name.clone(), str::to_owned);
        let note = super::amount::count(step.entries, "entry", "entries");
        add(
            title,
            note,
            &[("tree", "files of the root file system".to_owned(), step.bytes)],
            if step.name == "libraries" { "linked" } else { "gone" },
        );
    }
    let root = &manifest.root;
    let how = match root.compression {
        Some(compression) => format!("squashfs, {}", name(compression)),
        None => "ext4, with its free space".to_owned(),
    };
    add(
        "Root file system".to_owned(),
        how,
        &[("root", "root file system".to_owned(), root.length)],
        "gone",
    );
    let disk = manifest.artefact(DISK_FILE).map_or(0, |disk| disk.length);
    let (boot, root) = (manifest.disk.boot.length, manifest.disk.root.length);
    let rest = disk.saturating_sub(boot).saturating_sub(root);
    add(
        "Boot disk".to_owned(),
        DISK_FILE.to_owned(),
        &[
            ("root", "root partition".to_owned(), root.min(disk)),
            (
                "boot",
                "boot partition: kernel and initial RAM disk".to_owned(),
                boot.min(disk),
            ),
            ("rest", "header and alignment".to_owned(), rest),
        ],
        "gone",
    );
    stages
}

fn longest(manifest: &Manifest) -> u64 {
    let disk = manifest.artefact(DISK_FILE).map_or(0, |disk| disk.length);
    let steps = manifest.steps.iter().map(|step: &StepSize| step.bytes);
    steps.chain([manifest.root.length, disk]).max().unwrap_or(0)
}

/// What a step of the build is called on the page.
fn step_title(step: &str) -> Option<&'static str> {
    Some(match step {
        "bootstrap" => "Packages unpacked",
        "services" => "Services stripped",
        "purge" => "Purge rules applied",
        "libraries" => "Libraries linked",
        "overlays" => "Overlays laid over",
        _ => return None,
    })
}

impl Stage {
    fn new(
        title: String,
        note: String,
        parts: &[(&'static str, String, u64)],
        last: Option<&Self>,
        whole: u64,
    ) -> Self {
        let bytes = parts
            .iter()
            .fold(0_u64, |sum, (_, _, bytes)| sum.saturating_add(*bytes));
        let mut at = 0_u64;
        let mut drawn = Vec::new();
        for (kind, title, bytes) in parts {
            let from = thousandths(at, whole);
            at = at.saturating_add(*bytes);
            let part = Part {
                kind,
                title: format!("{title}: {}", Amount::new(*bytes).text),
                from,
                width: thousandths(at, whole).saturating_sub(from),
            };
            drawn.push(part);
        }
        let before = last.map_or(bytes, |last| last.amount.bytes);
        Self {
            title,
            note,
            amount: Amount::new(bytes),
            change: last.map_or_else(String::new, |_| change(before, bytes)),
            shrinks: bytes < before,
            gone: "gone",
            share: per_cent(bytes, whole),
            parts: drawn,
            end: thousandths(bytes, whole),
            before: thousandths(before, whole),
        }
    }
}

/// The difference with its sign.
fn change(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        std::cmp::Ordering::Less => format!("\u{2212}{}", Amount::new(before - after).text),
        std::cmp::Ordering::Equal => "no change".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", Amount::new(after - before).text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_changed() {
        for (before, after, text) in [
            (2048, 1024, "\u{2212}1.0 KiB"),
            (5, 5, "no change"),
            (0, 1024, "+1.0 KiB"),
        ] {
            assert_eq!(change(before, after), text);
        }
    }

    #[test]
    fn parts_stand_side_by_side_and_within_the_width() {
        let parts = [("root", "r".to_owned(), u64::MAX), ("boot", "b".to_owned(), 7)];
        let stage = Stage::new("Disk".to_owned(), String::new(), &parts, None, u64::MAX);
        assert_eq!((stage.parts[0].from, stage.parts[0].width), (0, 1000));
        assert_eq!((stage.parts[1].from, stage.parts[1].width), (1000, 0));
        assert_eq!((stage.end, stage.change.as_str()), (1000, ""));
    }
}
