//! Overlays: where their folders are, and whether all in them can be copied.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::words;
use crate::recipe::codes;
use crate::recipe::model::{List, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::Overlay;

/// The overlay that hpcvm carries in itself.
const BUILT_IN: &str = "job-runner";

/// The overlays in order; the built-in one comes first unless the recipe places it.
pub(super) fn resolve(overlays: List<String>, report: &mut Report) -> Vec<Overlay> {
    let mut resolved: Vec<Overlay> = Vec::new();
    for word in overlays.unwrap_or_default() {
        if !words::is_overlay(&word.value) {
            let message = format!("{} cannot name an overlay", quoted(&word.value));
            let added = report.add(&word.place, codes::OVERLAY_NAME, message);
            added.help("write the name of a folder beside the recipe or in ../overlays, without '/'");
            continue;
        }
        // The source folder overlays/job-runner of hpcvm itself is not what a guest needs.
        let folder = if word.value == BUILT_IN {
            None
        } else {
            find(&word, report)
        };
        if resolved.iter().all(|overlay| overlay.name != word.value) {
            let name = word.value;
            resolved.push(Overlay { name, folder });
        }
    }
    if resolved.iter().all(|overlay| overlay.name != BUILT_IN) {
        let name = BUILT_IN.to_owned();
        resolved.insert(0, Overlay { name, folder: None });
    }
    resolved
}

/// The folder of the overlay: beside the recipe that names it, else in `../overlays` from there.
fn find(word: &Word, report: &mut Report) -> Option<PathBuf> {
    let recipe = &report.files[word.place.file].path;
    let beside = recipe.parent().unwrap_or(Path::new(""));
    let candidates = [beside.join(&word.value), beside.join("../overlays").join(&word.value)];
    let found = candidates.iter().find(|folder| folder.is_dir()).cloned();
    if let Some(folder) = &found {
        check_entries(word, folder, report);
    } else {
        let [first, second] = candidates.map(|folder| quoted(&folder.display().to_string()));
        let message = format!("there is no overlay {}", quoted(&word.value));
        let added = report.add(&word.place, codes::OVERLAY_MISSING, message);
        added.help(format!("make a folder {first} or {second}"));
    }
    found
}

/// Files, folders and links (which are not followed) can be copied; sockets, pipes and devices
/// cannot.
fn check_entries(word: &Word, folder: &Path, report: &mut Report) {
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let (path, problem) = match &entry {
            Ok(entry) => {
                let kind = entry.file_type();
                if kind.is_file() || kind.is_dir() || kind.is_symlink() {
                    continue;
                }
                (entry.path(), "is neither a file, a folder nor a link".to_owned())
            }
            Err(error) => (error.path().unwrap_or(folder), "cannot be read".to_owned()),
        };
        let message = format!("{} {problem}", quoted(&path.display().to_string()));
        let added = report.add(&word.place, codes::OVERLAY_ENTRY, message);
        added.help("take it out of the overlay");
    }
}
