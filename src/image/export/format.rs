//! The formats an image is exported in.

use std::fmt;

/// A file format for virtual disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// `VirtualBox`'s disk, as the store has it.
    #[value(help = "VirtualBox's disk of the fixed type, as the store has it, with holes")]
    Vdi,
    /// QEMU's disk.
    #[value(help = "QEMU's disk")]
    Qcow2,
    /// The disk's bytes and nothing else.
    #[value(help = "The disk's bytes and nothing else, with holes")]
    Raw,
    /// `VMware`'s disk of the kind streamOptimized.
    #[value(help = "VMware's disk, compressed (streamOptimized)")]
    Vmdk,
    /// A machine to import: a tar archive of its description, disk and digests.
    #[value(help = "A machine to import: a tar archive of its description, its disk (vmdk) and their digests")]
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
