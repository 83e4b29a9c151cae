//! What the launcher needs to know of an image.

use std::path::PathBuf;

use crate::architecture::Architecture;
use crate::image::{DISK_FILE, FULL_INITRD_FILE, INITRD_FILE, KERNEL_FILE, StoredImage};
use crate::recipe::{Init, Initrd, RootKind};

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
    /// The initial RAM disk with the drivers of every machine and of scratch disks.
    pub full_initrd: PathBuf,
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

impl From<&StoredImage> for BootImage {
    fn from(image: &StoredImage) -> Self {
        let manifest = &image.manifest;
        Self {
            name: manifest.name.clone(),
            architecture: manifest.architecture,
            disk: image.path(DISK_FILE),
            kernel: image.path(KERNEL_FILE),
            initrd: image.path(INITRD_FILE),
            full_initrd: image.path(FULL_INITRD_FILE),
            command_line: manifest.kernel.command_line.clone(),
            root: manifest.root.kind,
            root_part: (manifest.disk.root.offset, manifest.disk.root.length),
            init: manifest.init,
            direct: manifest.kernel.initrd == Initrd::Hpcvm,
        }
    }
}
