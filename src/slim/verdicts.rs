//! What becomes of each library: it stays, or it becomes a link.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::SlimError;
use super::boot::BootSet;
use super::census::{Census, Elf, absolute, file_at};
use super::loads::Loads;
use crate::image::library_list::{Reason, Verdict};
use crate::recipe::{Libraries, LocalLibraries};
use crate::rootfs::purge::globs;
use crate::rootfs::tree::{Entry, Kind, Tree, TreePath};
use crate::sharedlibs::MOUNT_POINT;

/// A verdict with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    pub(super) detail: Option<String>,
}

impl Decision {
    fn new(verdict: Verdict, reason: Reason, detail: Option<String>) -> Self {
        Self {
            verdict,
            reason,
            detail,
        }
    }

    /// Whether the file itself becomes a link.
    pub(super) fn is_linked_alone(&self) -> bool {
        self.verdict == Verdict::Linked && self.reason != Reason::InFolder
    }
}

/// What decisions are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis<'a> {
    pub(super) tree: &'a Tree,
    pub(super) census: &'a Census,
    pub(super) loads: &'a Loads,
    pub(super) boot: &'a BootSet,
    pub(super) wishes: &'a Libraries,
    /// Folders that become links, without links in their paths.
    pub(super) folders: &'a [TreePath],
}

/// The folders of `relocate` as they really stand in `tree`; an empty one needs no link.
pub(super) fn folders(tree: &Tree, wishes: &Libraries) -> Result<Vec<TreePath>, SlimError> {
    let mut found = BTreeSet::new();
    for folder in &wishes.relocate {
        let none = || SlimError::NoFolder { folder: folder.clone() };
        let path = TreePath::new(folder.as_bytes()).map_err(|_| none())?;
        let real = tree.resolve(&path).ok_or_else(none)?;
        if !matches!(tree.get(&real).map(|entry| &entry.kind), Some(Kind::Directory)) {
            return Err(none());
        }
        let mount = TreePath::new(MOUNT_POINT.as_bytes()).expect("it is a path");
        if mount.is_within(&real) {
            return Err(SlimError::Unfit {
                folder: folder.clone(),
                file: MOUNT_POINT.to_owned(),
                why: "is where the repository is mounted",
            });
        }
        if tree.below(&real).nth(1).is_some() {
            found.insert(real);
        }
    }
    // One may lead into another by links.
    let outer = |folder: &&TreePath| !found.iter().any(|other| other != *folder && folder.is_within(other));
    Ok(found.iter().filter(outer).cloned().collect())
}

impl Basis<'_> {
    /// The verdict for every library, by path.
    pub(super) fn decide(&self) -> Result<BTreeMap<TreePath, Decision>, SlimError> {
        let kept = self.kept()?;
        self.check_folders(&kept)?;
        let needed: BTreeSet<&TreePath> = self
            .census
            .programs()
            .filter_map(|(path, _)| self.loads.get(path))
            .flat_map(|load| &load.files)
            .collect();
        let decide = |(path, elf): (&TreePath, &Elf)| (path.clone(), self.one(path, elf, &kept, &needed));
        Ok(self.census.libraries().map(decide).collect())
    }

    fn one(
        &self,
        path: &TreePath,
        elf: &Elf,
        kept: &BTreeMap<TreePath, String>,
        needed: &BTreeSet<&TreePath>,
    ) -> Decision {
        let local = |reason, detail| Decision::new(Verdict::Local, reason, detail);
        let linked = |reason, detail| Decision::new(Verdict::Linked, reason, detail);
        if self.boot.contains_key(path) {
            return local(Reason::BootCritical, None);
        }
        if let Some(folder) = self.folders.iter().find(|folder| path.is_within(folder)) {
            return linked(Reason::InFolder, Some(folder.to_string()));
        }
        if let Some(glob) = kept.get(path) {
            return local(Reason::Kept, Some(glob.clone()));
        }
        if self.tree.get(path).is_some_and(is_private) {
            return local(Reason::Kept, Some("not everybody may read it".to_owned()));
        }
        let package = elf.package.as_ref();
        if let Some(package) = package.filter(|package| self.wishes.linked_packages.contains(package)) {
            return linked(Reason::LinkedPackage, Some(package.clone()));
        }
        match self.wishes.local {
            LocalLibraries::All => local(Reason::Policy, None),
            LocalLibraries::Needed if needed.contains(path) => local(Reason::Needed, None),
            LocalLibraries::Needed | LocalLibraries::BootCritical => linked(Reason::NotLocal, None),
        }
    }

    /// Files that a glob under `keep` names, by their own path or by that of a link to them.
    fn kept(&self) -> Result<BTreeMap<TreePath, String>, SlimError> {
        let patterns = &self.wishes.keep;
        let set = globs(patterns.iter().map(String::as_str))?;
        let mut kept = BTreeMap::new();
        if patterns.is_empty() {
            return Ok(kept);
        }
        let merged = matches!(
            self.tree
                .get(&TreePath::new(b"lib").expect("it is a path"))
                .map(|entry| &entry.kind),
            Some(Kind::Symlink(_))
        );
        for (path, entry) in self.tree.iter().filter(|(_, entry)| entry.kind != Kind::Directory) {
            let place = absolute(path);
            let short = place.strip_prefix("/usr").ok().filter(|_| merged);
            let names = [Some(place.clone()), short.map(|rest| Path::new("/").join(rest))];
            let matching = names
                .iter()
                .flatten()
                .find_map(|name| set.matches(name).first().copied());
            let Some(glob) = matching else { continue };
            let file = match entry.kind {
                Kind::File(_) => Some(path.clone()),
                _ => file_at(self.tree, &place),
            };
            if let Some(file) = file {
                kept.entry(file).or_insert_with(|| patterns[glob].clone());
            }
        }
        Ok(kept)
    }

    /// Fails for a folder with something that has to stay in the image.
    fn check_folders(&self, kept: &BTreeMap<TreePath, String>) -> Result<(), SlimError> {
        for folder in self.folders {
            if let Some((file, chain)) = self.boot.iter().find(|(file, _)| file.is_within(folder)) {
                return Err(SlimError::BootCritical {
                    folder: folder.to_string(),
                    file: file.to_string(),
                    chain: chain.iter().map(ToString::to_string).collect(),
                });
            }
            let unfit = |file: &TreePath, why| SlimError::Unfit {
                folder: folder.to_string(),
                file: file.to_string(),
                why,
            };
            let library = |path: &&TreePath| self.census.get(path).is_some_and(|elf| elf.object.is_library());
            if let Some(file) = kept.keys().filter(library).find(|file| file.is_within(folder)) {
                return Err(unfit(file, "is to stay in the image ('libraries: keep')"));
            }
            if let Some((path, why)) = self
                .tree
                .below(folder)
                .find_map(|(path, entry)| Some((path, odd(entry)?)))
            {
                return Err(unfit(path, why));
            }
        }
        Ok(())
    }
}

/// Whether a file holds what not everybody may read: in a repository everybody could.
fn is_private(entry: &Entry) -> bool {
    entry.mode & 0o004 == 0
}

/// What a repository cannot hold as it is.
fn odd(entry: &Entry) -> Option<&'static str> {
    match entry.kind {
        Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => Some("is neither file, folder nor link"),
        Kind::Symlink(_) => None,
        _ if entry.mode & 0o6000 != 0 => Some("has set-id bits"),
        _ if is_private(entry) => Some("is not for everybody to read"),
        _ if entry.mode & 0o002 != 0 => Some("is for everybody to write"),
        _ => None,
    }
}
