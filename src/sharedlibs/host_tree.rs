//! A folder of the host as a tree of what may be of use to a repository.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::LibraryError;
use super::error::reading;
use super::sources::is_debug_file;
use crate::elf::bytes::Source;
use crate::rootfs::installed;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

/// How every ELF file begins.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// Folders, links, ELF files, licences and dpkg's database below `root`, and everything that is
/// `wanted`. Other files are not read; other file systems are not entered.
pub(super) fn read(root: &Path, wanted: impl Fn(&TreePath) -> bool + Sync) -> Result<Tree, LibraryError> {
    let mut found = Vec::new();
    let walk = WalkDir::new(root)
        .min_depth(1)
        .follow_links(false)
        .same_file_system(true);
    for item in walk.sort_by_file_name() {
        let item = item.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            reading(&path)(
                error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("a loop of links")),
            )
        })?;
        let relative = item
            .path()
            .strip_prefix(root)
            .expect("walked paths are below their root");
        let path =
            TreePath::new(relative.as_os_str().as_bytes()).map_err(|error| LibraryError::Packages(error.into()))?;
        found.push((path, item.into_path()));
    }
    let entries = found
        .into_par_iter()
        .filter_map(|(path, file)| match entry(&path, &file, &wanted) {
            Ok(kept) => Some(Ok((path, kept?))),
            Err(source) => Some(Err(reading(&file)(source))),
        })
        .collect::<Result<Vec<(TreePath, Entry)>, LibraryError>>()?;
    let mut tree = Tree::default();
    for (path, entry) in entries {
        tree.insert(path, entry);
    }
    Ok(tree)
}

fn entry(path: &TreePath, file: &PathBuf, wanted: &dyn Fn(&TreePath) -> bool) -> io::Result<Option<Entry>> {
    let status = fs::symlink_metadata(file)?;
    let kind = status.file_type();
    let kind = if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(file)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_file() {
        if !wanted(path) && !describes_packages(path) && !is_elf(path, file)? {
            return Ok(None);
        }
        Kind::File(Content::host_file(file)?)
    } else if wanted(path) {
        // Whatever it is, it is none that a repository takes: the folder it is in is refused.
        Kind::Fifo
    } else {
        return Ok(None);
    };
    let mode = status.permissions().mode() & 0o7777;
    Ok(Some(Entry::new(kind, mode, 0, Origin::Bootstrap)))
}

fn describes_packages(path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    let is_licence = bytes.starts_with(b"usr/share/doc/") && bytes.ends_with(b"/copyright");
    let is_list = bytes.starts_with(installed::INFO.as_bytes()) && bytes.ends_with(b".list");
    is_licence || is_list || bytes == installed::STATUS.as_bytes()
}

fn is_elf(path: &TreePath, file: &Path) -> io::Result<bool> {
    if is_debug_file(path) {
        return Ok(false);
    }
    Ok(Source::host(file)?.read_at(0, ELF_MAGIC.len())? == ELF_MAGIC)
}
