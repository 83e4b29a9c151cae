//! Disk images: what they are made of, what is known of them, where they are kept.

pub mod file_list;
pub mod manifest;
mod reference;
mod staging;
mod store;
pub mod verify;

pub use manifest::{Manifest, ManifestError};
pub use staging::Staging;
pub use store::{DISK_FILE, INITRD_FILE, KERNEL_FILE, Store, StoreError, StoredImage};
