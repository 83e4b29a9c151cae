//! `hpcvm image export`

use std::path::{Path, PathBuf};

use super::{CliError, Context, Exit};
use crate::image::StoredImage;
use crate::image::export::{ExportFormat, Exported, export};
use crate::units::Bytes;

/// Arguments of `hpcvm image export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image, named as for `image show`
    image: String,
    /// What to make of it
    #[arg(long, value_name = "FORMAT")]
    format: ExportFormat,
    /// The file to write; an older one is replaced [default: NAME.FORMAT in the working folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes an image's disk for other programs.
pub(super) fn run(context: &Context, args: Args) -> Result<Exit, CliError> {
    let image = context.store().find(&args.image)?;
    let file = args
        .output
        .unwrap_or_else(|| format!("{}.{}", image.manifest.name.replace('/', "_"), args.format).into());
    let exported = export(&context.host, &image, args.format, &file)?;
    if context.ui.json() {
        context.ui.print_json(&report(&image, args.format, &file, exported))?;
    } else {
        context.ui.note(&format!(
            "wrote {}, {}, sha256:{}",
            file.display(),
            Bytes(exported.length),
            exported.digest
        ));
    }
    Ok(Exit::Done)
}

fn report(image: &StoredImage, format: ExportFormat, file: &Path, exported: Exported) -> serde_json::Value {
    serde_json::json!({
        "export": 1,
        "image": image.manifest.name,
        "digest": image.digest,
        "format": format.extension(),
        "file": file.to_string_lossy(),
        "length": exported.length,
        "sha256": exported.digest,
    })
}
