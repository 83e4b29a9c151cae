//! Single files out of the root file system inside a disk image.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use backhand::{FilesystemReader, InnerNode};
use ext4_view::{Ext4, Ext4Read};

use super::ContentsError;
use crate::recipe::RootKind;

/// Bytes that are read ahead of a squashfs.
const AHEAD: usize = 64 * 1024;

/// An open root file system.
pub(super) enum Reader {
    /// A squashfs with the place of each path among its nodes.
    Squashfs(Box<FilesystemReader<'static>>, HashMap<PathBuf, usize>),
    /// An ext4: its library cannot be shared among threads, and is opened for each file.
    Ext4(Part),
}

/// A part of a file, from an offset on.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: File,
    offset: u64,
    length: u64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Squashfs(_, places) => f.debug_tuple("Squashfs").field(&places.len()).finish(),
            Self::Ext4(part) => f.debug_tuple("Ext4").field(part).finish(),
        }
    }
}

impl Reader {
    /// Opens the root of this kind that stands in `disk` at an offset and has a length.
    pub(super) fn open(disk: &Path, kind: RootKind, (offset, length): (u64, u64)) -> Result<Self, ContentsError> {
        let unreadable = |why: String| ContentsError::Unreadable {
            path: disk.to_owned(),
            why,
        };
        let file = File::open(disk).map_err(|error| unreadable(error.to_string()))?;
        match kind {
            RootKind::ReadOnly => {
                let file = BufReader::with_capacity(AHEAD, file);
                let squashfs = FilesystemReader::from_reader_with_offset(file, offset)
                    .map_err(|error| unreadable(error.to_string()))?;
                let places = squashfs.root.nodes.iter().enumerate();
                let places = places.map(|(place, node)| (node.fullpath.clone(), place)).collect();
                Ok(Self::Squashfs(Box::new(squashfs), places))
            }
            RootKind::Writable => {
                let part = Part {
                    path: disk.to_owned(),
                    file,
                    offset,
                    length,
                };
                part.ext4().map_err(|error| unreadable(error.to_string()))?;
                Ok(Self::Ext4(part))
            }
        }
    }

    /// The bytes of the regular file at `path`, which has no links in it.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self {
            Self::Squashfs(squashfs, places) => {
                let place = places.get(path).ok_or(io::ErrorKind::NotFound)?;
                let InnerNode::File(file) = &squashfs.root.nodes[*place].inner else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                let mut bytes = Vec::new();
                squashfs.file(file).reader().read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Self::Ext4(part) => {
                let ext4 = part.ext4()?;
                let path = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                ext4.read(path).map_err(io::Error::other)
            }
        }
    }
}

impl Part {
    fn ext4(&self) -> io::Result<Ext4> {
        let part = Self {
            path: self.path.clone(),
            file: self.file.try_clone()?,
            offset: self.offset,
            length: self.length,
        };
        Ext4::load(Box::new(part)).map_err(io::Error::other)
    }
}

impl Ext4Read for Part {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let end = start_byte.checked_add(dst.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(self.file.read_exact_at(dst, self.offset + start_byte)?)
    }
}
