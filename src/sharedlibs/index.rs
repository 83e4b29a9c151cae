//! What a generation holds: `generations/N.json`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LibraryError;
use super::error::reading;
use crate::digest::Digest;

/// The version of the format that this hpcvm writes.
pub const INDEX_VERSION: u32 = 1;

/// The most that is read of an index.
const LENGTH_LIMIT: u64 = 256 << 20;

/// One generation of a repository: everything that was added until then and not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its number, from 1.
    pub number: u32,
    /// SHA-256 of the file it is kept in.
    pub digest: Digest,
    /// The repository's name.
    pub repository: String,
    /// The generation it was made from.
    pub previous: Option<Previous>,
    /// Its libraries, sorted by path, object, package and version.
    pub entries: Vec<IndexEntry>,
    /// Its folders of data, sorted by path and digest.
    pub folders: Vec<IndexFolder>,
}

/// The generation that another one was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Previous {
    /// Its number.
    pub number: u32,
    /// Its digest.
    pub digest: Digest,
}

/// A library of a generation. The same object may have several entries: one for each path and
/// package it was added from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IndexEntry {
    /// Absolute path at which it stood.
    pub path: String,
    /// SHA-256 of its bytes.
    pub object: Digest,
    /// The Debian package it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its length in bytes.
    pub length: u64,
    /// With what it can be loaded: `i386`, `x86-64`, ...; absent for what is no ELF file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<String>,
    /// `DT_SONAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// `DT_NEEDED`, in the file's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The symbol versions it defines (`DT_VERDEF`), in the file's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// Its build id in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The object that holds its package's licence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<Digest>,
}

/// A folder of data of a generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IndexFolder {
    /// Absolute path at which it stood.
    pub path: String,
    /// The digest of its listing, which is an object, too.
    pub digest: Digest,
    /// Files, links and folders below it.
    pub files: u64,
    /// Bytes of its regular files.
    pub bytes: u64,
    /// The packages it came with, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<FolderPackage>,
}

/// A package that brought part of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FolderPackage {
    /// Its name.
    pub package: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object that holds its licence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<Digest>,
}

/// The file's content: an [`Index`] without its digest.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stored {
    generation: u32,
    number: u32,
    repository: String,
    previous: Option<Previous>,
    entries: Vec<IndexEntry>,
    folders: Vec<IndexFolder>,
}

/// What is read of an index of any version.
#[derive(Deserialize)]
struct Version {
    generation: u32,
}

impl Index {
    /// A generation of these entries, sorted and each once; its digest is that of its file.
    pub(super) fn new(
        number: u32,
        repository: &str,
        previous: Option<&Self>,
        (mut entries, mut folders): (Vec<IndexEntry>, Vec<IndexFolder>),
    ) -> Self {
        entries.sort();
        entries.dedup();
        folders.sort();
        folders.dedup();
        let mut index = Self {
            number,
            digest: Digest::of(b""),
            repository: repository.to_owned(),
            previous: previous.map(|index| Previous {
                number: index.number,
                digest: index.digest,
            }),
            entries,
            folders,
        };
        index.digest = Digest::of(&index.to_bytes());
        index
    }

    /// The file's bytes: one entry a line, so that `diff` and `grep` are of use.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        fn json(value: &impl Serialize) -> String {
            serde_json::to_string(value).expect("keys are strings, and memory does not fail")
        }
        fn lines<T: Serialize>(text: &mut String, items: &[T]) {
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "\n" } else { ",\n" });
                text.push_str(&json(item));
            }
        }
        let mut text = format!(
            "{{\"generation\":{INDEX_VERSION},\"number\":{},\"repository\":{},\"previous\":{},\n\"entries\":[",
            self.number,
            json(&self.repository),
            json(&self.previous)
        );
        lines(&mut text, &self.entries);
        text.push_str("\n],\"folders\":[");
        lines(&mut text, &self.folders);
        text.push_str("\n]}\n");
        text.into_bytes()
    }

    /// Reads the index at `path`, which must be of this number and repository.
    pub(super) fn read(path: &Path, number: u32, repository: &str) -> Result<Self, LibraryError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LENGTH_LIMIT).read_to_end(&mut bytes))
            .map_err(reading(path))?;
        let damaged = |why: String| LibraryError::Damaged {
            path: path.to_owned(),
            why,
        };
        let foreign = |version| LibraryError::Foreign {
            path: path.to_owned(),
            version,
            known: INDEX_VERSION,
        };
        let parsed: Result<Stored, _> = serde_json::from_slice(&bytes);
        let stored = parsed.map_err(|error| match serde_json::from_slice(&bytes) {
            Ok(Version { generation }) if generation != INDEX_VERSION => foreign(generation),
            _ => damaged(error.to_string()),
        })?;
        if stored.generation != INDEX_VERSION {
            return Err(foreign(stored.generation));
        }
        if stored.number != number || stored.repository != repository {
            let (other, name) = (stored.number, stored.repository);
            return Err(damaged(format!("it is generation {other} of the repository {name}")));
        }
        let index = Self {
            number: stored.number,
            digest: Digest::of(&bytes),
            repository: stored.repository,
            previous: stored.previous,
            entries: stored.entries,
            folders: stored.folders,
        };
        index.check().map_err(damaged)?;
        Ok(index)
    }

    /// Whether it is as [`Index::new`] makes one.
    fn check(&self) -> Result<(), String> {
        if !self.entries.is_sorted() || !self.folders.is_sorted() {
            return Err("its entries are not sorted".to_owned());
        }
        let mut paths = self
            .entries
            .iter()
            .map(|entry| &entry.path)
            .chain(self.folders.iter().map(|folder| &folder.path));
        match paths.find(|path| !path.starts_with('/')) {
            Some(path) => Err(format!("'{path}' is not an absolute path")),
            None => Ok(()),
        }
    }

    /// The first entry of this object.
    #[must_use]
    pub fn entry(&self, object: Digest) -> Option<&IndexEntry> {
        self.entries.iter().find(|entry| entry.object == object)
    }

    /// The first folder of this digest.
    #[must_use]
    pub fn folder(&self, digest: Digest) -> Option<&IndexFolder> {
        self.folders.iter().find(|folder| folder.digest == digest)
    }

    /// Every object that it names itself: libraries, licences and listings of folders; sorted.
    /// What the folders hold is told by their listings.
    #[must_use]
    pub fn objects(&self) -> Vec<Digest> {
        let libraries = self
            .entries
            .iter()
            .flat_map(|entry| [Some(entry.object), entry.licence]);
        let folders = self.folders.iter().flat_map(|folder| {
            let licences = folder.packages.iter().map(|package| package.licence);
            licences.chain([Some(folder.digest)])
        });
        let mut objects: Vec<Digest> = libraries.chain(folders).flatten().collect();
        objects.sort();
        objects.dedup();
        objects
    }
}
