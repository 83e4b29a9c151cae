//! The files of an image and what a guest sees besides, as a file system that can be scanned.
//!
//! Entries come from the image's list of files; only files that are opened are read from its
//! disk, and nothing is mounted or unpacked.

mod error;
mod reader;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use error::ContentsError;
use reader::Reader;

use super::file_list::{FileList, ListedKind};
use super::store::{DISK_FILE, StoredImage};
use crate::elf::bytes::{FileId, Source};
use crate::elf::file_system::FileSystem;

/// As many symbolic links as Linux follows in one path.
const MOST_LINKS: usize = 40;
/// The longest file that is read from a disk image: it is held in memory.
const LONGEST: u64 = 1 << 30;

/// The files of an image, with folders or files of the host laid over it.
#[derive(Debug)]
pub struct GuestFiles {
    entries: BTreeMap<PathBuf, Node>,
    reader: Reader,
    mounts: Vec<Mount>,
}

/// A folder or file of the host as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its path in the guest, absolute and without links.
    pub guest: PathBuf,
    /// The host's folder or file.
    pub host: PathBuf,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    /// A file of the image, by the path it is stored under, and its length.
    Stored(PathBuf, u64),
    /// A file of the host.
    Host(PathBuf),
    Link(PathBuf),
    /// A device or a pipe.
    Other,
}

impl GuestFiles {
    /// The files of `image`. Its disk is opened, and of a compressed root the tables are read.
    pub fn open(image: &StoredImage) -> Result<Self, ContentsError> {
        let root = &image.manifest.root;
        let span = (image.manifest.disk.root.offset, root.length);
        Ok(Self {
            entries: nodes(&image.files()?),
            reader: Reader::open(&image.path(DISK_FILE), root.kind, span)?,
            mounts: Vec::new(),
        })
    }

    /// Lays a folder or file of the host over the image; of two the one with the longer path
    /// in the guest counts.
    pub fn mount(&mut self, mount: Mount) {
        self.mounts.push(mount);
        self.mounts
            .sort_by_key(|mount| std::cmp::Reverse(mount.guest.as_os_str().len()));
    }

    /// What stands at `path`, whose folders are no links.
    fn node(&self, path: &Path) -> Option<Node> {
        for mount in &self.mounts {
            if let Ok(rest) = path.strip_prefix(&mount.guest) {
                let host = if rest.as_os_str().is_empty() {
                    mount.host.clone()
                } else {
                    mount.host.join(rest)
                };
                return host_node(host);
            }
        }
        let above_mount = || self.mounts.iter().any(|mount| mount.guest.starts_with(path));
        let stored = self.entries.get(path).cloned();
        stored.or_else(|| above_mount().then_some(Node::Folder))
    }

    /// `path` without links, and what stands there.
    fn resolve(&self, path: &Path) -> io::Result<(PathBuf, Node)> {
        let mut here = PathBuf::from("/");
        let mut node = Node::Folder;
        let mut pending = reversed(path);
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                here.pop();
                node = Node::Folder;
                continue;
            }
            let next = here.join(&name);
            match self.node(&next).ok_or(io::ErrorKind::NotFound)? {
                Node::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    if target.is_absolute() {
                        here = "/".into();
                    }
                    pending.extend(reversed(&target));
                }
                found => (here, node) = (next, found),
            }
        }
        Ok((here, node))
    }

    /// The names in the folder `path`, which is no link.
    fn names(&self, path: &Path) -> Vec<OsString> {
        let below = |(entry, _): &(&PathBuf, &Node)| entry.starts_with(path);
        let mut names: Vec<OsString> = self
            .entries
            .range(path.to_owned()..)
            .take_while(below)
            .filter(|(entry, _)| entry.parent() == Some(path))
            .filter_map(|(entry, _)| entry.file_name())
            .map(OsStr::to_owned)
            .collect();
        for mount in &self.mounts {
            if let Ok(rest) = mount.guest.strip_prefix(path) {
                names.extend(rest.iter().next().map(OsStr::to_owned));
            }
        }
        if let Some(host) = self.host_folder(path) {
            let entries = fs::read_dir(host).into_iter().flatten().flatten();
            names.extend(entries.map(|entry| entry.file_name()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// The host's folder that hides the image's at `path`.
    fn host_folder(&self, path: &Path) -> Option<PathBuf> {
        let rest = |mount: &Mount| Some(mount.host.join(path.strip_prefix(&mount.guest).ok()?));
        self.mounts.iter().find_map(rest)
    }

    fn walk_into(&self, shown: &Path, real: &Path, files: &mut Vec<PathBuf>) {
        for name in self.names(real) {
            let (shown, real) = (shown.join(&name), real.join(&name));
            match self.node(&real) {
                Some(Node::Folder) => self.walk_into(&shown, &real, files),
                Some(Node::Stored(..) | Node::Host(_)) => files.push(shown),
                _ => {}
            }
        }
    }
}

/// The components of `path`, the last one first, without the root.
fn reversed(path: &Path) -> Vec<OsString> {
    let named = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(named).collect()
}

fn host_node(path: PathBuf) -> Option<Node> {
    let kind = fs::symlink_metadata(&path).ok()?.file_type();
    Some(match () {
        () if kind.is_dir() => Node::Folder,
        () if kind.is_file() => Node::Host(path),
        () if kind.is_symlink() => Node::Link(fs::read_link(&path).ok()?),
        () => Node::Other,
    })
}

fn nodes(list: &FileList) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    for entry in &list.entries {
        let target = || entry.target.as_deref().map(unwritten).unwrap_or_default();
        let node = match entry.kind {
            ListedKind::Directory => Node::Folder,
            ListedKind::File => Node::Stored(unwritten(&entry.path), entry.length.unwrap_or(0)),
            ListedKind::Symlink => Node::Link(target()),
            // A tree lists a file before its other names only by chance: resolved below.
            ListedKind::HardLink => Node::Stored(target(), u64::MAX),
            _ => Node::Other,
        };
        nodes.insert(unwritten(&entry.path), node);
    }
    let hard: Vec<(PathBuf, PathBuf)> = nodes
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Stored(target, u64::MAX) => Some((path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    for (path, target) in hard {
        let node = nodes.get(&target).cloned().unwrap_or(Node::Other);
        nodes.insert(path, node);
    }
    nodes
}

/// The bytes that a list of files writes as this text.
fn unwritten(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let (byte, after) = match more {
            [b'\\', after @ ..] if first == b'\\' => (b'\\', after),
            [b'x', high, low, after @ ..] if first == b'\\' => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (first, more),
            },
            _ => (first, more),
        };
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes).into()
}

fn nibble(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

impl FileSystem for GuestFiles {
    fn open(&self, path: &Path) -> io::Result<Source> {
        match self.resolve(path)?.1 {
            Node::Host(host) => Source::host(&host),
            Node::Stored(_, length) if length > LONGEST => Err(io::Error::other("the file is too long to be read")),
            Node::Stored(stored, _) => {
                let bytes: Arc<[u8]> = self.reader.read(&stored)?.into();
                Ok(Source::memory(FileId::Path(stored), bytes))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.resolve(path).is_ok_and(|(_, node)| node == Node::Folder)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.resolve(path)?.0)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        match self.resolve(path)? {
            (real, Node::Folder) => Ok(self.names(&real)),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        match self.resolve(path)? {
            (real, Node::Folder) => self.walk_into(path, &real, &mut files),
            (_, Node::Stored(..) | Node::Host(_)) => files.push(path.to_owned()),
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        files.sort();
        Ok(files)
    }
}

#[cfg(test)]
mod tests;
