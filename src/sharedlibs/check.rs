//! Whether what an image links to is there: quick enough for every launch.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::Serialize;

use super::folder::{Listed, parse};
use super::objects::TIME;
use super::repository::Repository;
use crate::digest::Digest;
use crate::rootfs::tree::TreePath;

/// The most that is read of a folder's listing.
const LISTING_LIMIT: u64 = 256 << 20;

/// An object or folder that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Whether it is a folder of data, and no file.
    pub folder: bool,
    /// Its length in bytes, where it is known; of a file only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

impl Wanted {
    /// A file by its digest and, where it is known, its length.
    #[must_use]
    pub const fn object(digest: Digest, length: Option<u64>) -> Self {
        Self {
            digest,
            folder: false,
            length,
        }
    }

    /// A folder of data by its digest.
    #[must_use]
    pub const fn folder(digest: Digest) -> Self {
        Self {
            digest,
            folder: true,
            length: None,
        }
    }
}

/// Something that is not as it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{} {fault}", path.display())]
#[serde(rename_all = "kebab-case")]
pub struct Damage {
    /// What was asked for.
    pub wanted: Wanted,
    /// The file or folder that is at fault: of a folder, the first one below it.
    pub path: PathBuf,
    /// What is wrong with it.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What is wrong with a file or folder of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing is there.
    #[error("is missing")]
    Missing,
    /// It is of another length.
    #[error("has {found} bytes instead of {expected}")]
    Length {
        /// Its length in bytes.
        found: u64,
        /// The length it was added with.
        expected: u64,
    },
    /// It has other bytes.
    #[error("has other bytes than were added")]
    Changed,
    /// Something of another kind or mode stands there, or a link that leads elsewhere.
    #[error("is no {expected}")]
    Kind {
        /// What should be there.
        expected: &'static str,
    },
    /// The operating system refuses to read it.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// What it said.
        why: String,
    },
}

/// How thoroughly files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// A file whose length and time are as written is taken for sound.
    Status,
    /// Every byte is read.
    Bytes,
}

impl Repository {
    /// What of `wanted` is not as it was added, in the same order. Only files whose time is not
    /// the one they were written with are read; a damage that keeps length and time is for
    /// [`verify`](Repository::verify) to find.
    #[must_use]
    pub fn check(&self, wanted: &[Wanted]) -> Vec<Damage> {
        let checked = wanted.par_iter().filter_map(|&wanted| damage(self, wanted));
        checked.collect()
    }

    /// What the folder of this digest should hold, from its listing.
    pub(super) fn listing(&self, digest: Digest) -> Result<Vec<(TreePath, Listed)>, (PathBuf, Fault)> {
        let path = self.object_path(digest);
        let failed = |error: &io::Error| (path.clone(), fault_of(error));
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(LISTING_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| failed(&error))?;
        let changed = || (path.clone(), Fault::Changed);
        if Digest::of(&bytes) != digest {
            return Err(changed());
        }
        let text = String::from_utf8(bytes).map_err(|_| changed())?;
        parse(&text).ok_or_else(changed)
    }
}

/// What is wrong with one thing, by its status.
pub(super) fn damage(repository: &Repository, wanted: Wanted) -> Option<Damage> {
    let found = if wanted.folder {
        folder_fault(repository, wanted.digest, Depth::Status)
    } else {
        let path = repository.object_path(wanted.digest);
        file_fault(&path, wanted.digest, wanted.length, (0o444, Depth::Status)).map(|fault| (path, fault))
    };
    found.map(|(path, fault)| Damage { wanted, path, fault })
}

/// What is wrong with a folder: the first thing found.
pub(super) fn folder_fault(repository: &Repository, digest: Digest, depth: Depth) -> Option<(PathBuf, Fault)> {
    let items = match repository.listing(digest) {
        Ok(items) => items,
        Err(fault) => return Some(fault),
    };
    let folder = repository.folder_path(digest);
    if let Some(fault) = kind_fault(&folder, "folder", Metadata::is_dir) {
        return Some((folder, fault));
    }
    let first = items.par_iter().find_map_first(|(path, item)| {
        let path = folder.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        let fault = match item {
            Listed::Folder => kind_fault(&path, "folder", Metadata::is_dir),
            Listed::Link(target) => link_fault(&path, target),
            Listed::File {
                length,
                object,
                executable,
            } => {
                let mode = if *executable { 0o555 } else { 0o444 };
                file_fault(&path, *object, Some(*length), (mode, depth))
            }
        };
        fault.map(|fault| (path, fault))
    });
    // What is too many can shadow nothing, but a tree of other names is not the tree that was added.
    first.or_else(|| (depth == Depth::Bytes).then(|| stranger(&folder, &items)).flatten())
}

/// Something in `folder` that is not in its listing.
fn stranger(folder: &Path, items: &[(TreePath, Listed)]) -> Option<(PathBuf, Fault)> {
    let found = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name();
    found.into_iter().find_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let why = error.to_string();
                return Some((folder.to_owned(), Fault::Unreadable { why }));
            }
        };
        let relative = entry.path().strip_prefix(folder).ok()?;
        let path = TreePath::new(relative.as_os_str().as_bytes()).ok()?;
        let known = items.binary_search_by(|(candidate, _)| candidate.cmp(&path)).is_ok();
        (!known).then(|| (entry.into_path(), Fault::Kind { expected: "part of it" }))
    })
}

/// What is wrong with a regular file.
pub(super) fn file_fault(
    path: &Path,
    digest: Digest,
    length: Option<u64>,
    (mode, depth): (u32, Depth),
) -> Option<Fault> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => return Some(fault_of(&error)),
    };
    if !found.is_file() {
        return Some(Fault::Kind {
            expected: "regular file",
        });
    }
    if let Some(expected) = length.filter(|&length| length != found.len()) {
        let found = found.len();
        return Some(Fault::Length { found, expected });
    }
    let untouched = found.modified().ok() == Some(SystemTime::UNIX_EPOCH + TIME);
    let runs = found.permissions().mode() & 0o111 == mode & 0o111;
    if !runs {
        let expected = if mode & 0o111 == 0 {
            "file without x-bits"
        } else {
            "program"
        };
        return Some(Fault::Kind { expected });
    }
    if untouched && depth == Depth::Status {
        return None;
    }
    match Digest::of_file(path) {
        Ok(found) => (found != digest).then_some(Fault::Changed),
        Err(error) => Some(fault_of(&error)),
    }
}

fn kind_fault(path: &Path, expected: &'static str, is: impl Fn(&Metadata) -> bool) -> Option<Fault> {
    match fs::symlink_metadata(path) {
        Ok(found) => (!is(&found)).then_some(Fault::Kind { expected }),
        Err(error) => Some(fault_of(&error)),
    }
}

fn link_fault(path: &Path, target: &[u8]) -> Option<Fault> {
    match fs::read_link(path) {
        Ok(found) if found.as_os_str().as_bytes() == target => None,
        Ok(_) => Some(Fault::Changed),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Some(Fault::Kind {
            expected: "symbolic link",
        }),
        Err(error) => Some(fault_of(&error)),
    }
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fault::Missing,
        _ => Fault::Unreadable { why: error.to_string() },
    }
}
