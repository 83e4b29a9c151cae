//! Which libraries are linked, from which repository, and which folders become links.

use std::path::{Path, PathBuf};

use super::paths;
use super::software;
use crate::recipe::codes;
use crate::recipe::model::{self, List, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{Libraries, LocalLibraries};
use crate::sharedlibs::MOUNT_POINT;

/// What a guest needs before the repository is mounted, or mounts something of its own on.
const UNMOVABLE: [&str; 16] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr/bin",
    "/usr/sbin",
    "/var/tmp",
];

/// The file by which a repository is known.
const REPOSITORY_FILE: &str = "repository.json";

pub(super) fn resolve(section: model::Libraries, report: &mut Report) -> Libraries {
    warn_without_effect(&section, report);
    let folder = section.repository.as_ref().map(|word| repository(word, report));
    Libraries {
        local: section.local.map(|local| local.value).unwrap_or_default(),
        repository: section.repository.map(|word| word.value.into()),
        repository_folder: folder,
        linked_packages: software::packages(section.linked_packages, report),
        keep: paths::keep(section.keep, report),
        relocate: relocate(section.relocate, report),
    }
}

/// The repository's folder on this host, found from the folder of the recipe that names it.
fn repository(word: &Word, report: &mut Report) -> PathBuf {
    let recipe = &report.files[word.place.file].path;
    let folder = recipe.parent().unwrap_or(Path::new("")).join(&word.value);
    let problem = if word.value.is_empty() || word.value.contains('\0') {
        Some("is not a path")
    } else if !folder.is_dir() {
        Some("is not a folder")
    } else if !folder.join(REPOSITORY_FILE).is_file() {
        Some("holds no shared library repository")
    } else {
        None
    };
    if let Some(problem) = problem {
        let message = format!("{} {problem}", quoted(&folder.display().to_string()));
        let added = report.add(&word.place, codes::REPOSITORY, message);
        added.help("name its folder, relative to this file or absolute, or take the key out and use --libs");
    }
    folder
}

fn relocate(folders: List<String>, report: &mut Report) -> Vec<String> {
    let mut resolved: Vec<String> = Vec::new();
    for word in folders.unwrap_or_default() {
        let before = report.diagnostics.len();
        let folder = paths::normalised(&word, report);
        let known = report.diagnostics.len() > before;
        if let Some((problem, help)) = unmovable(&folder, &resolved).filter(|_| !known) {
            let message = format!("{} {problem}", quoted(&folder));
            report.add(&word.place, codes::RELOCATE, message).help(help);
        }
        if !resolved.contains(&folder) {
            resolved.push(folder);
        }
    }
    resolved.sort_unstable();
    resolved
}

/// Why the folder cannot be a link, and what to do.
fn unmovable(folder: &str, others: &[String]) -> Option<(String, &'static str)> {
    let (folder_path, mount) = (Path::new(folder), Path::new(MOUNT_POINT));
    if mount.starts_with(folder_path) || folder_path.starts_with(mount) {
        let problem = format!("and {MOUNT_POINT}, where the repository is mounted, lie one in the other");
        return Some((problem, "name folders of data, such as '/usr/share/octave'"));
    }
    let holds = |other: &&str| Path::new(other).starts_with(folder_path) || folder_path.starts_with(other);
    if let Some(needed) = UNMOVABLE.iter().copied().find(|other| holds(other)) {
        let problem = format!("is needed before the repository is mounted: {needed} stays in the image");
        return Some((problem, "name folders of data, such as '/usr/share/octave'"));
    }
    let other = others.iter().find(|other| *other != folder && holds(&other.as_str()))?;
    let problem = format!("and '{other}' lie one in the other");
    Some((problem, "keep the outer one: all below it is linked with it"))
}

fn warn_without_effect(section: &model::Libraries, report: &mut Report) {
    let Some(local) = section
        .local
        .as_ref()
        .filter(|local| local.value == LocalLibraries::All)
    else {
        return;
    };
    let empty = |list: &List<String>| list.as_ref().is_none_or(Vec::is_empty);
    if empty(&section.linked_packages) && empty(&section.relocate) {
        let message = "all libraries stay in the image and no folder becomes a link";
        let added = report.add(&local.place, codes::NO_EFFECT, message);
        added.help("write 'local: boot-critical', or name 'linked-packages' or folders to 'relocate'");
    } else if let Some(first) = section
        .keep
        .iter()
        .flatten()
        .next()
        .filter(|_| empty(&section.linked_packages))
    {
        let message = "all libraries stay in the image, so there is nothing to keep";
        let added = report.add(&first.place, codes::NO_EFFECT, message);
        added.help("take 'keep' out, or write 'local: boot-critical'");
    }
}
