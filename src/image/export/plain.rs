//! Exports that are copies: the VDI file, and the bytes of the disk in it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::ExportError;
use crate::durable::WriteError;
use crate::image::vdi::DiskReader;

/// How much is read at once, and the grain of the holes left in the file.
const CHUNK: usize = 64 * 1024;

/// Copies the file `from` to the new file `to`.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), ExportError> {
    let mut source = File::open(from).map_err(read_error(from))?;
    copy(&mut source, from, to)
}

/// Copies the virtual disk in the VDI `from` to the new file `to`.
pub(super) fn copy_disk(from: &Path, to: &Path) -> Result<(), ExportError> {
    let file = File::open(from).map_err(read_error(from))?;
    let mut disk = DiskReader::open(BufReader::new(file)).map_err(|source| ExportError::Disk {
        path: from.to_owned(),
        source,
    })?;
    copy(&mut disk, from, to)
}

fn read_error(path: &Path) -> impl Fn(io::Error) -> ExportError {
    move |source| ExportError::Read {
        path: path.to_owned(),
        source,
    }
}

/// Copies all of `source` with holes for zeros.
fn copy(source: &mut dyn Read, from: &Path, to: &Path) -> Result<(), ExportError> {
    let failed = |source| {
        ExportError::Write(WriteError {
            path: to.to_owned(),
            source,
        })
    };
    let mut out = File::create_new(to).map_err(failed)?;
    let mut chunk = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let filled = fill(source, &mut chunk).map_err(read_error(from))?;
        let bytes = &chunk[..filled];
        if bytes.iter().any(|&byte| byte != 0) {
            out.seek(SeekFrom::Start(length))
                .and_then(|_| out.write_all(bytes))
                .map_err(failed)?;
        }
        length += filled as u64;
        if filled < CHUNK {
            return out.set_len(length).map_err(failed);
        }
    }
}

/// Reads until `chunk` is full or there is no more.
fn fill(source: &mut dyn Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match source.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
