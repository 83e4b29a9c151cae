//! Writing a fixed VDI in one pass.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::header::{AREA, BLOCK, Header, MAX_BLOCKS, data_offset};
use crate::digest::{Digest, Hasher};
use crate::image::uuid::Uuid;

/// How much is read at once, and the grain of the holes left in the file.
const CHUNK: usize = 64 * 1024;
/// A chunk of zeros to compare with.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A VDI could not be written.
#[derive(Debug, thiserror::Error)]
pub enum VdiWriteError {
    /// A disk has a positive number of whole sectors, and a VDI no more than 512 TiB.
    #[error("a VDI cannot hold a disk of {0} bytes")]
    Size(u64),
    /// The disk's bytes could not be read.
    #[error("cannot read the disk's content: {0}")]
    Read(io::Error),
    /// The image could not be written.
    #[error("cannot write the VDI: {0}")]
    Write(io::Error),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The header.
    pub header: Header,
    /// Digest of the virtual disk's bytes.
    pub disk: Digest,
    /// Bytes of the file.
    pub length: u64,
}

/// Writes the first `disk_size` bytes of `disk` as a fixed VDI to `out`, from its start.
///
/// Zeros are skipped by seeking, so `out` must be empty before; a file then has holes for them.
/// The header comes last, because the UUIDs in it derive from the content: what was cut short
/// is no VDI.
pub fn write_fixed(
    disk: &mut dyn Read,
    disk_size: u64,
    out: &mut (impl Write + Seek),
) -> Result<Written, VdiWriteError> {
    let blocks = u32::try_from(disk_size.div_ceil(BLOCK))
        .ok()
        .filter(|&blocks| (1..=MAX_BLOCKS).contains(&blocks) && disk_size.is_multiple_of(512))
        .ok_or(VdiWriteError::Size(disk_size))?;
    let data_offset = data_offset(blocks);
    let length = data_offset + u64::from(blocks) * BLOCK;
    let digest = copy_sparsely(disk, disk_size, out, data_offset)?;
    let header = Header {
        comment: format!("hpcvm disk sha256:{digest}"),
        map_offset: AREA as u64,
        data_offset,
        disk_size,
        blocks,
        allocated: blocks,
        created: Uuid::derive("vdi-create", &digest),
        modified: Uuid::derive("vdi-modify", &digest),
    };
    finish(out, &header, length).map_err(VdiWriteError::Write)?;
    Ok(Written {
        header,
        disk: digest,
        length,
    })
}

/// Copies `size` bytes to `out` from `offset` on, without writing chunks of zeros.
fn copy_sparsely(
    disk: &mut dyn Read,
    size: u64,
    out: &mut (impl Write + Seek),
    offset: u64,
) -> Result<Digest, VdiWriteError> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    let mut at = None;
    while done < size {
        let length = usize::try_from(size - done).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = &mut chunk[..length];
        disk.read_exact(chunk).map_err(VdiWriteError::Read)?;
        hasher.write_all(chunk).expect("a hasher takes everything");
        if *chunk != ZEROS[..length] {
            if at != Some(done) {
                out.seek(SeekFrom::Start(offset + done)).map_err(VdiWriteError::Write)?;
            }
            out.write_all(chunk).map_err(VdiWriteError::Write)?;
            at = Some(done + length as u64);
        }
        done += length as u64;
    }
    Ok(hasher.finish())
}

/// Gives the file its length, and its map and header.
fn finish(out: &mut (impl Write + Seek), header: &Header, length: u64) -> io::Result<()> {
    if out.seek(SeekFrom::End(0))? < length {
        out.seek(SeekFrom::Start(length - 1))?;
        out.write_all(&[0])?;
    }
    out.seek(SeekFrom::Start(header.map_offset))?;
    for block in 0..header.blocks {
        out.write_all(&block.to_le_bytes())?;
    }
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header.encode(None))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::units::MIB;

    #[test]
    fn sizes_that_no_disk_has_are_refused() {
        for size in [0, 511, MIB + 1, (1 << 49) + MIB] {
            let written = write_fixed(&mut io::repeat(0), size, &mut Cursor::new(Vec::new()));
            assert!(matches!(written, Err(VdiWriteError::Size(s)) if s == size), "{size}");
        }
    }

    #[test]
    fn a_short_source_leaves_no_vdi() {
        let mut out = Cursor::new(Vec::new());
        let result = write_fixed(&mut &[1; 1000][..], 1024, &mut out);
        assert!(matches!(result, Err(VdiWriteError::Read(_))));
        assert!(out.into_inner().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn zeros_become_holes() {
        use std::os::unix::fs::MetadataExt;
        let mut file = tempfile::tempfile().unwrap();
        let mut disk = vec![0; 8 << 20];
        disk[3 << 20] = 1;
        let written = write_fixed(&mut &disk[..], 8 * MIB, &mut file).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), written.length);
        assert!(
            metadata.blocks() * 512 < MIB,
            "{} sectors on the host",
            metadata.blocks()
        );
    }
}
