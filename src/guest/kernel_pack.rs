//! What hpcvm keeps of a kernel package, as one file of the cache.
//!
//! A kernel package is 50 to 110 MB of XZ that take seconds to unpack; a guest needs the kernel
//! and a few dozen of its 4000 modules. The file is a line that names the format, the index's
//! length (8 bytes, little-endian), the index (JSON), then the bytes of what the index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kernel_error::KernelError;
use super::modules::Needs;
use crate::digest::Digest;
use crate::durable;
use crate::durable::WriteError;

/// The first line; another format gets another number.
const MAGIC: &[u8] = b"hpcvm kernel package 1\n";

/// The largest index that is read; Debian's have half a megabyte.
const INDEX_LIMIT: u64 = 16 << 20;

/// The largest thing that is read back.
const BLOB_LIMIT: u64 = 256 << 20;

/// What is in a pack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// The kernel's release, such as `6.1.0-50-686`.
    pub(super) release: String,
    /// Normal names of what is part of the kernel.
    pub(super) builtin: BTreeSet<String>,
    /// Every module of the package by normal name, with its path there.
    pub(super) paths: BTreeMap<String, String>,
    /// The modules that were asked for so far.
    pub(super) asked: BTreeSet<String>,
    /// What of the modules is kept: all that were asked for, and all they need.
    pub(super) kept: BTreeMap<String, Kept>,
    /// The kernel itself.
    pub(super) vmlinuz: Blob,
    /// Its configuration.
    pub(super) config: Blob,
}

/// A module that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) needs: Needs,
    pub(super) blob: Blob,
}

/// Where bytes are, from the index's end, and what they must be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Blob {
    offset: u64,
    length: u64,
    digest: Digest,
}

impl Default for Blob {
    fn default() -> Self {
        Self {
            offset: 0,
            length: 0,
            digest: Digest::of(b""),
        }
    }
}

/// The bytes of a pack that is being made, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Blobs(Vec<u8>);

impl Blobs {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Blob {
        let offset = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        Blob {
            offset,
            length: bytes.len() as u64,
            digest: Digest::of(bytes),
        }
    }
}

/// A pack in the cache, open to be read. It stays readable when another takes its place.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) index: Index,
    path: PathBuf,
    file: File,
    data: u64,
}

impl Pack {
    /// The pack at `path`; `None` when there is none that can be used.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let mut start = [0; MAGIC.len() + 8];
        file.read_exact(&mut start).ok()?;
        let (magic, length) = start.split_at(MAGIC.len());
        let length = u64::from_le_bytes(length.try_into().ok()?);
        if magic != MAGIC || length > INDEX_LIMIT {
            return None;
        }
        let mut text = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut text).ok()?;
        let index = serde_json::from_slice(&text).ok()?;
        Some(Self {
            index,
            path: path.to_owned(),
            file,
            data: start.len() as u64 + length,
        })
    }

    /// Writes a pack to `path` and opens it.
    pub(super) fn write(path: &Path, index: &Index, blobs: &Blobs) -> Result<Self, KernelError> {
        let text = serde_json::to_vec(index).expect("an index of strings and numbers can always be written");
        let failed = |source| WriteError {
            path: path.to_owned(),
            source,
        };
        durable::write_with(path, |out| {
            for part in [MAGIC, &(text.len() as u64).to_le_bytes()[..], &text, &blobs.0] {
                out.write_all(part).map_err(failed)?;
            }
            Ok::<(), WriteError>(())
        })?;
        Self::open(path).ok_or_else(|| KernelError::Read {
            path: path.to_owned(),
            source: io::Error::other("it cannot be read back after it was written"),
        })
    }

    /// The bytes of `blob`, checked against its digest.
    pub(super) fn read(&self, blob: &Blob) -> Result<Vec<u8>, KernelError> {
        let failed = |source| KernelError::Read {
            path: self.path.clone(),
            source,
        };
        let length = usize::try_from(blob.length.min(BLOB_LIMIT)).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, self.data.saturating_add(blob.offset))
            .map_err(failed)?;
        if Digest::of(&bytes) == blob.digest {
            Ok(bytes)
        } else {
            Err(failed(io::Error::new(
                io::ErrorKind::InvalidData,
                "its content is damaged; remove it",
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_pack_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        assert!(Pack::open(&path).is_none());
        let mut blobs = Blobs::default();
        let index = Index {
            config: blobs.add(b"A=y\n"),
            vmlinuz: blobs.add(b"kernel"),
            ..Index::default()
        };
        let pack = Pack::write(&path, &index, &blobs).unwrap();
        assert_eq!(pack.read(&pack.index.vmlinuz).unwrap(), b"kernel");
        let good = std::fs::read(&path).unwrap();
        for (cut, changed) in [(0, 5), (30, 40)] {
            let mut bad = good.clone();
            bad[changed] ^= 0x55;
            std::fs::write(&path, &bad[..bad.len() - cut]).unwrap();
            assert!(Pack::open(&path).is_none());
        }
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bad).unwrap();
        let pack = Pack::open(&path).unwrap();
        assert_eq!(pack.read(&pack.index.config).unwrap(), b"A=y\n");
        let error = pack.read(&pack.index.vmlinuz).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
