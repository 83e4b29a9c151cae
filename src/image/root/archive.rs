//! A tree as a tar stream.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use tar::{Builder, EntryType, Header};

use super::RootError;
use crate::rootfs::tree::{Content, Entry, Kind, Tree, TreePath};

/// Writes `tree` to `out` as a tar archive in GNU format, which holds names of any bytes and
/// length and owners of 32 bits. The same tree gives the same bytes.
///
/// Entries come in the tree's order, hard links after everything else because they must follow
/// what they name. The root folder itself is left out: mksquashfs does not take it.
pub fn write_tar(tree: &Tree, out: &mut dyn Write) -> Result<(), RootError> {
    let mut archive = Builder::new(out);
    let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
    let entries = || tree.iter().filter(|(path, _)| !path.as_bytes().is_empty());
    let first = entries().filter(|(_, entry)| !is_link(entry));
    let links = entries().filter(|(_, entry)| is_link(entry));
    for (path, entry) in first.chain(links) {
        append(&mut archive, path, entry)?;
    }
    archive.finish().map_err(RootError::Archive)
}

fn append(archive: &mut Builder<&mut dyn Write>, path: &TreePath, entry: &Entry) -> Result<(), RootError> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_mtime(entry.mtime);
    header.set_size(entry.length());
    header.set_entry_type(match entry.kind {
        Kind::Directory => EntryType::Directory,
        Kind::File(_) => EntryType::Regular,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::HardLink(_) => EntryType::Link,
        Kind::CharDevice(..) => EntryType::Char,
        Kind::BlockDevice(..) => EntryType::Block,
        Kind::Fifo => EntryType::Fifo,
    });
    let name = std::ffi::OsStr::from_bytes(path.as_bytes());
    let result = match &entry.kind {
        Kind::File(content) => return append_file(archive, header, path, content),
        Kind::Symlink(target) => archive.append_link(&mut header, name, std::ffi::OsStr::from_bytes(target)),
        Kind::HardLink(target) => {
            archive.append_link(&mut header, name, std::ffi::OsStr::from_bytes(target.as_bytes()))
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => header
            .set_device_major(*major)
            .and_then(|()| header.set_device_minor(*minor))
            .and_then(|()| archive.append_data(&mut header, name, io::empty())),
        Kind::Directory | Kind::Fifo => archive.append_data(&mut header, name, io::empty()),
    };
    result.map_err(RootError::Archive)
}

fn append_file(
    archive: &mut Builder<&mut dyn Write>,
    mut header: Header,
    path: &TreePath,
    content: &Content,
) -> Result<(), RootError> {
    let content_error = |source| RootError::Content {
        path: path.clone(),
        source,
    };
    let mut reader = Exact {
        reader: content.open().map_err(content_error)?,
        left: content.length,
        failure: None,
    };
    let name = std::ffi::OsStr::from_bytes(path.as_bytes());
    let appended = archive.append_data(&mut header, name, &mut reader);
    match reader.failure {
        Some(source) => Err(content_error(source)),
        None => appended.map_err(RootError::Archive),
    }
}

/// Reads exactly as many bytes as were promised, and remembers when it could not: the archive's
/// own error does not tell a failing source from a failing target.
struct Exact<R> {
    reader: R,
    left: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self.reader.read(buffer) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result,
        };
        match result {
            Ok(length) => {
                self.left = self.left.saturating_sub(length as u64);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}
