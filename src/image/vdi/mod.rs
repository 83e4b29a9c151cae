//! `VirtualBox` disk images (VDI), the fixed type, written and read. See `docs/vdi.md`.
//!
//! A fixed VDI is a header, a block map that says "block i is at place i", and the disk's bytes
//! from a 1 MiB boundary on. So one file is a VDI to `VirtualBox` and, from that offset on, a raw
//! disk to QEMU, whose VDI driver cannot save a machine's state.

mod error;
mod header;
mod read;
mod write;

pub use error::VdiError;
pub use header::{BLOCK, Header, MAX_BLOCKS, data_offset};
pub use read::DiskReader;
pub use write::{VdiWriteError, Written, write_fixed};
