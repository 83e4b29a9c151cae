//! `VirtualBox` disk images (VDI): the fixed type, written and read, and the differencing type, written. See `docs/vdi.md`.
//!
//! A fixed VDI is a header, a block map that says "block i is at place i", and the disk's bytes
//! from a 1 MiB boundary on. So one file is a VDI to `VirtualBox` and, from that offset on, a raw
//! disk to QEMU, whose VDI driver cannot save a machine's state.

mod differencing;
mod error;
mod header;
mod read;
mod write;

pub use differencing::write_differencing;
pub use error::VdiError;
pub use header::{BLOCK, Header, MAX_BLOCKS, Parent, data_offset};
pub use read::DiskReader;
pub use write::{VdiWriteError, Written, write_fixed};
