//! The formats an image is exported in.

use std::fmt;

/// A file format for virtual disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// `VirtualBox`'s disk, of the fixed type, with holes: the very file of the store
    Vdi,
    /// QEMU's disk
    Qcow2,
    /// The disk's bytes and nothing else, with holes
    Raw,
    /// `VMware`'s disk, compressed (streamOptimized)
    Vmdk,
    /// A machine for `VirtualBox` and `VMware` to import: a tar archive of its description, disk and digests
    Ova,
}

impl ExportFormat {
    /// What file names end with, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Vdi => "vdi",
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
            Self::Ova => "ova",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}
