//! Bootable disk images: file systems, partitions, and the VDI that holds them.

pub mod boot;
pub mod disk;
pub mod geometry;
pub mod partition;
pub mod root;
pub mod uuid;
pub mod vdi;
