//! `hpcvm image diff`

use std::fmt::{Display, Write as _};

use super::ui::Style;
use super::{CliError, Context, Exit};
use crate::image::file_list::{ListedFile, ListedKind};
use crate::report::{Change, Comparison, Facts, ReportError};
use crate::units::Bytes;

/// How many changes of each kind are shown without `--all`.
const SHOWN: usize = 20;

/// Arguments of `hpcvm image diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first image, named as for `image show`
    a: String,
    /// The second image
    b: String,
    /// Show every change, not only the first 20 of each kind
    #[arg(long)]
    all: bool,
}

/// Tells how two images differ.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let store = context.store();
    let [before, after] = [&args.a, &args.b].map(|image| -> Result<Facts, CliError> {
        let image = store.find(image)?;
        Ok(Facts::read(&image).map_err(ReportError::from)?)
    });
    let comparison = Comparison::of(&before?, &after?);
    if context.ui.json() {
        context.ui.print_json(&comparison)?;
    } else {
        let limit = if args.all { usize::MAX } else { SHOWN };
        context.ui.print(text(&comparison, limit, context.ui.stdout_style()))?;
    }
    Ok(if comparison.is_same() { Exit::Done } else { Exit::Found })
}

/// The comparison for a reader.
fn text(comparison: &Comparison, limit: usize, style: Style) -> String {
    let [before, after] =
        [&comparison.before, &comparison.after].map(|side| format!("{}@{}", side.name, side.digest.short()));
    if comparison.is_same() {
        return format!("{before}: the same image\n");
    }
    let mut text = format!("{before} -> {after}\n");
    let strings = |change: &String| change.clone();
    for section in [
        section("Facts", &comparison.facts, limit, style, strings),
        section("Sizes", &comparison.sizes, limit, style, |bytes| {
            Bytes(*bytes).to_string()
        }),
        section("Packages", &comparison.packages, limit, style, strings),
        section("Services removed", &comparison.services, limit, style, strings),
        section("Libraries", &comparison.libraries, limit, style, strings),
        section("Files", &comparison.files, limit, style, file_text),
    ] {
        text += &section;
    }
    text
}

/// The changes under their heading: `-` what is gone, `+` what is new, `~` what is otherwise.
fn section<T, D: Display>(
    title: &str,
    changes: &[Change<T>],
    limit: usize,
    style: Style,
    show: impl Fn(&T) -> D,
) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{} ({})\n", style.strong(title), changes.len());
    for Change { what, before, after } in changes.iter().take(limit) {
        // Writing to a string does not fail.
        match (before, after) {
            (Some(before), Some(after)) => writeln!(text, "  ~ {what}: {} -> {}", show(before), show(after)).ok(),
            (Some(before), None) => writeln!(text, "  - {what}: {}", show(before)).ok(),
            (None, Some(after)) => writeln!(text, "  + {what}: {}", show(after)).ok(),
            (None, None) => None,
        };
    }
    if changes.len() > limit {
        writeln!(text, "    and {} more (--all)", changes.len() - limit).ok();
    }
    text
}

/// What a file is, in a few words.
fn file_text(file: &ListedFile) -> String {
    let mut text = match file.kind {
        ListedKind::Directory => "folder".to_owned(),
        ListedKind::File => format!("file of {} bytes", file.length.unwrap_or(0)),
        ListedKind::Symlink => "link".to_owned(),
        ListedKind::HardLink => "hard link".to_owned(),
        ListedKind::CharDevice => "character device".to_owned(),
        ListedKind::BlockDevice => "block device".to_owned(),
        ListedKind::Fifo => "named pipe".to_owned(),
    };
    // Writing to a string does not fail.
    if let Some(target) = &file.target {
        write!(text, " to {target}").ok();
    }
    if let Some((major, minor)) = file.device {
        write!(text, " {major}:{minor}").ok();
    }
    write!(text, " {} {}:{}", file.mode, file.uid, file.gid).ok();
    if let Some(digest) = file.digest {
        write!(text, " sha256:{}", digest.short()).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::report::Side;

    fn comparison(after: &[u8]) -> Comparison {
        let side = |digest: &[u8]| Side {
            name: "a".to_owned(),
            digest: Digest::of(digest),
        };
        let change = |what: &str, before: Option<&str>, after: Option<&str>| Change {
            what: what.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        Comparison {
            diff: 1,
            before: side(b"1"),
            after: side(after),
            facts: vec![change("kernel.release", Some("6.1"), Some("6.2"))],
            sizes: vec![Change {
                what: "root file system".to_owned(),
                before: Some(2048),
                after: Some(1024),
            }],
            packages: vec![
                change("bash:i386", Some("5.2"), None),
                change("dash:i386", None, Some("0.5")),
                change("grep:i386", None, Some("3.8")),
            ],
            services: Vec::new(),
            libraries: Vec::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn changes_are_told_line_by_line() {
        insta::assert_snapshot!(text(&comparison(b"2"), 2, Style::Plain), @r"
        a@6b86b273ff34 -> a@d4735e3a265e

        Facts (1)
          ~ kernel.release: 6.1 -> 6.2

        Sizes (1)
          ~ root file system: 2.0 KiB -> 1.0 KiB

        Packages (3)
          - bash:i386: 5.2
          + dash:i386: 0.5
            and 1 more (--all)
        ");
        assert_eq!(
            text(&comparison(b"1"), 2, Style::Plain),
            "a@6b86b273ff34: the same image\n"
        );
    }
}
