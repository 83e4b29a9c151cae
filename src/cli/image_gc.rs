//! `hpcvm image gc`

use std::time::Duration;

use super::{CliError, Context, Exit};
use crate::image::garbage::{Reprieve, Sweep};
use crate::units::Bytes;

/// Arguments of `hpcvm image gc`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tell what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep images that are younger than this, such as 30m or 720h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::run::duration)]
    older_than: Duration,
}

/// Removes the images that no name stands for.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let sweep = context.store().sweep(args.older_than, args.dry_run)?;
    if context.ui.json() {
        let report = serde_json::json!({
            "gc": 1,
            "dry-run": args.dry_run,
            "removed": sweep.removed,
            "kept": sweep.kept,
            "freed": sweep.freed,
        });
        context.ui.print_json(&report)?;
    } else {
        context.ui.print(text(&sweep, args.dry_run))?;
    }
    Ok(Exit::Done)
}

fn text(sweep: &Sweep, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    let mut lines: Vec<String> = sweep
        .removed
        .iter()
        .map(|image| format!("{verb} {}@{}, {}", image.name, image.digest.short(), Bytes(image.bytes)))
        .collect();
    for kept in &sweep.kept {
        let why = match kept.why {
            Reprieve::InUse => "it is in use",
            Reprieve::Young => "it is young (--older-than)",
            Reprieve::Unreadable => "its manifest cannot be read: a newer hpcvm may have made it",
        };
        lines.push(format!("kept {}: {why}", kept.digest.short()));
    }
    let count = sweep.removed.len();
    let (images, freed) = (if count == 1 { "image" } else { "images" }, Bytes(sweep.freed));
    lines.push(match (count, dry_run) {
        (0, _) => "nothing to remove".to_owned(),
        (_, true) => format!("{count} {images} would free {freed}"),
        (_, false) => format!("{count} {images} freed {freed}"),
    });
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::garbage::{KeptImage, SweptImage};

    #[test]
    fn what_went_and_what_stayed_is_told() {
        let image = SweptImage {
            name: "minimal".to_owned(),
            digest: Digest::of(b"1"),
            bytes: 2048,
        };
        let sweep = Sweep {
            removed: vec![image],
            kept: vec![KeptImage {
                digest: Digest::of(b"2"),
                why: Reprieve::InUse,
            }],
            freed: 2048,
        };
        insta::assert_snapshot!(text(&sweep, true), @r"
        would remove minimal@6b86b273ff34, 2.0 KiB
        kept d4735e3a265e: it is in use
        1 image would free 2.0 KiB
        ");
        assert_eq!(text(&Sweep::default(), false), "nothing to remove\n");
    }
}
