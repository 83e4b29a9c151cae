//! One generation as one file system image.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::repository::{EXPORTS, Repository};
use crate::digest::Digest;

/// Bytes of the block behind the file system.
pub const TRAILER_LENGTH: u64 = 4096;

/// How a trailer begins.
pub const TRAILER_MAGIC: [u8; 8] = *b"HPCVMLIB";

/// The version of the trailer that this hpcvm writes.
pub const TRAILER_VERSION: u32 = 1;

/// The last block of an export, by which a guest and a launch tell which generation it is.
///
/// | offset | bytes | |
/// | --- | --- | --- |
/// | 0 | 8 | `HPCVMLIB` |
/// | 8 | 4 | version of the trailer: 1 |
/// | 12 | 4 | number of the generation |
/// | 16 | 32 | digest of the generation |
/// | 48 | 32 | SHA-256 of everything before the trailer |
/// | 80 | 8 | bytes before the trailer |
/// | 88 | 4008 | zeros |
///
/// Numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Number of the generation.
    pub number: u32,
    /// Digest of the generation.
    pub generation: Digest,
    /// SHA-256 of everything before the trailer.
    pub content: Digest,
    /// Bytes before the trailer, a multiple of 4096.
    pub length: u64,
}

impl Trailer {
    /// The block.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut block = Vec::new();
        block.extend(TRAILER_MAGIC);
        block.extend(TRAILER_VERSION.to_le_bytes());
        block.extend(self.number.to_le_bytes());
        block.extend(self.generation.as_bytes());
        block.extend(self.content.as_bytes());
        block.extend(self.length.to_le_bytes());
        block.resize(usize::try_from(TRAILER_LENGTH).expect("a block fits memory"), 0);
        block
    }

    /// Reads a block; `None` where it is no trailer of this version.
    #[must_use]
    pub fn from_bytes(block: &[u8]) -> Option<Self> {
        let rest = block.strip_prefix(&TRAILER_MAGIC)?;
        let (version, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk::<32>()?;
        let (content, rest) = rest.split_first_chunk::<32>()?;
        let (length, _) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*version) == TRAILER_VERSION).then(|| Self {
            number: u32::from_le_bytes(*number),
            generation: Digest::from_bytes(*generation),
            content: Digest::from_bytes(*content),
            length: u64::from_le_bytes(*length),
        })
    }

    /// Reads the trailer of the file at `path`; `None` where it has none, or is not as long as
    /// its trailer says.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let Some(start) = file.metadata()?.len().checked_sub(TRAILER_LENGTH) else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(TRAILER_LENGTH).read_to_end(&mut block)?;
        Ok(Self::from_bytes(&block).filter(|trailer| trailer.length == start))
    }
}

impl Repository {
    /// Where the export of this generation is, if there is one and its trailer names the
    /// generation as it is in the repository.
    #[must_use]
    pub fn export_path(&self, number: u32) -> Option<PathBuf> {
        let path = self.place_of_export(number);
        let trailer = Trailer::read(&path).ok()??;
        let generation = Digest::of(&fs::read(self.generation_path(number)).ok()?);
        (trailer.number == number && trailer.generation == generation).then_some(path)
    }

    pub(super) fn place_of_export(&self, number: u32) -> PathBuf {
        self.folder().join(EXPORTS).join(format!("{number}.squashfs"))
    }
}
