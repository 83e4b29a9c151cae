//! What became of every library of a guest, and why: the artefact `libraries.json`.
//!
//! It stands beside the manifest of an image whose libraries were weighed. A launch reads it to
//! check, before anything starts, that the repository has what the image links to.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::manifest::ManifestError;
use crate::digest::Digest;

/// The list's name in an image's folder.
pub const LIBRARY_LIST_FILE: &str = "libraries.json";

/// The version of the format that this hpcvm writes.
pub const LIBRARY_LIST_VERSION: u32 = 1;

/// The most that is read of a list.
const LENGTH_LIMIT: u64 = 256 << 20;

/// Every library of a guest, as it was before slimming, and every folder of data that is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LibraryList {
    /// Version of this format: 1.
    pub libraries: u32,
    /// The libraries, sorted by path, then by soname.
    pub entries: Vec<ListedLibrary>,
    /// The folders, sorted by path.
    pub folders: Vec<LinkedFolder>,
}

/// A library with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListedLibrary {
    /// Absolute path of the file in the guest, written as in the file list; absent for one that
    /// is needed and was never there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its soname, or the name by which it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// Bytes of the file.
    pub length: u64,
    /// The Debian package it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The purge rule that removed it, the glob that kept it, or what else makes the reason plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The shortest chain of needs that leads to it: paths from a program to the library itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// Programs that load it when they start, and plug-ins that need it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// SHA-256 of the file in the repository, for a linked one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Digest>,
}

/// What became of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It stayed in the image.
    Local,
    /// The image has a link to the repository in its place.
    Linked,
    /// A purge rule removed it.
    Purged,
    /// Something needs it and it is not there.
    Missing,
}

/// Why a library has its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Local: what runs before the repository is mounted needs it.
    BootCritical,
    /// Local: a program needs it and the policy is `needed`.
    Needed,
    /// Local: a `keep` glob names it.
    Kept,
    /// Local: the policy is `all`.
    Policy,
    /// Linked: the policy leaves only what is boot-critical, or needed, in the image.
    NotLocal,
    /// Linked: its package is one of `linked-packages`.
    LinkedPackage,
    /// Linked: it stands in a folder that is linked as a whole.
    InFolder,
    /// Purged by a rule.
    PurgeRule,
    /// Missing: no file of this name was in the guest.
    NotFound,
}

/// A folder of data that is linked as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinkedFolder {
    /// Absolute path in the guest.
    pub path: String,
    /// Its digest in the repository.
    pub object: Digest,
    /// Files, links and folders below it.
    pub files: u64,
    /// Bytes of its regular files.
    pub bytes: u64,
}

impl LibraryList {
    /// The file's bytes: one entry a line, so that `diff` and `grep` are of use.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        fn lines<T: Serialize>(bytes: &mut Vec<u8>, items: &[T]) {
            for (index, item) in items.iter().enumerate() {
                bytes.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
                serde_json::to_writer(&mut *bytes, item)
                    .expect("an entry has string keys only, and memory does not fail");
            }
        }
        let mut bytes = format!("{{\"libraries\":{},\"entries\":[", self.libraries).into_bytes();
        lines(&mut bytes, &self.entries);
        bytes.extend_from_slice(b"\n],\"folders\":[");
        lines(&mut bytes, &self.folders);
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
        let damaged = |why: String| ManifestError::Damaged {
            path: path.to_owned(),
            why,
        };
        let list: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if list.libraries == LIBRARY_LIST_VERSION {
            Ok(list)
        } else {
            Err(damaged(format!(
                "version {} of its format is not known",
                list.libraries
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let list = LibraryList {
            libraries: LIBRARY_LIST_VERSION,
            entries: vec![ListedLibrary {
                path: Some("/usr/lib/i386-linux-gnu/libz.so.1.2.13".to_owned()),
                soname: Some("libz.so.1".to_owned()),
                length: 113_000,
                package: Some("zlib1g".to_owned()),
                verdict: Verdict::Linked,
                reason: Reason::NotLocal,
                detail: None,
                chain: vec![
                    "/usr/bin/file".to_owned(),
                    "/usr/lib/i386-linux-gnu/libz.so.1.2.13".to_owned(),
                ],
                needed_by: vec!["/usr/bin/file".to_owned()],
                object: Some(Digest::of(b"z")),
            }],
            folders: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LIBRARY_LIST_FILE);
        std::fs::write(&path, list.to_bytes()).unwrap();
        assert_eq!(LibraryList::read(&path).unwrap(), list);
        std::fs::write(&path, &list.to_bytes()[..40]).unwrap();
        assert!(matches!(LibraryList::read(&path), Err(ManifestError::Damaged { .. })));
    }
}
