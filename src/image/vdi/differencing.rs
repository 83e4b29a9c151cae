//! Writing an empty differencing VDI: what a machine gets that may change a disk which stays as it is.

use std::io::{self, Write};

use super::header::{AREA, Header, NEVER_WRITTEN, Parent, data_offset};
use crate::image::uuid::Uuid;

impl Header {
    /// The header of an empty differencing image of the image that has this one: as large, with no
    /// block, and known as `created`.
    fn child(&self, created: Uuid) -> Self {
        Self {
            comment: format!("hpcvm clone of {}", self.created),
            map_offset: AREA as u64,
            data_offset: data_offset(self.blocks),
            disk_size: self.disk_size,
            blocks: self.blocks,
            allocated: 0,
            created,
            // VirtualBox writes a new one as soon as the machine writes.
            modified: created,
        }
    }
}

/// Writes an empty differencing VDI of the image with the header `parent` to `out`, known as
/// `created`, which no other image may be known as ([`Uuid::random`]).
///
/// It has 512 bytes and 4 for each MiB of the disk, and grows by the blocks that the machine writes
/// to. Only `VirtualBox` reads it: QEMU refuses differencing VDIs. Where the parent is comes from
/// `VirtualBox`'s registry, not from this file.
pub fn write_differencing(parent: &Header, created: Uuid, out: &mut impl Write) -> io::Result<()> {
    let link = Parent {
        created: parent.created,
        modified: parent.modified,
    };
    out.write_all(&parent.child(created).encode(Some(link)))?;
    let chunk = NEVER_WRITTEN.to_le_bytes().repeat(1024);
    let mut left = 4 * parent.blocks as usize;
    while left > 0 {
        let length = left.min(chunk.len());
        out.write_all(&chunk[..length])?;
        left -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::image::vdi::{DiskReader, VdiError, write_fixed};

    /// A disk of eight blocks and its image.
    fn base() -> (Header, Vec<u8>) {
        let mut out = Cursor::new(Vec::new());
        let written = write_fixed(&mut io::repeat(3), 8 << 20, &mut out).unwrap();
        (written.header, out.into_inner())
    }

    /// Every field by its offset (`docs/vdi.md`), against the bytes of the parent's file.
    #[test]
    fn each_byte_is_as_the_format_says() {
        let (header, parent) = base();
        let created = Uuid::random().unwrap();
        let mut file = Vec::new();
        write_differencing(&header, created, &mut file).unwrap();
        assert_eq!(file.len(), 544);
        let comment = format!("hpcvm clone of {}", header.created);
        let mut expected = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8]| expected[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x000, b"<<< hpcvm VirtualBox Disk Image >>>\n");
        put(0x040, &[0x7f, 0x10, 0xda, 0xbe]);
        put(0x044, &[1, 0, 1, 0]);
        put(0x048, &[0x90, 1, 0, 0]);
        put(0x04c, &[4, 0, 0, 0]);
        put(0x054, comment.as_bytes());
        put(0x154, &[0, 2, 0, 0]);
        put(0x158, &[0, 0, 0x10, 0]);
        put(0x168, &[0, 2, 0, 0]);
        put(0x170, &[0, 0, 0x80, 0, 0, 0, 0, 0]);
        put(0x178, &[0, 0, 0x10, 0]);
        put(0x180, &[8, 0, 0, 0]);
        put(0x184, &[0, 0, 0, 0]);
        put(0x188, &created.to_mixed_endian());
        put(0x198, &created.to_mixed_endian());
        put(0x1a8, &parent[0x188..0x198]);
        put(0x1b8, &parent[0x198..0x1a8]);
        put(0x1c8, &[16, 0, 0, 0, 16, 0, 0, 0, 63, 0, 0, 0, 0, 2, 0, 0]);
        expected.extend([0xff; 32]);
        for (at, (found, expected)) in file.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "at {at:#x}");
        }
    }

    #[test]
    fn it_stays_small_for_a_large_disk_and_is_none_to_read_alone() {
        let (mut header, _) = base();
        header.blocks = 10_240;
        header.disk_size = 10 << 30;
        let mut file = Vec::new();
        write_differencing(&header, Uuid::random().unwrap(), &mut file).unwrap();
        assert_eq!(file.len(), 512 + 4 * 10_240);
        assert!(file[512..].iter().all(|&byte| byte == 0xff));
        let alone = DiskReader::open(Cursor::new(file));
        assert!(matches!(alone, Err(VdiError::Type(4))), "{alone:?}");
    }

    #[test]
    fn the_header_alone_is_read_and_checked() {
        let (header, mut file) = base();
        file.truncate(512 + 32);
        assert_eq!(Header::read(&mut Cursor::new(&file)).unwrap(), header);
        let short = Header::read(&mut Cursor::new(&file[..511]));
        assert!(matches!(short, Err(VdiError::Short(511))), "{short:?}");
        file[0x40] = 0;
        assert!(matches!(
            Header::read(&mut Cursor::new(&file)),
            Err(VdiError::Signature(_))
        ));
    }
}
