//! Images that several tests boot: built once, by whoever comes first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::harness::{Place, cache};

/// The smallest image of all.
pub(crate) const MINIMAL: &str = "minimal-i386";

/// A recipe of the repository.
pub(crate) fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("recipes")
        .join(name)
        .with_extension("yaml")
}

/// A recipe that only tests use.
pub(crate) fn test_recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/real/recipes")
        .join(name)
        .with_extension("yaml")
}

/// A place whose store has the image of `recipe`.
///
/// Test processes run side by side: one builds, the others wait.
pub(crate) fn place_with(recipe: &Path) -> Place {
    let place = Place::new();
    let name = recipe.file_stem().unwrap().to_str().unwrap();
    let lock = File::create(cache().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    place.hpcvm(["build".as_ref(), recipe.as_os_str()]).success();
    place
}

/// A place with [`MINIMAL`].
pub(crate) fn minimal() -> Place {
    place_with(&recipe(MINIMAL))
}

/// The folder of the image that goes by `name`.
pub(crate) fn folder(place: &Place, name: &str) -> PathBuf {
    let digest = fs::read_to_string(place.store().join("names").join(name)).unwrap();
    place.store().join("images").join(digest.trim())
}

/// What the manifest of the image says.
pub(crate) fn manifest(place: &Place, name: &str) -> serde_json::Value {
    let path = folder(place, name).join("manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A copy of the image's folder that a test may damage.
pub(crate) fn copy(place: &Place, name: &str) -> PathBuf {
    copy_into(place, name, &place.path("image-copy"))
}

/// A copy of the image's folder, which becomes `to`.
pub(crate) fn copy_into(place: &Place, name: &str, to: &Path) -> PathBuf {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(folder(place, name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

/// Fails unless `hpcvm test` said that the validations of the image passed, all of them and at least `least`.
#[track_caller]
pub(crate) fn assert_valid(said: &str, least: usize) {
    let summary = said.lines().last().unwrap();
    let numbers: Vec<usize> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(
        numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] >= least,
        "{said}"
    );
}
