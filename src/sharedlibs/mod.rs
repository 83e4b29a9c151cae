//! The shared library repository: libraries and data that images link to instead of holding them.
//!
//! ```text
//! REPO/repository.json        {"repository":1,"name":"..."}
//! REPO/objects/<aa>/<62 hex>  the bytes of a file, named by their SHA-256: 0444, time 1 s
//! REPO/folders/<64 hex>/...   a folder of data, named by the SHA-256 of its listing
//! REPO/generations/N.json     what generation N holds; its SHA-256 is the generation's digest
//! REPO/exports/N.squashfs     one generation as one file system image, and a trailer
//! REPO/quarantine/            damaged objects that `verify` took away
//! REPO/incoming/              what a writer is about to put in its place
//! REPO/lock, REPO/lock.holder keep writers apart
//! ```
//!
//! Whatever has a name appears by one rename or link, after it reached the disk, and is never
//! written again: readers need no lock and no right to write. A writer that is killed leaves
//! something in `incoming` at most, which the next one removes.

pub mod addition;
pub mod archive;
pub mod check;
mod error;
pub mod export;
pub mod folder;
pub mod gc;
mod host_tree;
pub mod index;
mod lock;
mod objects;
pub mod provide;
pub mod remove;
pub mod repository;
mod session;
pub mod sources;
pub mod verify;

pub use addition::{Addition, NewFolder, NewLibrary, Provenance};
pub use check::{Damage, Fault, Wanted};
pub use error::LibraryError;
pub use folder::{FolderItem, folder_digest};
pub use index::{Index, IndexEntry, IndexFolder};
pub use repository::Repository;

/// Where a guest has the repository mounted, read-only.
///
/// A link in an image leads to `MOUNT_POINT/objects/<first two digits>/<other 62 digits>` of the
/// file's SHA-256, or to `MOUNT_POINT/folders/<digest>` for a folder of data; so any generation
/// that holds the object will do, and what a link names cannot change.
pub const MOUNT_POINT: &str = "/usr/lib/hpcvm/libs";
