//! Puts links in place of files, and shows the tree as it is with the repository mounted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::SlimError;
use super::census::package;
use crate::digest::Digest;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};
use crate::sharedlibs::{FolderItem, MOUNT_POINT, NewFolder, NewLibrary, Provenance, Repository, folder_digest};

/// What is to be linked.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) libraries: Vec<NewLibrary>,
    /// Folders with their digests.
    pub(super) folders: Vec<(NewFolder, Digest)>,
}

impl Links {
    /// Whether nothing is linked.
    pub(super) fn is_empty(&self) -> bool {
        self.libraries.is_empty() && self.folders.is_empty()
    }

    /// The libraries at these paths and the folders at those; `provenance` tells of a package.
    pub(super) fn new<'a>(
        tree: &Tree,
        libraries: impl Iterator<Item = &'a TreePath>,
        folders: &[TreePath],
        provenance: &dyn Fn(&str) -> Provenance,
    ) -> Result<Self, SlimError> {
        let library = |path: &TreePath| match tree.get(path) {
            Some(Entry {
                kind: Kind::File(content),
                ..
            }) => Some(NewLibrary {
                path: path.clone(),
                content: content.clone(),
                provenance: tree
                    .get(path)
                    .and_then(package)
                    .map_or_else(Provenance::default, |name| provenance(&name)),
            }),
            _ => None,
        };
        let libraries = libraries.filter_map(library).collect();
        let folders: Result<Vec<_>, SlimError> = folders
            .iter()
            .map(|path| {
                let packages: BTreeSet<String> = tree.below(path).filter_map(|(_, entry)| package(entry)).collect();
                let from = packages.iter().map(|name| provenance(name)).collect();
                let folder = NewFolder::of_tree(tree, path, from)?;
                let digest = folder_digest(&folder.items);
                Ok((folder, digest))
            })
            .collect();
        Ok(Self {
            libraries,
            folders: folders?,
        })
    }

    /// The tree with links in place of what is linked, and the folder that the repository is
    /// mounted on.
    pub(super) fn put(&self, tree: &Tree, epoch: u64) -> Tree {
        let mut linked = tree.clone();
        let files: BTreeSet<&TreePath> = self.libraries.iter().map(|library| &library.path).collect();
        for (path, entry) in linked.iter_mut() {
            let content = match &entry.kind {
                Kind::File(content) if files.contains(path) => content.digest,
                Kind::HardLink(target) => match files.get(target).and_then(|target| tree.get(target)) {
                    Some(Entry {
                        kind: Kind::File(content),
                        ..
                    }) => content.digest,
                    _ => continue,
                },
                _ => continue,
            };
            become_link(entry, object_target(content));
        }
        for (folder, digest) in &self.folders {
            let Some(mut entry) = tree.get(&folder.path).cloned() else {
                continue;
            };
            become_link(&mut entry, format!("{MOUNT_POINT}/folders/{digest}"));
            linked.insert(folder.path.clone(), entry);
        }
        let mount = mount_point();
        if linked.get(&mount).is_none() {
            linked.insert(mount, Entry::new(Kind::Directory, 0o755, epoch, Origin::Bootstrap));
        }
        linked
    }

    /// `linked` with the repository mounted: what it links to is read from there, and must be what
    /// it is called.
    pub(super) fn mount(&self, linked: &Tree, repository: &Repository) -> Result<Tree, SlimError> {
        let mut mounted = linked.clone();
        let mut put = |target: &str, rest: &[u8], kind| {
            let path = [target.as_bytes(), b"/", rest].concat();
            let path = TreePath::new(&path).expect("paths below the mount point are paths");
            mounted.insert(path, Entry::new(kind, 0o555, 0, Origin::Bootstrap));
        };
        for library in &self.libraries {
            let digest = library.content.digest;
            let content = content_at(&repository.object_path(digest), digest)?;
            put(&object_target(digest), b"", Kind::File(content));
        }
        for (folder, digest) in &self.folders {
            let target = format!("{MOUNT_POINT}/folders/{digest}");
            let place = repository.folder_path(*digest);
            put(&target, b"", Kind::Directory);
            for (path, item) in &folder.items {
                let file = place.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
                put(&target, path.as_bytes(), kind_at(&file, item)?);
            }
        }
        Ok(mounted)
    }
}

pub(super) fn mount_point() -> TreePath {
    TreePath::new(MOUNT_POINT.as_bytes()).expect("it is a path")
}

/// Where the object of this digest is in a guest.
fn object_target(digest: Digest) -> String {
    let digits = digest.to_string();
    format!("{MOUNT_POINT}/objects/{}/{}", &digits[..2], &digits[2..])
}

fn become_link(entry: &mut Entry, target: String) {
    entry.kind = Kind::Symlink(target.into_bytes());
    entry.mode = 0o777;
    entry.uid = 0;
    entry.gid = 0;
}

/// The file at `path` of the host, if it has this digest.
fn content_at(path: &Path, digest: Digest) -> Result<Content, SlimError> {
    let damaged = |why: String| SlimError::Damaged {
        path: path.to_owned(),
        why,
    };
    let content = Content::host_file(path).map_err(|error| damaged(error.to_string()))?;
    if content.digest == digest {
        Ok(content)
    } else {
        Err(damaged(format!("its SHA-256 is {}", content.digest)))
    }
}

/// What stands at `path` of the host, if it is `item`.
fn kind_at(path: &Path, item: &FolderItem) -> Result<Kind, SlimError> {
    let damaged = |why: &str| SlimError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    match item {
        FolderItem::Folder if path.is_dir() => Ok(Kind::Directory),
        FolderItem::Folder => Err(damaged("it is no folder")),
        FolderItem::File { content, .. } => content_at(path, content.digest).map(Kind::File),
        FolderItem::Link(target) => match fs::read_link(path) {
            Ok(found) if found.as_os_str().as_bytes() == target => Ok(Kind::Symlink(target.clone())),
            _ => Err(damaged("it is not the link it was")),
        },
    }
}
