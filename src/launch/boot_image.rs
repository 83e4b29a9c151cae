//! What the launcher needs to know of an image.

use std::path::PathBuf;

use crate::architecture::Architecture;
use crate::recipe::{Init, RootKind};

/// An image's files, and where things stand in them.
#[derive(Clone, Debug)]
pub struct BootImage {
    /// The image's name, for messages.
    pub name: String,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The disk image.
    pub disk: PathBuf,
    /// The kernel for a direct start.
    pub kernel: PathBuf,
    /// The initial RAM disk for a direct start.
    pub initrd: PathBuf,
    /// The kernel's command line, without the root device.
    pub command_line: String,
    /// The kind of root file system.
    pub root: RootKind,
    /// Where the root file system stands in the disk image file: offset and length in bytes.
    pub root_part: (u64, u64),
    /// What runs as process 1.
    pub init: Init,
    /// Whether hpcvm's own initial RAM disk starts it (a direct start needs that).
    pub direct: bool,
}
