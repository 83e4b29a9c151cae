//! The bytes of a file, wherever it is, read a few at a time.
//!
//! A scan needs some kilobytes of each library, which may have hundreds of megabytes: mapping it
//! is not safe against a file that shrinks, reading it whole is slow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tells whether two paths are the same file, as device and inode do for `ld.so`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// Device and inode of a file on the host.
    Inode(u64, u64),
    /// A path without symbolic links, for trees without inodes.
    Path(PathBuf),
}

/// Where a file's bytes are.
#[derive(Debug)]
enum Place {
    Memory(Arc<[u8]>),
    File(File, u64),
}

/// An open regular file.
#[derive(Debug)]
pub struct Source {
    /// Which file it is.
    pub id: FileId,
    /// Length in bytes.
    pub length: u64,
    place: Place,
}

impl Source {
    /// A file held in memory.
    #[must_use]
    pub fn memory(id: FileId, bytes: Arc<[u8]>) -> Self {
        Self {
            id,
            length: bytes.len() as u64,
            place: Place::Memory(bytes),
        }
    }

    /// `length` bytes of an open host file from `start`.
    #[must_use]
    pub fn span(id: FileId, file: File, start: u64, length: u64) -> Self {
        Self {
            id,
            length,
            place: Place::File(file, start),
        }
    }

    /// The regular file at the host's `path`, links followed; what is no regular file is not
    /// found, and devices and pipes are not opened.
    pub fn host(path: &Path) -> io::Result<Self> {
        use rustix::fs::{FileType, Mode, OFlags};
        // Without NONBLOCK, opening a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let status = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        let length = u64::try_from(status.st_size).map_err(io::Error::other)?;
        Ok(Self::span(
            FileId::Inode(status.st_dev, status.st_ino),
            File::from(file),
            0,
            length,
        ))
    }

    /// Bytes from `offset`, at most `limit`; fewer only where the file ends.
    pub fn read_at(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let rest = self.length.saturating_sub(offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(limit);
        let mut bytes = vec![0; wanted];
        match &self.place {
            Place::Memory(all) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
                bytes.copy_from_slice(&all[start..start + wanted]);
            }
            Place::File(file, start) if wanted > 0 => file.read_exact_at(&mut bytes, start.saturating_add(offset))?,
            Place::File(..) => {}
        }
        Ok(bytes)
    }

    /// The whole file if it has at most `limit` bytes.
    pub fn read_all(&self, limit: usize) -> io::Result<Vec<u8>> {
        if self.length > limit as u64 {
            return Err(io::Error::other(format!(
                "{} bytes are too many: at most {limit} are read",
                self.length
            )));
        }
        self.read_at(0, limit)
    }
}

/// Size of what is read at once and kept.
const PAGE: u64 = PAGE_BYTES as u64;
/// The same as a length in memory.
const PAGE_BYTES: usize = 4096;
/// How many pages are kept: 1 MiB.
const PAGES: usize = 256;
/// The longest string: `PATH_MAX` of Linux is 4096; search paths may hold several.
const LONGEST_STRING: u64 = 64 * 1024;
/// As much as all strings read of one file may have together: those of real files have some
/// kilobytes. A hostile file may name one long string thousands of times.
pub(super) const ALL_STRINGS: usize = 2 * 1024 * 1024;

/// Reads a file here and there, each page once.
#[derive(Debug)]
pub(super) struct Window<'a> {
    source: &'a Source,
    pages: BTreeMap<u64, Vec<u8>>,
    /// How many bytes of strings may still be read.
    strings_room: usize,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            pages: BTreeMap::new(),
            strings_room: ALL_STRINGS,
        }
    }

    pub(super) const fn length(&self) -> u64 {
        self.source.length
    }

    fn page(&mut self, number: u64) -> io::Result<&[u8]> {
        if self.pages.len() >= PAGES && !self.pages.contains_key(&number) {
            self.pages.clear();
        }
        match self.pages.entry(number) {
            std::collections::btree_map::Entry::Occupied(page) => Ok(page.into_mut()),
            std::collections::btree_map::Entry::Vacant(slot) => {
                let bytes = self.source.read_at(number.saturating_mul(PAGE), PAGE_BYTES)?;
                Ok(slot.insert(bytes))
            }
        }
    }

    /// At most `limit` bytes from `offset`; fewer only where the file ends.
    pub(super) fn up_to(&mut self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let within = usize::try_from(offset % PAGE).expect("below a page");
        if within + limit > PAGE_BYTES {
            return self.source.read_at(offset, limit);
        }
        let page = self.page(offset / PAGE)?;
        let end = page.len().min(within + limit);
        Ok(page.get(within..end).unwrap_or_default().to_vec())
    }

    /// Exactly `length` bytes from `offset`.
    pub(super) fn exactly(&mut self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        // Asked first: a hostile length must not be allocated.
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length()) {
            return Ok(None);
        }
        Ok(Some(self.up_to(offset, length)?).filter(|bytes| bytes.len() == length))
    }

    /// The string from `offset` to the next NUL before `end`; `None` where there is no NUL, or where
    /// too much was read already.
    pub(super) fn string(&mut self, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
        let end = end.min(self.length()).min(offset.saturating_add(LONGEST_STRING));
        let mut string = Vec::new();
        let mut at = offset;
        while at < end {
            let within = usize::try_from(at % PAGE).expect("below a page");
            let room = usize::try_from((end - at).min(PAGE)).expect("at most a page");
            let page = self.page(at / PAGE)?;
            let part = page.get(within..).unwrap_or_default();
            let part = &part[..part.len().min(room)];
            if let Some(nul) = part.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&part[..nul]);
                let room = self.strings_room.checked_sub(string.len());
                self.strings_room = room.unwrap_or(0);
                return Ok(room.map(|_| string));
            }
            if part.is_empty() {
                break;
            }
            string.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bytes: &[u8]) -> Source {
        Source::memory(FileId::Path("/x".into()), bytes.into())
    }

    #[test]
    fn reads_stop_at_the_end() {
        let source = source(&[7; 5000]);
        let mut window = Window::new(&source);
        assert_eq!(window.up_to(4090, 20).unwrap().len(), 20);
        assert_eq!(window.up_to(4990, 20).unwrap().len(), 10);
        assert_eq!(window.up_to(u64::MAX, 20).unwrap().len(), 0);
        assert_eq!(window.exactly(4990, 11).unwrap(), None);
        assert_eq!(window.exactly(u64::MAX, 1).unwrap(), None);
        assert_eq!(window.exactly(0, usize::MAX).unwrap(), None);
        assert_eq!(window.exactly(0, 5000).unwrap().unwrap().len(), 5000);
    }

    #[test]
    fn strings_cross_pages_and_must_end() {
        let mut bytes = vec![b'a'; 5000];
        bytes[4200] = 0;
        let source = source(&bytes);
        let mut window = Window::new(&source);
        assert_eq!(window.string(4000, 5000).unwrap().unwrap().len(), 200);
        assert_eq!(window.string(4000, 4200).unwrap(), None);
        assert_eq!(window.string(4201, u64::MAX).unwrap(), None);
        assert_eq!(window.string(u64::MAX, u64::MAX).unwrap(), None);
    }
}
