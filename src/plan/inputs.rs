//! Digests of what decides a build's result.

use serde_json::Value;

use crate::digest::{Digest, Hasher};
use crate::guest::programs;
use crate::recipe::{FileContent, Recipe};
use crate::rootfs::resolve::Resolution;
use crate::rootfs::{RootfsError, overlay};

/// Counts changes of how images are made from the same inputs.
const FORMAT: u32 = 5;

/// The digest of the recipe as it was understood: what it says, and the content of the overlays
/// and files it names. Where they stand on this host and which mirror is near do not count.
pub fn recipe_digest(recipe: &Recipe) -> Result<Digest, RootfsError> {
    let mut hasher = Hasher::default();
    let mut said = serde_json::to_value(recipe).expect("recipes have string keys only");
    if let Value::Object(fields) = &mut said {
        for field in ["sources", "overlays", "files"] {
            fields.shift_remove(field);
        }
        if let Some(Value::Object(base)) = fields.get_mut("base") {
            base.shift_remove("mirror");
        }
    }
    hasher.field(said.to_string().as_bytes());
    for overlay in &recipe.overlays {
        hasher.field(overlay.name.as_bytes());
        if let Some(folder) = &overlay.folder {
            hasher.field(overlay::digest(&overlay.name, folder)?.as_bytes());
        }
    }
    for file in &recipe.files {
        let mut entry = serde_json::to_value(file).expect("files have string keys only");
        if let FileContent::Source(path) = &file.content {
            let digest = Digest::of_file(path).map_err(|source| RootfsError::Read {
                path: path.clone(),
                source,
            })?;
            entry["content"] = Value::String(digest.to_string());
        }
        hasher.field(entry.to_string().as_bytes());
    }
    Ok(hasher.finish())
}

/// The digest of everything that decides an image: recipe, exact packages, this hpcvm, and the
/// name of the `repository` that libraries may be linked from.
#[must_use]
pub fn build_key(recipe: &Recipe, recipe_digest: Digest, resolution: &Resolution, repository: Option<&str>) -> Digest {
    let architecture = recipe.base.architecture;
    let resolution = serde_json::to_string(resolution).expect("resolutions have string keys only");
    let mut hasher = Hasher::default();
    hasher
        .field(&FORMAT.to_le_bytes())
        .field(env!("CARGO_PKG_VERSION").as_bytes());
    hasher
        .field(programs::init(architecture))
        .field(programs::job_runner(architecture));
    hasher.field(recipe_digest.as_bytes()).field(resolution.as_bytes());
    if let Some(repository) = repository.filter(|_| recipe.libraries.is_some()) {
        hasher.field(repository.as_bytes());
    }
    hasher.finish()
}
