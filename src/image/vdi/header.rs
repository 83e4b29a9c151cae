//! The header of a VDI file, field by field. Numbers are little-endian; offsets are from the
//! start of the file. Measured on files of `VBoxManage` and `qemu-img`; see `docs/vdi.md`.

use std::io::{Read, Seek, SeekFrom};

use super::VdiError;
use crate::image::geometry::Geometry;
use crate::image::uuid::Uuid;
use crate::units::MIB;

/// Bytes of a block: the only size that QEMU reads.
pub const BLOCK: u64 = MIB;

/// The most blocks written: 512 TiB. The header's 32-bit data offset ends the map below 4 GiB.
pub const MAX_BLOCKS: u32 = 1 << 29;

/// Map entry of a block that reads as zeros because it was never written.
pub(super) const NEVER_WRITTEN: u32 = 0xffff_ffff;
/// Map entry of a block that reads as zeros because zeros were written.
pub(super) const NOTHING_HERE: u32 = 0xffff_fffe;

/// Bytes that hold the header and its padding; the block map may begin here.
pub(super) const AREA: usize = 512;

const SIGNATURE: u32 = 0xbeda_107f;
const VERSION: u32 = 0x0001_0001;
/// Where the counted part of the header begins.
const COUNTED_FROM: u32 = 0x48;
/// Version 1.1 with the logical geometry at its end.
const HEADER_SIZE: u32 = 400;
/// The shortest header `VirtualBox` accepts: without the logical geometry.
const HEADER_SIZE_MIN: u32 = 384;
const SECTOR: u32 = 512;
const DYNAMIC: u32 = 1;
const FIXED: u32 = 2;
const DIFFERENCING: u32 = 4;
const TEXT: &[u8] = b"<<< hpcvm VirtualBox Disk Image >>>\n";

/// Where a 32-bit number stands.
#[derive(Clone, Copy)]
struct Number(usize);

impl Number {
    fn get(self, area: &[u8; AREA]) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&area[self.0..self.0 + 4]);
        u32::from_le_bytes(bytes)
    }

    fn put(self, area: &mut [u8; AREA], value: u32) {
        area[self.0..self.0 + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// Where a UUID stands.
#[derive(Clone, Copy)]
struct Identity(usize);

impl Identity {
    fn get(self, area: &[u8; AREA]) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&area[self.0..self.0 + 16]);
        Uuid::from_mixed_endian(bytes)
    }

    fn put(self, area: &mut [u8; AREA], value: Uuid) {
        area[self.0..self.0 + 16].copy_from_slice(&value.to_mixed_endian());
    }
}

/// The layout. What is not named is zero: flags (0x50), the legacy geometry's cylinders, heads and
/// sectors (0x15c to 0x167), the old translation (0x16c).
mod at {
    use super::{Identity, Number};

    pub(super) const SIGNATURE: Number = Number(0x40);
    pub(super) const VERSION: Number = Number(0x44);
    pub(super) const HEADER_SIZE: Number = Number(0x48);
    pub(super) const TYPE: Number = Number(0x4c);
    pub(super) const COMMENT: std::ops::Range<usize> = 0x54..0x154;
    pub(super) const MAP_OFFSET: Number = Number(0x154);
    pub(super) const DATA_OFFSET: Number = Number(0x158);
    pub(super) const SECTOR: Number = Number(0x168);
    pub(super) const DISK_SIZE_LOW: Number = Number(0x170);
    pub(super) const DISK_SIZE_HIGH: Number = Number(0x174);
    pub(super) const BLOCK_SIZE: Number = Number(0x178);
    pub(super) const BLOCK_EXTRA: Number = Number(0x17c);
    pub(super) const BLOCKS: Number = Number(0x180);
    pub(super) const ALLOCATED: Number = Number(0x184);
    pub(super) const CREATED: Identity = Identity(0x188);
    pub(super) const MODIFIED: Identity = Identity(0x198);
    pub(super) const LINKAGE: Identity = Identity(0x1a8);
    pub(super) const LINKAGE_MODIFIED: Identity = Identity(0x1b8);
    pub(super) const LOGICAL_CYLINDERS: Number = Number(0x1c8);
    pub(super) const LOGICAL_HEADS: Number = Number(0x1cc);
    pub(super) const LOGICAL_SECTORS: Number = Number(0x1d0);
    pub(super) const LOGICAL_SECTOR: Number = Number(0x1d4);
}

/// What a checked header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The text that whoever made the file left in it; bytes that are not UTF-8 are replaced.
    pub comment: String,
    /// Where the block map begins, in bytes.
    pub map_offset: u64,
    /// Where the first block begins, in bytes.
    pub data_offset: u64,
    /// Bytes of the virtual disk.
    pub disk_size: u64,
    /// Blocks of the virtual disk.
    pub blocks: u32,
    /// Blocks that the file holds.
    pub allocated: u32,
    /// The identity `VirtualBox` knows the disk by.
    pub created: Uuid,
    /// Changes whenever a machine wrote to the disk.
    pub modified: Uuid,
}

/// How a differencing image knows the image that it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's identity.
    pub created: Uuid,
    /// The state of the parent that the changes apply to. `VirtualBox` does not check it.
    pub modified: Uuid,
}

/// Where the data of a VDI of `blocks` blocks begins: the first 1 MiB boundary after a block map
/// that follows the header at once. That is 1 MiB up to a disk of 255.9 GiB.
#[must_use]
pub const fn data_offset(blocks: u32) -> u64 {
    (AREA as u64 + 4 * blocks as u64).next_multiple_of(MIB)
}

impl Header {
    /// Reads and checks the header of a fixed or dynamic image, and not its map.
    pub fn read(source: &mut (impl Read + Seek)) -> Result<Self, VdiError> {
        let length = source.seek(SeekFrom::End(0))?;
        if length < AREA as u64 {
            return Err(VdiError::Short(length));
        }
        let mut area = [0; AREA];
        source.seek(SeekFrom::Start(0))?;
        source.read_exact(&mut area)?;
        Self::decode(&area, length)
    }

    /// The bytes of the header of a fixed image, or of a differencing one where there is a `parent`.
    pub(super) fn encode(&self, parent: Option<Parent>) -> [u8; AREA] {
        let mut area = [0; AREA];
        area[..TEXT.len()].copy_from_slice(TEXT);
        // One byte stays zero: VirtualBox reads the comment as a C string.
        let comment = &self.comment.as_bytes()[..self.comment.len().min(at::COMMENT.len() - 1)];
        area[at::COMMENT][..comment.len()].copy_from_slice(comment);
        let offset = |value: u64| u32::try_from(value).expect("MAX_BLOCKS keeps the map below 4 GiB");
        let geometry = Geometry::of_disk(self.disk_size / u64::from(SECTOR));
        let size = self.disk_size.to_le_bytes();
        let half = |from: usize| u32::from_le_bytes([size[from], size[from + 1], size[from + 2], size[from + 3]]);
        for (field, value) in [
            (at::SIGNATURE, SIGNATURE),
            (at::VERSION, VERSION),
            (at::HEADER_SIZE, HEADER_SIZE),
            (at::TYPE, if parent.is_some() { DIFFERENCING } else { FIXED }),
            (at::MAP_OFFSET, offset(self.map_offset)),
            (at::DATA_OFFSET, offset(self.data_offset)),
            (at::SECTOR, SECTOR),
            (at::DISK_SIZE_LOW, half(0)),
            (at::DISK_SIZE_HIGH, half(4)),
            (at::BLOCK_SIZE, offset(BLOCK)),
            (at::BLOCKS, self.blocks),
            (at::ALLOCATED, self.allocated),
            (at::LOGICAL_CYLINDERS, geometry.cylinders),
            (at::LOGICAL_HEADS, geometry.heads),
            (at::LOGICAL_SECTORS, geometry.sectors),
            (at::LOGICAL_SECTOR, SECTOR),
        ] {
            field.put(&mut area, value);
        }
        at::CREATED.put(&mut area, self.created);
        at::MODIFIED.put(&mut area, self.modified);
        if let Some(parent) = parent {
            at::LINKAGE.put(&mut area, parent.created);
            at::LINKAGE_MODIFIED.put(&mut area, parent.modified);
        }
        area
    }

    /// Reads and checks a header of a fixed or dynamic image in a file of `file_length` bytes.
    /// What it says is then true of any file of that length, except for the map's entries.
    pub(super) fn decode(area: &[u8; AREA], file_length: u64) -> Result<Self, VdiError> {
        check_kind(area)?;
        let comment = &area[at::COMMENT];
        let end = comment.iter().position(|&byte| byte == 0).unwrap_or(comment.len());
        let header = Self {
            comment: String::from_utf8_lossy(&comment[..end]).into_owned(),
            map_offset: at::MAP_OFFSET.get(area).into(),
            data_offset: at::DATA_OFFSET.get(area).into(),
            disk_size: u64::from(at::DISK_SIZE_HIGH.get(area)) << 32 | u64::from(at::DISK_SIZE_LOW.get(area)),
            blocks: at::BLOCKS.get(area),
            allocated: at::ALLOCATED.get(area),
            created: at::CREATED.get(area),
            modified: at::MODIFIED.get(area),
        };
        header.check_sizes(u64::from(at::HEADER_SIZE.get(area)), file_length)?;
        if header.created.is_nil() || header.modified.is_nil() {
            return Err(VdiError::NilUuid);
        }
        if !at::LINKAGE.get(area).is_nil() {
            return Err(VdiError::Child);
        }
        Ok(header)
    }

    fn check_sizes(&self, header_size: u64, file_length: u64) -> Result<(), VdiError> {
        if self.blocks == 0 {
            return Err(VdiError::NoBlocks);
        }
        let room = u64::from(self.blocks) * BLOCK;
        if self.disk_size == 0 || self.disk_size > room || !self.disk_size.is_multiple_of(u64::from(SECTOR)) {
            return Err(VdiError::DiskSize {
                size: self.disk_size,
                room,
            });
        }
        let map_end = self.map_offset + 4 * u64::from(self.blocks);
        let aligned = |offset: u64| offset.is_multiple_of(u64::from(SECTOR));
        if self.map_offset < u64::from(COUNTED_FROM) + header_size
            || map_end > self.data_offset
            || !aligned(self.map_offset)
            || !aligned(self.data_offset)
        {
            return Err(VdiError::Offsets {
                map: self.map_offset,
                data: self.data_offset,
                blocks: self.blocks,
            });
        }
        if map_end > file_length {
            return Err(VdiError::MapPastEnd {
                map_end,
                length: file_length,
            });
        }
        if self.allocated > self.blocks {
            return Err(VdiError::Allocated {
                header: self.allocated,
                map: self.blocks,
            });
        }
        Ok(())
    }
}

/// Whether this is a VDI, and of the kind that stands alone and that QEMU can read.
fn check_kind(area: &[u8; AREA]) -> Result<(), VdiError> {
    let signature = at::SIGNATURE.get(area);
    if signature != SIGNATURE {
        return Err(VdiError::Signature(signature));
    }
    let version = at::VERSION.get(area);
    if version != VERSION {
        return Err(VdiError::Version {
            major: version >> 16,
            minor: version & 0xffff,
        });
    }
    let header_size = at::HEADER_SIZE.get(area);
    if header_size < HEADER_SIZE_MIN {
        return Err(VdiError::HeaderSize(header_size));
    }
    let kind = at::TYPE.get(area);
    if kind != DYNAMIC && kind != FIXED {
        return Err(VdiError::Type(kind));
    }
    let sector = at::SECTOR.get(area);
    if sector != SECTOR {
        return Err(VdiError::SectorSize(sector));
    }
    let (block, extra) = (at::BLOCK_SIZE.get(area), at::BLOCK_EXTRA.get(area));
    if u64::from(block) != BLOCK || extra != 0 {
        return Err(VdiError::BlockSize { block, extra });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_begins_at_the_first_mebibyte_that_the_map_leaves_free() {
        for (blocks, mebibytes) in [(1, 1), (262_016, 1), (262_017, 2), (MAX_BLOCKS, 2_049)] {
            assert_eq!(data_offset(blocks), mebibytes * MIB, "{blocks}");
        }
    }
}
