//! The licences of an image's packages, as their copyright files tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::elf::file_system::FileSystem;
use crate::image::StoredImage;
use crate::image::contents::GuestFiles;
use crate::image::file_list::{FileList, ListedKind};

/// Debian policy, 12.5: a package's licence is `PACKAGE/copyright` below this folder.
const FOLDER: &str = "/usr/share/doc";
/// A copyright file that is longer is not read.
const LONGEST: usize = 4 << 20;
/// How many licences of a package are shown at once.
const SHOWN: usize = 2;
/// Letters of a licence's name that are kept.
const NAME_LIMIT: usize = 60;

/// What the licences of each package of `image` are called; a package whose file does not tell, or
/// is not there, is left out. The files are read from the image's disk.
pub(super) fn licences(image: &StoredImage) -> BTreeMap<String, Vec<String>> {
    let files = match GuestFiles::open(image) {
        Ok(files) => files,
        Err(error) => {
            // A page without the names is worth more than none.
            tracing::warn!(%error, "the report does not name licences");
            return BTreeMap::new();
        }
    };
    let packages = image.manifest.resolution.iter();
    let named = |package: &crate::image::manifest::Package| {
        let names = names(&text(&files, &package.name)?);
        (!names.is_empty()).then(|| (package.name.clone(), names))
    };
    packages.filter_map(named).collect()
}

fn text(files: &GuestFiles, package: &str) -> Option<String> {
    let path = format!("{FOLDER}/{package}/copyright");
    let bytes = files.open(Path::new(&path)).ok()?.read_all(LONGEST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a copyright file, in its order, which begins with what holds for most of the
/// package: its `License` fields where it is machine-readable (DEP 5), else the texts in
/// `/usr/share/common-licenses` that it refers to.
fn names(text: &str) -> Vec<String> {
    let names: Vec<String> = if text.starts_with("Format:") && text.contains("copyright-format") {
        let fields = text.lines().filter_map(|line| line.strip_prefix("License:"));
        fields
            .map(|name| name.trim().chars().take(NAME_LIMIT).collect())
            .collect()
    } else {
        let references = text.split("/usr/share/common-licenses/").skip(1);
        let plain = |c: &char| c.is_ascii_alphanumeric() || ".+-".contains(*c);
        let name = |rest: &str| rest.chars().take_while(plain).take(NAME_LIMIT).collect::<String>();
        references
            .map(|rest| name(rest).trim_end_matches(['.', '-']).to_owned())
            .collect()
    };
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .filter(|name| !name.is_empty() && seen.insert(name.clone()))
        .collect()
}

/// The first of `names`, and how many more there are.
pub(super) fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Where licences stand in a guest.
pub(super) struct LicenceFiles<'a> {
    files: BTreeSet<&'a str>,
    /// A package's folder, or its licence, can be a link to another's.
    links: BTreeMap<&'a str, &'a str>,
}

impl<'a> LicenceFiles<'a> {
    pub(super) fn of(list: &'a FileList) -> Self {
        let mut licences = Self {
            files: BTreeSet::new(),
            links: BTreeMap::new(),
        };
        for entry in &list.entries {
            let Some(below) = entry.path.strip_prefix("/usr/share/doc/") else {
                continue;
            };
            let is_licence = below.ends_with("/copyright");
            match (entry.kind, &entry.target) {
                (ListedKind::File | ListedKind::HardLink, _) if is_licence => {
                    licences.files.insert(&entry.path);
                }
                (ListedKind::Symlink, Some(target)) if is_licence || !below.contains('/') => {
                    licences.links.insert(&entry.path, target);
                }
                _ => {}
            }
        }
        licences
    }

    /// The file with the licence of `package`, below [`FOLDER`]; `None` where there is none.
    pub(super) fn of_package(&self, package: &str) -> Option<String> {
        let mut folder = format!("{FOLDER}/{package}");
        if let Some(target) = self.links.get(folder.as_str()) {
            folder = joined(FOLDER, target);
        }
        let mut file = format!("{folder}/copyright");
        if let Some(target) = self.links.get(file.as_str()) {
            file = joined(&folder, target);
        }
        self.files.contains(file.as_str()).then(|| below_folder(&file))
    }
}

/// The path without [`FOLDER`], where it is below it.
fn below_folder(path: &str) -> String {
    let below = path.strip_prefix(FOLDER).and_then(|below| below.strip_prefix('/'));
    below.unwrap_or(path).to_owned()
}

/// Where a link in `folder` leads to, as far as its text tells.
fn joined(folder: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.trim_end_matches('/').to_owned();
    }
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

    #[test]
    fn licences_are_found_behind_links() {
        let mut tree = Tree::default();
        let text = || Kind::File(Content::inline(*b"GPL"));
        let link = |target: &[u8]| Kind::Symlink(target.to_vec());
        for (path, kind) in [
            ("usr/share/doc/gcc-12-base/copyright", text()),
            ("usr/share/doc/libgcc-s1", link(b"gcc-12-base")),
            ("usr/share/doc/other/copyright", link(b"../gcc-12-base/copyright")),
            ("usr/share/doc/lost", link(b"nowhere")),
            ("usr/share/doc/bare/README", text()),
        ] {
            let path = TreePath::new(path.as_bytes()).unwrap();
            tree.insert(path, Entry::new(kind, 0o644, 0, Origin::Bootstrap));
        }
        let list = FileList::of(&tree);
        let licences = LicenceFiles::of(&list);
        let there = Some("gcc-12-base/copyright".to_owned());
        for (package, expected) in [
            ("gcc-12-base", &there),
            ("libgcc-s1", &there),
            ("other", &there),
            ("lost", &None),
            ("bare", &None),
        ] {
            assert_eq!(licences.of_package(package), *expected, "{package}");
        }
    }

    #[test]
    fn licences_are_named_as_their_files_name_them() {
        let machine_readable = "Format: https://example.org/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\n\
                                License: BSD-3-clause\n\nLicense: GPL-2+\nLicense:\n";
        let free = "see /usr/share/common-licenses/GPL-3.\nor '/usr/share/common-licenses/LGPL-2.1',";
        for (text, expected) in [
            (machine_readable, &["GPL-2+", "BSD-3-clause"][..]),
            (free, &["GPL-3", "LGPL-2.1"]),
            ("License: not machine-readable", &[]),
            ("", &[]),
        ] {
            assert_eq!(names(text), expected);
        }
        let many: Vec<String> = ["A", "B", "C", "D", "E"].map(str::to_owned).into();
        assert_eq!(
            (few(&many).as_str(), few(&many[..2]).as_str()),
            ("A, B and 3 more", "A, B")
        );
    }
}
