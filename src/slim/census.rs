//! The programs and libraries of a tree.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::SlimError;
use crate::elf::file_system::FileSystem as _;
use crate::elf::object::{Fault, Object};
use crate::rootfs::tree::{Entry, Kind, Origin, Tree, TreePath};

/// A program or a library: a regular file, by the one of its names that is not a hard link.
#[derive(Clone, Debug)]
pub struct Elf {
    /// Bytes of the file.
    pub length: u64,
    /// The Debian package it came with.
    pub package: Option<String>,
    /// What the dynamic loader reads of it.
    pub object: Arc<Object>,
}

/// Every program and library of a tree, by path. Files that only look like ELF files are left out:
/// nothing can load them.
#[derive(Clone, Debug, Default)]
pub struct Census {
    files: BTreeMap<TreePath, Elf>,
}

impl Census {
    /// Looks at every regular file of `tree`.
    pub fn of(tree: &Tree) -> Result<Self, SlimError> {
        let files: Vec<(&TreePath, &Entry)> = tree
            .iter()
            .filter(|(_, entry)| matches!(entry.kind, Kind::File(_)))
            .collect();
        let looked: Result<Vec<Option<(TreePath, Elf)>>, SlimError> = files
            .into_par_iter()
            .map(|(path, entry)| look(tree, path, entry))
            .collect();
        Ok(Self {
            files: looked?.into_iter().flatten().collect(),
        })
    }

    /// Leaves out what `tree` does not have any more.
    pub fn forget_absent(&mut self, tree: &Tree) {
        self.files.retain(|path, _| tree.get(path).is_some());
    }

    /// All of them, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Elf)> {
        self.files.iter()
    }

    /// Those that are loaded by others.
    pub fn libraries(&self) -> impl Iterator<Item = (&TreePath, &Elf)> {
        self.files.iter().filter(|(_, elf)| elf.object.is_library())
    }

    /// Those that are started.
    pub fn programs(&self) -> impl Iterator<Item = (&TreePath, &Elf)> {
        self.files.iter().filter(|(_, elf)| !elf.object.is_library())
    }

    /// The program or library at `path`.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Elf> {
        self.files.get(path)
    }
}

fn look(tree: &Tree, path: &TreePath, entry: &Entry) -> Result<Option<(TreePath, Elf)>, SlimError> {
    let place = absolute(path);
    let unreadable = |source| SlimError::Unreadable {
        path: place.clone(),
        source,
    };
    let source = tree.open(&place).map_err(unreadable)?;
    match Object::read(&source) {
        Ok(object) => {
            let elf = Elf {
                length: entry.length(),
                package: package(entry),
                object: Arc::new(object),
            };
            Ok(Some((path.clone(), elf)))
        }
        Err(Fault::Unreadable(why)) => Err(unreadable(io::Error::other(why))),
        Err(_) => Ok(None),
    }
}

/// The package an entry came with.
pub(super) fn package(entry: &Entry) -> Option<String> {
    match &entry.origin {
        Origin::Package(name) => Some(name.to_string()),
        Origin::Overlay(_) | Origin::Recipe | Origin::Bootstrap => None,
    }
}

/// `path` from the root on.
pub(super) fn absolute(path: &TreePath) -> PathBuf {
    OsString::from_vec([b"/", path.as_bytes()].concat()).into()
}

/// The regular file that `path` leads to in `tree`: links followed, of hard links the file itself.
pub(super) fn file_at(tree: &Tree, path: &Path) -> Option<TreePath> {
    let real = tree.real_path(path).ok()?;
    let real = TreePath::new(real.as_os_str().as_bytes()).ok()?;
    match &tree.get(&real)?.kind {
        Kind::File(_) => Some(real),
        Kind::HardLink(target) => Some(target.clone()),
        _ => None,
    }
}
