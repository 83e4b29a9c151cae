//! What can be wrong with a VDI file.

use std::io;

use crate::diagnostic::{Blame, Problem};

/// A file is not a VDI that can be read.
#[derive(Debug, thiserror::Error)]
pub enum VdiError {
    /// The operating system did not read it.
    #[error("cannot read the disk image: {0}")]
    Read(#[from] io::Error),
    /// It is shorter than a header.
    #[error("the disk image ends after {0} bytes, within its header")]
    Short(u64),
    /// It does not begin like a VDI.
    #[error("this is no VDI: signature {0:#010x}, expected 0xbeda107f")]
    Signature(u32),
    /// Another version than 1.1, the only one QEMU reads.
    #[error("VDI version {major}.{minor} is not supported, only 1.1 is")]
    Version {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A header too short to hold the fields it must hold.
    #[error("the VDI header says it has {0} bytes; it needs 384")]
    HeaderSize(u32),
    /// Neither dynamic nor fixed.
    #[error("VDI type {0} is not supported, only dynamic (1) and fixed (2) are")]
    Type(u32),
    /// A differencing image: its content depends on another file.
    #[error("this VDI is a differencing image of another one")]
    Child,
    /// Another sector size than 512.
    #[error("VDI sectors of {0} bytes are not supported, only 512 are")]
    SectorSize(u32),
    /// Another block size than 1 MiB, the only one QEMU reads.
    #[error("VDI blocks of {block} bytes with {extra} before each are not supported, only 1048576 with 0 are")]
    BlockSize {
        /// Bytes of a block.
        block: u32,
        /// Bytes before each block.
        extra: u32,
    },
    /// No block at all.
    #[error("the VDI header says the disk has no blocks")]
    NoBlocks,
    /// The disk is empty, larger than its blocks, or ends within a sector.
    #[error("the VDI header says the disk has {size} bytes; its blocks hold {room}")]
    DiskSize {
        /// Bytes of the disk.
        size: u64,
        /// Bytes of all blocks.
        room: u64,
    },
    /// Header, map and data overlap, or do not begin at sectors.
    #[error("the VDI's map of {blocks} blocks at {map} and its data at {data} overlap or are not aligned")]
    Offsets {
        /// Where the map begins.
        map: u64,
        /// Where the data begins.
        data: u64,
        /// Blocks of the map.
        blocks: u32,
    },
    /// The file ends within the map.
    #[error("the VDI's block map ends at {map_end}, but the file at {length}")]
    MapPastEnd {
        /// Where the map ends.
        map_end: u64,
        /// Where the file ends.
        length: u64,
    },
    /// A block is said to be where no block can be.
    #[error("the VDI's map puts block {block} at place {place} of {blocks}")]
    PastBlocks {
        /// Block of the disk.
        block: u32,
        /// Place in the file, in blocks.
        place: u32,
        /// Blocks of the disk.
        blocks: u32,
    },
    /// A block lies past the end of the file: the file was cut.
    #[error("block {block} of the VDI lies past the end of the file at {length}: the file was cut")]
    PastEnd {
        /// Block of the disk.
        block: u32,
        /// Where the file ends.
        length: u64,
    },
    /// Two blocks of the disk share one place.
    #[error("the VDI's map puts block {block} at place {place}, where another block is")]
    Shared {
        /// The second block of the two.
        block: u32,
        /// Place in the file, in blocks.
        place: u32,
    },
    /// Header and map do not agree how many blocks the file holds.
    #[error("the VDI header counts {header} blocks in the file, its map {map}")]
    Allocated {
        /// What the header says.
        header: u32,
        /// What the map says.
        map: u32,
    },
    /// `VirtualBox` knows disks by their UUIDs and refuses nil ones.
    #[error("the VDI has a nil UUID, which VirtualBox refuses")]
    NilUuid,
}

impl Problem for VdiError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "HV3001",
            Self::Short(_) | Self::Signature(_) => "HV3002",
            Self::Version { .. } | Self::Type(_) | Self::Child | Self::SectorSize(_) | Self::BlockSize { .. } => {
                "HV3003"
            }
            _ => "HV3004",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Read(_) => Blame::Host,
            _ => Blame::Image,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self.code() {
            "HV3001" => return None,
            "HV3002" => "check that the file is the image's VDI and was copied whole".to_owned(),
            "HV3003" => "convert it first: qemu-img convert -O vdi for a single disk, VBoxManage clonemedium for a \
                 differencing one"
                .to_owned(),
            _ => "copy or build the image again".to_owned(),
        })
    }
}
