//! Bootable disk images: file systems, partitions and the VDI that holds them; what is known of
//! an image, and where images are kept.

pub mod boot;
pub mod contents;
pub mod disk;
pub mod export;
pub mod file_list;
pub mod garbage;
pub mod geometry;
pub mod hold;
pub mod library_list;
mod linked_libraries;
pub mod manifest;
pub mod partition;
mod reference;
pub mod root;
mod staging;
mod store;
pub mod uuid;
pub mod vdi;
pub mod verify;

pub use manifest::{Manifest, ManifestError};
pub use staging::Staging;
pub use store::{DISK_FILE, FULL_INITRD_FILE, INITRD_FILE, KERNEL_FILE, Store, StoreError, StoredImage};

#[cfg(test)]
pub(crate) use store::tests as store_tests;
