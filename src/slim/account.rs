//! What became of every library: the list beside the manifest, and the sums in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use super::boot::BootSet;
use super::census::{Census, Elf, package};
use super::loads::Need;
use super::relocate::Links;
use super::verdicts::{Basis, Decision};
use crate::image::file_list::shown;
use crate::image::library_list::{LIBRARY_LIST_VERSION, LibraryList, LinkedFolder, ListedLibrary, Reason, Verdict};
use crate::image::manifest::{Count, Generation, Libraries, PackageLibraries, ReasonCount};
use crate::rootfs::tree::{Kind, Tree, TreePath};

/// A library that a step before removed from the tree.
#[derive(Clone, Debug)]
pub struct Purged {
    /// Where it stood.
    pub path: TreePath,
    /// What it was.
    pub elf: Elf,
    /// The purge rule that removed it.
    pub rule: String,
}

impl Purged {
    /// The libraries of `before` that `tree` does not have any more, after `rule`.
    #[must_use]
    pub fn since(before: &Census, tree: &Tree, rule: &str) -> Vec<Self> {
        let gone = before.libraries().filter(|(path, _)| tree.get(path).is_none());
        gone.map(|(path, elf)| Self {
            path: path.clone(),
            elf: elf.clone(),
            rule: rule.to_owned(),
        })
        .collect()
    }
}

/// Gathers what is told of a build's libraries.
#[derive(Debug)]
pub(super) struct Account {
    entries: Vec<ListedLibrary>,
    folders: Vec<LinkedFolder>,
    /// Files of the tree before anything was linked.
    before: Count,
    relocated: BTreeMap<String, Count>,
}

impl Account {
    pub(super) fn new(
        basis: Basis<'_>,
        decisions: &BTreeMap<TreePath, Decision>,
        links: &Links,
        purged: &[Purged],
    ) -> Self {
        let needs = basis.loads.needs(basis.census);
        let present = decisions.iter().filter_map(|(path, decision)| {
            let elf = basis.census.get(path)?;
            Some(present(path, elf, decision, needs.get(path), (basis.boot, basis.tree)))
        });
        let mut entries: Vec<ListedLibrary> = present.collect();
        entries.extend(absent(basis, purged));
        entries.sort_by(|a, b| (&a.path, &a.soname).cmp(&(&b.path, &b.soname)));
        let folders = links.folders.iter().map(|(folder, digest)| LinkedFolder {
            path: shown(folder.path.as_bytes()),
            object: *digest,
            files: folder.items.len() as u64,
            bytes: below(basis.tree, &folder.path).map(|(_, bytes)| bytes).sum(),
        });
        Self {
            entries,
            folders: folders.collect(),
            before: files(basis.tree),
            relocated: relocated(basis.tree, links),
        }
    }

    /// The artefact.
    pub(super) fn list(&mut self) -> LibraryList {
        LibraryList {
            libraries: LIBRARY_LIST_VERSION,
            entries: std::mem::take(&mut self.entries),
            folders: std::mem::take(&mut self.folders),
        }
    }

    /// The sums, for the image of `linked`.
    pub(super) fn summary(&self, generation: Generation, linked: &Tree) -> Libraries {
        let mut by_reason: BTreeMap<(Verdict, Reason), Count> = BTreeMap::new();
        let mut by_package: BTreeMap<String, PackageLibraries> = BTreeMap::new();
        let row = |package: &str| PackageLibraries {
            package: package.to_owned(),
            ..PackageLibraries::default()
        };
        for entry in &self.entries {
            add(
                by_reason.entry((entry.verdict, entry.reason)).or_default(),
                entry.length,
            );
            // Those of folders are among the folders' files, those missing are of no package.
            if entry.verdict == Verdict::Missing || entry.reason == Reason::InFolder {
                continue;
            }
            let name = entry.package.as_deref().unwrap_or(NO_PACKAGE);
            let sums = by_package.entry(name.to_owned()).or_insert_with(|| row(name));
            let sum = match entry.verdict {
                Verdict::Local => &mut sums.local,
                Verdict::Linked => &mut sums.linked,
                Verdict::Purged | Verdict::Missing => &mut sums.purged,
            };
            add(sum, entry.length);
        }
        for (name, count) in &self.relocated {
            by_package.entry(name.clone()).or_insert_with(|| row(name)).relocated = *count;
        }
        let sum = |wanted: &dyn Fn(&(Verdict, Reason)) -> bool| {
            let counts = by_reason.iter().filter(|(key, _)| wanted(key)).map(|(_, count)| count);
            counts.fold(Count::default(), |sum, count| Count {
                files: sum.files + count.files,
                bytes: sum.bytes + count.bytes,
            })
        };
        let local = sum(&|(verdict, _)| *verdict == Verdict::Local);
        let linked_alone = sum(&|(verdict, reason)| *verdict == Verdict::Linked && *reason != Reason::InFolder);
        Libraries {
            generation,
            local,
            linked: linked_alone,
            relocated: Count {
                files: self.folders.len() as u64,
                bytes: self.folders.iter().map(|folder| folder.bytes).sum(),
            },
            before: self.before,
            after: files(linked),
            by_reason: by_reason
                .into_iter()
                .map(|((verdict, reason), count)| ReasonCount { verdict, reason, count })
                .collect(),
            by_package: by_package.into_values().collect(),
        }
    }
}

/// What no package brought.
const NO_PACKAGE: &str = "(none)";

fn add(count: &mut Count, bytes: u64) {
    count.files += 1;
    count.bytes += bytes;
}

/// The regular files of a tree.
fn files(tree: &Tree) -> Count {
    let mut count = Count::default();
    for (_, entry) in tree.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File(_))) {
        add(&mut count, entry.length());
    }
    count
}

/// The files below a folder with their packages and bytes; a hard link counts as the file it
/// becomes.
fn below<'a>(tree: &'a Tree, folder: &'a TreePath) -> impl Iterator<Item = (Option<String>, u64)> + 'a {
    tree.below(folder).filter_map(|(_, entry)| match &entry.kind {
        Kind::File(content) => Some((package(entry), content.length)),
        Kind::HardLink(target) => Some((package(entry), tree.get(target)?.length())),
        _ => None,
    })
}

fn relocated(tree: &Tree, links: &Links) -> BTreeMap<String, Count> {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for (folder, _) in &links.folders {
        for (package, bytes) in below(tree, &folder.path) {
            let name = package.unwrap_or_else(|| NO_PACKAGE.to_owned());
            add(counts.entry(name).or_default(), bytes);
        }
    }
    counts
}

fn shown_all<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<String> {
    paths.into_iter().map(|path| shown(path.as_bytes())).collect()
}

/// The entry of a library that was there when libraries were weighed.
fn present(
    path: &TreePath,
    elf: &Elf,
    decision: &Decision,
    need: Option<&Need>,
    (boot, tree): (&BootSet, &Tree),
) -> ListedLibrary {
    let chain = boot.get(path).or(need.map(|need| &need.chain));
    let object = match tree.get(path).map(|entry| &entry.kind) {
        Some(Kind::File(content)) if decision.is_linked_alone() => Some(content.digest),
        _ => None,
    };
    ListedLibrary {
        path: Some(shown(path.as_bytes())),
        soname: elf.object.soname.as_deref().map(text),
        length: elf.length,
        package: elf.package.clone(),
        verdict: decision.verdict,
        reason: decision.reason,
        detail: decision.detail.clone(),
        chain: chain.map(shown_all).unwrap_or_default(),
        needed_by: need.map(|need| shown_all(&need.needed_by)).unwrap_or_default(),
        object,
    }
}

/// The entries of libraries that purge rules removed, and of those that were never there.
fn absent(basis: Basis<'_>, purged: &[Purged]) -> Vec<ListedLibrary> {
    let mut missing = basis.loads.missing(basis.census);
    let mut entries = Vec::new();
    let mut told = BTreeSet::new();
    // What an overlay put back in its place is told of already.
    for library in purged.iter().filter(|library| basis.tree.get(&library.path).is_none()) {
        let soname = library.elf.object.soname.as_deref();
        let names = [soname, Some(file_name(&library.path))];
        let need = names.into_iter().flatten().find_map(|name| {
            told.insert(name.to_owned());
            missing.get(name).cloned()
        });
        let need = need.unwrap_or_default();
        entries.push(ListedLibrary {
            path: Some(shown(library.path.as_bytes())),
            soname: soname.map(text),
            length: library.elf.length,
            package: library.elf.package.clone(),
            verdict: Verdict::Purged,
            reason: Reason::PurgeRule,
            detail: Some(library.rule.clone()),
            chain: shown_all(&need.chain),
            needed_by: shown_all(&need.needed_by),
            object: None,
        });
    }
    missing.retain(|name, _| !told.contains(name));
    entries.extend(missing.into_iter().map(|(name, need)| ListedLibrary {
        path: None,
        soname: Some(text(&name)),
        length: 0,
        package: None,
        verdict: Verdict::Missing,
        reason: Reason::NotFound,
        detail: None,
        chain: shown_all(&need.chain),
        needed_by: shown_all(&need.needed_by),
        object: None,
    }));
    entries
}

fn file_name(path: &TreePath) -> &OsStr {
    use std::os::unix::ffi::OsStrExt as _;
    OsStr::from_bytes(path.name())
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
