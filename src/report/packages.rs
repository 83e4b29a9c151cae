//! The packages of an image: versions, licences, what each put into it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::amount::{Amount, Count, thousandths};
use super::facts::Facts;
use crate::digest::Digest;
use crate::image::file_list::{FileList, ListedKind};
use crate::image::library_list::{Reason, Verdict};

/// One row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    version: String,
    architecture: String,
    digest: String,
    /// Where its licence stands in the guest, below [`FOLDER`]; empty where it does not.
    licence: String,
    files: Count,
    kept: Amount,
    linked: Amount,
    /// Of the largest package, in thousandths.
    bar: u64,
}

/// Every package that was installed and what no package owns, from the largest to the smallest.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let manifest = &facts.manifest;
    let licences = Licences::of(&facts.files);
    let mut linked = linked_by_package(facts);
    let mut sizes: BTreeMap<&str, (u64, u64)> = manifest
        .packages
        .iter()
        .map(|size| (size.package.as_str(), (size.files, size.bytes)))
        .collect();
    let largest = sizes.values().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let mut row = |name: &str, version: &str, architecture: &str, digest: Option<Digest>| {
        // A package of two architectures is counted once: the lists do not tell them apart.
        let (files, bytes) = sizes.remove(name).unwrap_or_default();
        Row {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            digest: digest.map_or_else(String::new, |digest| digest.to_string()),
            licence: licences
                .of_package(name)
                .map_or_else(String::new, |path| below_folder(&path)),
            files: Count::new(files),
            kept: Amount::new(bytes),
            linked: Amount::new(linked.remove(name).unwrap_or(0)),
            bar: thousandths(bytes, largest),
        }
    };
    let known: BTreeSet<&str> = manifest
        .resolution
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut rows: Vec<Row> = manifest
        .resolution
        .iter()
        .map(|package| {
            row(
                &package.name,
                &package.version,
                &package.architecture,
                Some(package.digest),
            )
        })
        .collect();
    let others = manifest.packages.iter().map(|size| size.package.as_str());
    rows.extend(
        others
            .filter(|name| !known.contains(name))
            .map(|name| row(name, "", "", None)),
    );
    rows.sort_by(|a, b| (b.kept.bytes, &a.name, &a.architecture).cmp(&(a.kept.bytes, &b.name, &b.architecture)));
    rows
}

fn linked_by_package(facts: &Facts) -> BTreeMap<&str, u64> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let entries = facts.libraries.iter().flat_map(|list| &list.entries);
    for library in entries.filter(|library| library.verdict == Verdict::Linked && library.reason != Reason::InFolder) {
        if let Some(package) = &library.package {
            let size = sizes.entry(package).or_default();
            *size = size.saturating_add(library.length);
        }
    }
    sizes
}

/// Where licences stand: `/usr/share/doc/PACKAGE/copyright` (Debian policy, 12.5).
struct Licences<'a> {
    files: BTreeSet<&'a str>,
    /// A package's folder, or its licence, can be a link to another's.
    links: BTreeMap<&'a str, &'a str>,
}

const FOLDER: &str = "/usr/share/doc";

impl<'a> Licences<'a> {
    fn of(list: &'a FileList) -> Self {
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

    fn of_package(&self, package: &str) -> Option<String> {
        let mut folder = format!("{FOLDER}/{package}");
        if let Some(target) = self.links.get(folder.as_str()) {
            folder = joined(FOLDER, target);
        }
        let mut file = format!("{folder}/copyright");
        if let Some(target) = self.links.get(file.as_str()) {
            file = joined(&folder, target);
        }
        self.files.contains(file.as_str()).then_some(file)
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
        let licences = Licences::of(&list);
        let there = Some("/usr/share/doc/gcc-12-base/copyright".to_owned());
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
}
