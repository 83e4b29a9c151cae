//! A tree unpacked as files of whoever builds, for tools that read a folder.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use super::RootError;
use crate::rootfs::tree::{Content, Entry, Kind, Tree, TreePath};

/// Whether an entry can be made by any user: all but device nodes.
pub(super) fn is_unprivileged(entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..))
}

/// Unpacks `tree`, except device nodes, into the empty folder `folder`: contents, names and hard
/// links, with modes of the builder's own. Each file's modification time is what `mark` says of
/// its position in the tree, so that it can be found again by it.
pub(super) fn unpack(tree: &Tree, folder: &Path, mark: impl Fn(usize) -> u32) -> Result<(), RootError> {
    let place = |path: &TreePath| folder.join(OsStr::from_bytes(path.as_bytes()));
    let unpack_error = |path: &TreePath, source: io::Error| RootError::Unpack {
        path: path.clone(),
        folder: folder.to_owned(),
        source,
    };
    let (links, others): (Vec<_>, Vec<_>) = tree
        .iter()
        .filter(|(path, entry)| !path.as_bytes().is_empty() && is_unprivileged(entry))
        .partition(|(_, entry)| matches!(entry.kind, Kind::HardLink(_)));
    for (path, entry) in others.into_iter().chain(links) {
        match &entry.kind {
            Kind::File(content) => unpack_file(path, content, &place(path), &unpack_error)?,
            kind => unpack_other(kind, &place(path), &place).map_err(|source| unpack_error(path, source))?,
        }
    }
    // Last, because making an entry changes its folder's time.
    for (index, (path, entry)) in tree.iter().enumerate() {
        if is_unprivileged(entry) && !matches!(entry.kind, Kind::HardLink(_)) {
            set_time(&place(path), mark(index)).map_err(|source| unpack_error(path, source))?;
        }
    }
    Ok(())
}

fn unpack_file(
    path: &TreePath,
    content: &Content,
    to: &Path,
    unpack_error: &dyn Fn(&TreePath, io::Error) -> RootError,
) -> Result<(), RootError> {
    let mut reader = content.open().map_err(|source| RootError::Content {
        path: path.clone(),
        source,
    })?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|source| unpack_error(path, source))?;
    let copied = io::copy(&mut reader, &mut file).map_err(|source| unpack_error(path, source))?;
    if copied == content.length {
        Ok(())
    } else {
        Err(RootError::Content {
            path: path.clone(),
            source: io::ErrorKind::UnexpectedEof.into(),
        })
    }
}

fn unpack_other(kind: &Kind, to: &Path, place: &dyn Fn(&TreePath) -> PathBuf) -> io::Result<()> {
    match kind {
        Kind::Directory => fs::DirBuilder::new().mode(0o700).create(to),
        Kind::Symlink(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), to),
        Kind::HardLink(target) => fs::hard_link(place(target), to),
        Kind::Fifo => Ok(rustix::fs::mknodat(CWD, to, FileType::Fifo, Mode::RUSR, 0)?),
        Kind::File(_) | Kind::CharDevice(..) | Kind::BlockDevice(..) => Ok(()),
    }
}

fn set_time(path: &Path, seconds: u32) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds.into(),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
