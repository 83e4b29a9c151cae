//! Archives for the kernel's initial RAM file system: cpio in its `newc` form.
//!
//! Written here and not by cpio, so that device nodes need no privileges and the same entries
//! always give the same bytes. Format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Read, Write};

use crate::diagnostic::{Blame, Problem};

const MAGIC: &[u8; 6] = b"070701";
/// The same with a checksum of each file, which is read and not verified.
const MAGIC_CHECKED: &[u8; 6] = b"070702";
const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// The longest name the kernel takes, with its terminating zero.
const NAME_MAX: u32 = 4096;
/// An archive's length is a multiple of this, as cpio's own are.
const BLOCK: u64 = 512;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpioKind {
    /// A folder.
    Directory,
    /// A regular file with its content.
    File(Vec<u8>),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpioEntry {
    /// Its path, relative to the root, without a leading slash.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: CpioKind,
    /// Permission bits, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
}

impl CpioEntry {
    /// An entry of root, of 1970.
    #[must_use]
    pub fn new(name: &str, kind: CpioKind, mode: u32) -> Self {
        Self {
            name: name.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
        }
    }
}

/// An archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// The archive could not be read or written.
    #[error("cannot read or write a cpio archive: {0}")]
    Io(#[from] io::Error),
    /// The kernel would not unpack an entry of that name.
    #[error("'{0}' cannot be the name of a cpio entry")]
    Name(String),
    /// The format has 32-bit lengths.
    #[error("{0} has more than 4 GiB: too much for a cpio archive")]
    TooLong(String),
    /// An entry does not begin as it must.
    #[error("the cpio archive is damaged at byte {0}: no entry begins there")]
    Magic(u64),
    /// A header's number is not hexadecimal.
    #[error("the cpio archive is damaged at byte {0}: its header has a number that is none")]
    Number(u64),
    /// An entry is neither file, folder, link, device nor pipe.
    #[error("'{name}' in the cpio archive has the unknown mode {mode:o}")]
    Mode {
        /// The entry.
        name: String,
        /// Its mode.
        mode: u32,
    },
    /// Its content is longer than the reader was told to accept.
    #[error("'{name}' in the cpio archive has {length} bytes; no more than {limit} are accepted")]
    Limit {
        /// The entry.
        name: String,
        /// What its header says.
        length: u32,
        /// What is accepted.
        limit: u32,
    },
    /// It ends without its last entry.
    #[error("the cpio archive was cut at byte {0}")]
    Cut(u64),
}

impl Problem for CpioError {
    fn code(&self) -> &'static str {
        match self {
            Self::Name(_) | Self::TooLong(_) => "HV2151",
            Self::Io(_) => "HV3021",
            _ => "HV3022",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Name(_) | Self::TooLong(_) => Blame::User,
            Self::Io(_) => Blame::Host,
            _ => Blame::Image,
        }
    }

    fn help(&self) -> Option<String> {
        match self.code() {
            "HV2151" => Some("leave the file out of the initial RAM disk".to_owned()),
            "HV3022" => Some("copy or build the image again".to_owned()),
            _ => None,
        }
    }
}

/// Writes an archive, entry by entry, in the order given: a folder must come before what is in it.
#[derive(Debug)]
pub struct CpioWriter<W> {
    out: W,
    position: u64,
    entries: u32,
}

impl<W: Write> CpioWriter<W> {
    /// An archive written to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            position: 0,
            entries: 0,
        }
    }

    /// Adds an entry. Inode numbers are counted; hard links are not made.
    pub fn append(&mut self, entry: &CpioEntry) -> Result<(), CpioError> {
        let shown = || String::from_utf8_lossy(&entry.name).into_owned();
        let name = &entry.name[..];
        let absolute = name.starts_with(b"/");
        if name.is_empty() || absolute || name == TRAILER || name.contains(&0) || name.len() >= NAME_MAX as usize {
            return Err(CpioError::Name(shown()));
        }
        let (kind, content, device) = match &entry.kind {
            CpioKind::Directory => (0o040_000, &[][..], (0, 0)),
            CpioKind::File(content) => (0o100_000, &content[..], (0, 0)),
            CpioKind::Symlink(target) => (0o120_000, &target[..], (0, 0)),
            CpioKind::CharDevice(major, minor) => (0o020_000, &[][..], (*major, *minor)),
            CpioKind::BlockDevice(major, minor) => (0o060_000, &[][..], (*major, *minor)),
            CpioKind::Fifo => (0o010_000, &[][..], (0, 0)),
        };
        let length = u32::try_from(content.len()).map_err(|_| CpioError::TooLong(shown()))?;
        self.entries += 1;
        let links = if kind == 0o040_000 { 2 } else { 1 };
        let numbers = [
            self.entries,
            kind | entry.mode & 0o7777,
            entry.uid,
            entry.gid,
            links,
            entry.mtime,
            length,
        ];
        self.write_header(numbers, device, name)?;
        self.write(content)?;
        self.pad(4)
    }

    /// Writes the end of the archive, and hands `out` back.
    pub fn finish(mut self) -> Result<W, CpioError> {
        self.write_header([0, 0, 0, 0, 1, 0, 0], (0, 0), TRAILER)?;
        self.pad(BLOCK)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_header(&mut self, numbers: [u32; 7], device: (u32, u32), name: &[u8]) -> Result<(), CpioError> {
        self.write(MAGIC)?;
        let name_length = u32::try_from(name.len() + 1).expect("names are shorter than NAME_MAX");
        // The device the file was on, the device it is, the length of its name, no checksum.
        let rest = [0, 0, device.0, device.1, name_length, 0];
        for number in numbers.into_iter().chain(rest) {
            self.write(format!("{number:08x}").as_bytes())?;
        }
        self.write(name)?;
        self.write(&[0])?;
        self.pad(4)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CpioError> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> Result<(), CpioError> {
        while !self.position.is_multiple_of(to) {
            self.write(&[0])?;
        }
        Ok(())
    }
}

/// Reads an archive that may come from anywhere, up to its end mark.
#[derive(Debug)]
pub struct CpioReader<R> {
    source: R,
    position: u64,
    limit: u32,
    ended: bool,
}

impl<R: Read> CpioReader<R> {
    /// Reads an archive whose files have no more than `limit` bytes each.
    pub fn new(source: R, limit: u32) -> Self {
        Self {
            source,
            position: 0,
            limit,
            ended: false,
        }
    }

    /// The next entry; `None` at the end of the archive.
    fn entry(&mut self) -> Result<Option<CpioEntry>, CpioError> {
        let start = self.position;
        let header = self.take(u32::try_from(HEADER).expect("110"))?;
        if !header.starts_with(MAGIC) && !header.starts_with(MAGIC_CHECKED) {
            return Err(CpioError::Magic(start));
        }
        let mut numbers = [0; 13];
        for (number, digits) in numbers.iter_mut().zip(header[MAGIC.len()..].chunks_exact(8)) {
            *number = hexadecimal(digits).ok_or(CpioError::Number(start))?;
        }
        let [_, mode, uid, gid, _, mtime, length, _, _, major, minor, name_length, _] = numbers;
        if name_length == 0 || name_length > NAME_MAX {
            return Err(CpioError::Number(start));
        }
        let mut name = self.take(name_length)?;
        self.align()?;
        if name.pop() != Some(0) || name.is_empty() || name.contains(&0) {
            return Err(CpioError::Name(String::from_utf8_lossy(&name).into_owned()));
        }
        if name == TRAILER {
            return Ok(None);
        }
        let shown = || String::from_utf8_lossy(&name).into_owned();
        if length > self.limit {
            let (name, limit) = (shown(), self.limit);
            return Err(CpioError::Limit { name, length, limit });
        }
        let content = self.take(length)?;
        self.align()?;
        let kind = match mode & 0o170_000 {
            0o040_000 => CpioKind::Directory,
            0o100_000 => CpioKind::File(content),
            0o120_000 => CpioKind::Symlink(content),
            0o020_000 => CpioKind::CharDevice(major, minor),
            0o060_000 => CpioKind::BlockDevice(major, minor),
            0o010_000 => CpioKind::Fifo,
            _ => return Err(CpioError::Mode { name: shown(), mode }),
        };
        Ok(Some(CpioEntry {
            kind,
            mode: mode & 0o7777,
            uid,
            gid,
            mtime,
            name,
        }))
    }

    /// Reads `length` bytes; memory grows with what is really there.
    fn take(&mut self, length: u32) -> Result<Vec<u8>, CpioError> {
        let mut bytes = Vec::new();
        (&mut self.source).take(length.into()).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        if bytes.len() as u64 == u64::from(length) {
            Ok(bytes)
        } else {
            Err(CpioError::Cut(self.position))
        }
    }

    fn align(&mut self) -> Result<(), CpioError> {
        let over = self.position.next_multiple_of(4) - self.position;
        self.take(u32::try_from(over).expect("below 4")).map(|_| ())
    }
}

impl<R: Read> Iterator for CpioReader<R> {
    type Item = Result<CpioEntry, CpioError>;

    /// The next entry. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry();
        self.ended = !matches!(entry, Ok(Some(_)));
        entry.transpose()
    }
}

/// Eight hexadecimal digits, without a sign.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(number << 4 | value)
    })
}

#[cfg(test)]
mod tests;
