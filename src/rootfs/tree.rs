//! A root file system as a sorted list of entries, without unpacking it.
//!
//! File contents stay where they are (in a cached tar, on the host, in memory) and are read when
//! an image is written. Owners and modes live here and not in a folder on the host, which is why
//! an image of files owned by root can be built without being root.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A path inside a tree: bytes, relative to its root, without leading or trailing slash, empty,
/// `.` or `..` components. The empty path is the root folder itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

/// A path would leave the tree or is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a path inside the tree")]
pub struct InvalidPath(pub String);

impl TreePath {
    /// Reads `/usr/bin`, `usr/bin`, `./usr/bin/`; refuses `..`, NUL and an empty name.
    pub fn new(path: &[u8]) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(String::from_utf8_lossy(path).into_owned());
        let mut normal = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(invalid()),
                _ if component.contains(&0) => return Err(invalid()),
                _ => {
                    if !normal.is_empty() {
                        normal.push(b'/');
                    }
                    normal.extend_from_slice(component);
                }
            }
        }
        Ok(Self(normal))
    }

    /// The root folder.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The bytes, without a leading slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder it stands in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let start = self
            .0
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// Whether this is `folder` or stands below it.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.0.is_empty()
            || (self.0.starts_with(&folder.0) && matches!(self.0.get(folder.0.len()), None | Some(b'/')))
    }
}

impl fmt::Display for TreePath {
    /// As an absolute path; bytes that are not UTF-8 are replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target's bytes.
    Symlink(Vec<u8>),
    /// Another name of the regular file at this path, which is never itself a hard link.
    HardLink(TreePath),
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// The content of a regular file, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes.
    pub length: u64,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Where the bytes are.
    pub place: Place,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory.
    Inline(Arc<[u8]>),
    /// In an uncompressed archive on the host, from this offset.
    Span(Arc<Path>, u64),
    /// In a host file of its own.
    HostFile(PathBuf),
}

impl Content {
    /// Content held in memory.
    #[must_use]
    pub fn inline(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            length: bytes.len() as u64,
            digest: Digest::of(&bytes),
            place: Place::Inline(bytes),
        }
    }

    /// The content of the host file at `path` as it is now.
    pub fn host_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            length,
            digest: Digest::of_reader(&mut file)?,
            place: Place::HostFile(path.to_owned()),
        })
    }

    /// A reader of exactly [`Content::length`] bytes; what is short is an error when read.
    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &self.place {
            Place::Inline(bytes) => Box::new(&bytes[..]),
            Place::Span(archive, offset) => {
                let mut file = File::open(archive)?;
                file.seek(SeekFrom::Start(*offset))?;
                Box::new(file.take(self.length))
            }
            Place::HostFile(path) => Box::new(File::open(path)?.take(self.length)),
        })
    }

    /// All bytes.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.length {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
    /// Where it comes from.
    pub origin: Origin,
}

impl Entry {
    /// An entry owned by root, from `origin`.
    #[must_use]
    pub fn new(kind: Kind, mode: u32, mtime: u64, origin: Origin) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime,
            origin,
        }
    }

    /// Bytes of a regular file; 0 for everything else.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.length,
            _ => 0,
        }
    }
}

/// Where an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A Debian package, by name.
    Package(Arc<str>),
    /// An overlay, by name.
    Overlay(Arc<str>),
    /// The recipe's `files`.
    Recipe,
    /// Made while bootstrapping: by a maintainer script, or by hpcvm itself.
    Bootstrap,
}

/// A root file system. Every entry's parent is a directory entry of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

impl Tree {
    /// The entry at `path`, symbolic links not followed.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The entry at `path`, to change in place.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    /// Puts `entry` at `path`, in place of what stood there; makes missing parent folders
    /// (root, 0755). A non-directory in place of a directory removes what was below it.
    pub fn insert(&mut self, path: TreePath, entry: Entry) {
        if let Some(parent) = path.parent()
            && !matches!(
                self.entries.get(&parent),
                Some(Entry {
                    kind: Kind::Directory,
                    ..
                })
            )
        {
            let folder = Entry::new(Kind::Directory, 0o755, entry.mtime, entry.origin.clone());
            self.insert(parent, folder);
        }
        if !matches!(entry.kind, Kind::Directory) {
            self.remove(&path);
        }
        self.entries.insert(path, entry);
    }

    /// Removes what stands at `path` and below; returns how many entries that were. A hard link
    /// whose file goes becomes the file.
    pub fn remove(&mut self, path: &TreePath) -> usize {
        let doomed: Vec<TreePath> = self.below(path).map(|(path, _)| path.clone()).collect();
        let removed: Vec<(TreePath, Entry)> = doomed
            .into_iter()
            .filter_map(|path| self.entries.remove_entry(&path))
            .collect();
        for (path, entry) in &removed {
            if let Kind::File(_) = entry.kind {
                self.promote_link_of(path, entry);
            }
        }
        removed.len()
    }

    /// Makes the first hard link to the removed file at `gone` the file, and the others links to it.
    fn promote_link_of(&mut self, gone: &TreePath, file: &Entry) {
        let target = Kind::HardLink(gone.clone());
        let mut heir: Option<TreePath> = None;
        for (path, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.kind == target) {
            match &heir {
                None => {
                    entry.kind = file.kind.clone();
                    heir = Some(path.clone());
                }
                Some(first) => entry.kind = Kind::HardLink(first.clone()),
            }
        }
    }

    /// All entries, parents before children, in byte order of their paths' components' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// All entries, to change in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&TreePath, &mut Entry)> {
        self.entries.iter_mut()
    }

    /// The entry at `path` and everything below it.
    pub fn below<'a>(&'a self, path: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        // Siblings such as `usr-x` sort between `usr` and `usr/`: skip them, do not stop there.
        self.entries
            .range(path.clone()..)
            .take_while(move |(candidate, _)| candidate.as_bytes().starts_with(path.as_bytes()))
            .filter(move |(candidate, _)| candidate.is_within(path))
    }

    /// Follows symbolic links, in every component, from the tree's root as a chroot would;
    /// `None` where nothing stands or after 40 links.
    #[must_use]
    pub fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        let mut pending: Vec<Vec<u8>> = components(path.as_bytes()).rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if component == b".." {
                done.pop();
                continue;
            }
            done.push(component);
            let here = TreePath(done.join(&b'/'));
            if let Kind::Symlink(target) = &self.entries.get(&here)?.kind {
                links += 1;
                if links > 40 {
                    return None;
                }
                if target.starts_with(b"/") {
                    done.clear();
                } else {
                    done.pop();
                }
                pending.extend(components(target).rev().map(<[u8]>::to_vec));
            }
        }
        Some(TreePath(done.join(&b'/')))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The components of a path or link target, without empty and `.` ones.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|component| !matches!(*component, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn file(text: &str) -> Entry {
        Entry::new(Kind::File(Content::inline(text.as_bytes())), 0o644, 0, Origin::Recipe)
    }

    fn link(target: &str) -> Entry {
        Entry::new(Kind::Symlink(target.into()), 0o777, 0, Origin::Recipe)
    }

    #[test]
    fn paths_are_normalised_and_cannot_leave() {
        for (given, shown) in [("/usr//bin/", "/usr/bin"), ("./a/./b", "/a/b"), ("/", "/")] {
            assert_eq!(path(given).to_string(), shown);
        }
        for bad in ["..", "/a/../b", "a\0b"] {
            assert!(TreePath::new(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn siblings_with_a_common_prefix_are_not_below() {
        let mut tree = Tree::default();
        for name in ["usr/a", "usr-x/a", "usr.d/a"] {
            tree.insert(path(name), file(""));
        }
        assert_eq!(
            tree.below(&path("usr")).map(|(p, _)| p.to_string()).collect::<Vec<_>>(),
            ["/usr", "/usr/a"]
        );
        assert_eq!(tree.remove(&path("usr")), 2);
        assert!(tree.get(&path("usr-x/a")).is_some());
    }

    #[test]
    fn links_resolve_as_in_a_chroot() {
        let mut tree = Tree::default();
        tree.insert(path("usr/bin/dash"), file("#"));
        tree.insert(path("bin"), link("usr/bin"));
        tree.insert(path("usr/bin/sh"), link("dash"));
        tree.insert(path("out"), link("/../../usr/./bin/sh"));
        tree.insert(path("loop"), link("loop"));
        assert_eq!(tree.resolve(&path("bin/sh")), Some(path("usr/bin/dash")));
        assert_eq!(tree.resolve(&path("out")), Some(path("usr/bin/dash")));
        assert_eq!(tree.resolve(&path("loop")), None);
        assert_eq!(tree.resolve(&path("bin/none")), None);
    }

    #[test]
    fn a_hard_link_inherits_its_removed_file() {
        let mut tree = Tree::default();
        tree.insert(path("a"), file("data"));
        for name in ["b", "c"] {
            let link = Kind::HardLink(path("a"));
            tree.insert(path(name), Entry { kind: link, ..file("") });
        }
        tree.remove(&path("a"));
        assert_eq!(tree.get(&path("b")).unwrap().length(), 4);
        assert_eq!(tree.get(&path("c")).unwrap().kind, Kind::HardLink(path("b")));
    }
}
