//! Every file of an image's root file system: the artefact `files.json`.
//!
//! It stands beside the manifest, which names it by digest, because it is long: a reader that
//! only wants to start the image need not read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::{ManifestError, PackageSize};
use crate::digest::Digest;
use crate::rootfs::tree::{Entry, Kind, Origin, Tree};

/// The file list's name in an image's folder.
pub const FILE_LIST_FILE: &str = "files.json";

/// The version of the format that this hpcvm writes.
const FILE_LIST_VERSION: u32 = 1;

/// The most that is read of a file list: some ten times that of a full desktop.
const LENGTH_LIMIT: u64 = 512 << 20;

/// Every entry of a root file system, in byte order of their paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileList {
    /// Version of this format: 1.
    pub files: u32,
    /// The entries.
    pub entries: Vec<ListedFile>,
}

/// One entry of a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListedFile {
    /// Absolute path. A byte that is not part of UTF-8 text is written `\xNN`, a backslash `\\`.
    pub path: String,
    /// What it is.
    pub kind: ListedKind,
    /// Permission bits in octal, such as `0755`.
    pub mode: String,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// SHA-256 of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Target of a link, written as paths are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Major and minor number of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    /// Where it comes from.
    pub origin: Origin,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedKind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// Another name of a regular file.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

impl FileList {
    /// The list of everything in `tree`.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let entries = tree
            .iter()
            .map(|(path, entry)| ListedFile::of(path.as_bytes(), entry))
            .collect();
        Self {
            files: FILE_LIST_VERSION,
            entries,
        }
    }

    /// The file's bytes: one entry a line, so that `diff` and `grep` are of use.
    ///
    /// # Panics
    /// Never: memory can always be written, and the keys are strings.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{{\"files\":{},\"entries\":[", self.files).into_bytes();
        for (index, entry) in self.entries.iter().enumerate() {
            bytes.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut bytes, entry).expect("an entry has string keys only, and memory does not fail");
        }
        bytes.extend_from_slice(b"\n]}\n");
        bytes
    }

    /// Reads the list at `path`.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LENGTH_LIMIT).read_to_end(&mut bytes))
            .map_err(|source| ManifestError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        let list: Self = serde_json::from_slice(&bytes).map_err(|error| ManifestError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        if list.files == FILE_LIST_VERSION {
            return Ok(list);
        }
        Err(ManifestError::Version {
            path: path.to_owned(),
            version: u64::from(list.files),
        })
    }

    /// What each package contributes, sorted by name, for the manifest.
    #[must_use]
    pub fn sizes_by_package(&self) -> Vec<PackageSize> {
        let mut sizes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.kind != ListedKind::Directory) {
            let owner = match &entry.origin {
                Origin::Package(name) => name,
                Origin::Overlay(_) => "(overlays)",
                Origin::Recipe => "(recipe)",
                Origin::Bootstrap => "(bootstrap)",
            };
            let (files, bytes) = sizes.entry(owner).or_default();
            *files += 1;
            *bytes += entry.length.unwrap_or(0);
        }
        let size = |(package, (files, bytes)): (&str, (u64, u64))| PackageSize {
            package: package.to_owned(),
            files,
            bytes,
        };
        sizes.into_iter().map(size).collect()
    }
}

impl ListedFile {
    fn of(path: &[u8], entry: &Entry) -> Self {
        let mut listed = Self {
            path: shown(path),
            kind: ListedKind::Directory,
            mode: format!("{:04o}", entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            length: None,
            digest: None,
            target: None,
            device: None,
            origin: entry.origin.clone(),
        };
        match &entry.kind {
            Kind::Directory => {}
            Kind::File(content) => {
                listed.kind = ListedKind::File;
                (listed.length, listed.digest) = (Some(content.length), Some(content.digest));
            }
            Kind::Symlink(target) => {
                (listed.kind, listed.target) = (ListedKind::Symlink, Some(written(target)));
            }
            Kind::HardLink(target) => {
                let target = shown(target.as_bytes());
                (listed.kind, listed.target) = (ListedKind::HardLink, Some(target));
            }
            Kind::CharDevice(major, minor) => {
                (listed.kind, listed.device) = (ListedKind::CharDevice, Some((*major, *minor)));
            }
            Kind::BlockDevice(major, minor) => {
                (listed.kind, listed.device) = (ListedKind::BlockDevice, Some((*major, *minor)));
            }
            Kind::Fifo => listed.kind = ListedKind::Fifo,
        }
        listed
    }
}

/// A path of a tree as the list has it: absolute, as text.
pub(crate) fn shown(path: &[u8]) -> String {
    format!("/{}", written(path))
}

/// Any bytes as text, such that different bytes are different text.
fn written(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += &chunk.valid().replace('\\', r"\\");
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            write!(text, r"\x{byte:02x}").ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::{Content, TreePath};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let package = Origin::Package("bash".into());
        for (path, kind, origin) in [
            (&b"bin/sh"[..], Kind::File(Content::inline(*b"#!")), package.clone()),
            (b"bin/a\xff\\", Kind::Symlink(b"sh".to_vec()), Origin::Recipe),
            (b"dev/null", Kind::CharDevice(1, 3), package),
        ] {
            tree.insert(TreePath::new(path).unwrap(), Entry::new(kind, 0o755, 0, origin));
        }
        tree
    }

    #[test]
    fn a_list_survives_its_file() {
        let list = FileList::of(&tree());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_LIST_FILE);
        std::fs::write(&path, list.to_bytes()).unwrap();
        assert_eq!(FileList::read(&path).unwrap(), list);
        let paths: Vec<&str> = list.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["/", "/bin", r"/bin/a\xff\\", "/bin/sh", "/dev", "/dev/null"]);
        assert_eq!(String::from_utf8(list.to_bytes()).unwrap().lines().count(), 6 + 2);
    }

    #[test]
    fn sizes_are_summed_by_owner() {
        let sizes: Vec<(String, u64, u64)> = FileList::of(&tree())
            .sizes_by_package()
            .into_iter()
            .map(|size| (size.package, size.files, size.bytes))
            .collect();
        assert_eq!(sizes, [("(recipe)".to_owned(), 1, 0), ("bash".to_owned(), 2, 2)]);
    }

    #[test]
    fn a_foreign_list_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_LIST_FILE);
        for (text, expected) in [
            ("{\"files\":9,\"entries\":[]}", "version 9"),
            ("{", "damaged"),
            ("", "damaged"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = FileList::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
