//! `hpcvm image`

use std::path::PathBuf;

use clap::Subcommand;

use super::image_table::{Row, show, table};
use super::{CliError, Context, Exit, image_diff, image_export, image_gc, image_report};
use crate::image::StoredImage;
use crate::image::verify::{Difference, verify};

/// Arguments of `hpcvm image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List all images
    Ls,
    /// Tell what an image is made of
    Show(ShowArgs),
    /// Read an image whole and compare it with its manifest
    #[command(after_long_help = "Exits with 1 when the image is not what its manifest says.")]
    Verify(Which),
    /// Tell how two images differ
    #[command(after_long_help = "Exits with 1 when they differ.")]
    Diff(image_diff::Args),
    /// Write an image's disk for other programs
    #[command(
        after_long_help = "The same image gives the same bytes by the same tools. qemu-img makes qcow2, vmdk and ova."
    )]
    Export(image_export::Args),
    /// Remove the images that no name stands for and no machine uses
    Gc(image_gc::Args),
}

/// Which image.
#[derive(Debug, clap::Args)]
struct Which {
    /// A name, NAME@DIGITS, the first digits of a digest, or the path of an image's folder
    image: String,
}

/// What to show, and where.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    which: Which,
    /// Write a report on it to FILE: one HTML page that loads nothing; - is standard output
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Looks at images, and clears those away that nobody asks for.
pub(super) fn run(context: &Context, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Ls => list(context),
        What::Show(args) => {
            let image = context.store().find(&args.which.image)?;
            if let Some(file) = &args.report {
                return image_report::run(context, &image, file);
            }
            if context.ui.json() {
                context.ui.print(image.manifest.to_bytes())?;
            } else {
                context.ui.print(show(&image, context.ui.stdout_style()))?;
            }
            Ok(Exit::Done)
        }
        What::Verify(which) => {
            let image = context.store().find(&which.image)?;
            report(context, &image, &verify(&image))
        }
        What::Diff(args) => image_diff::run(context, &args),
        What::Export(args) => image_export::run(context, args),
        What::Gc(args) => image_gc::run(context, &args),
    }
}

fn list(context: &Context) -> Result<Exit, CliError> {
    let store = context.store();
    let (images, damaged) = store.list()?;
    let names = store.names()?;
    let rows: Vec<Row> = images.iter().map(|image| Row::of(image, &names)).collect();
    if context.ui.json() {
        context.ui.print_json(&rows)?;
    } else if rows.is_empty() {
        context
            .ui
            .complain(&format!("no images in {}\n", store.root().display()));
    } else {
        context.ui.print(table(&rows))?;
    }
    for error in damaged {
        tracing::warn!("{error}");
    }
    Ok(Exit::Done)
}

fn report(context: &Context, image: &StoredImage, differences: &[Difference]) -> Result<Exit, CliError> {
    if context.ui.json() {
        let report = serde_json::json!({
            "verify": 1,
            "image": image.manifest.name,
            "digest": image.digest,
            "differences": differences,
        });
        context.ui.print_json(&report)?;
    } else if differences.is_empty() {
        let count = image.manifest.artefacts.len();
        context.ui.print(format!(
            "{}: {count} files are as the manifest says\n",
            image.reference()
        ))?;
    } else {
        let mut lines = vec![format!("{} is damaged:", image.reference())];
        lines.extend(differences.iter().map(ToString::to_string));
        context.ui.print(lines.join("\n") + "\n")?;
    }
    Ok(if differences.is_empty() {
        Exit::Done
    } else {
        Exit::Found
    })
}
