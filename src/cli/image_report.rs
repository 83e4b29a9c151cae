//! `hpcvm image show --report`

use std::path::Path;

use super::{CliError, Context, Exit};
use crate::durable;
use crate::image::StoredImage;
use crate::report::{Facts, ReportError, render};

/// Writes the report about `image` to `file`, or to standard output for `-`.
pub(super) fn run(context: &Context, image: &StoredImage, file: &Path) -> Result<Exit, CliError> {
    let facts = Facts::read_with_licences(image).map_err(ReportError::from)?;
    let page = render(&facts)?;
    if file == Path::new("-") {
        context.ui.print(page)?;
        return Ok(Exit::Done);
    }
    durable::write(file, page.as_bytes())?;
    if context.ui.json() {
        let report = serde_json::json!({
            "report": 1,
            "image": image.manifest.name,
            "digest": image.digest,
            "file": file.to_string_lossy(),
            "length": page.len(),
        });
        context.ui.print_json(&report)?;
    } else {
        context.ui.note(&format!("wrote {}", file.display()));
    }
    Ok(Exit::Done)
}
