//! The shared library repository: libraries and data that images link to instead of holding them.

/// Where a guest has the repository mounted, read-only.
///
/// A link in an image leads to `MOUNT_POINT/objects/<first two digits>/<other 62 digits>` of the
/// file's SHA-256, or to `MOUNT_POINT/folders/<digest>` for a folder of data; so any generation
/// that holds the object will do, and what a link names cannot change.
pub const MOUNT_POINT: &str = "/usr/lib/hpcvm/libs";
