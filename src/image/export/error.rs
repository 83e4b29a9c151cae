//! Why there is no export.

use std::io;
use std::path::PathBuf;

use super::super::ManifestError;
use super::super::vdi::VdiError;
use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::exec::ExecError;

/// An image could not be exported. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The image's disk, or what was made of it, could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The image's disk is no VDI that can be read.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VdiError,
    },
    /// The file to write is a folder.
    #[error("{} is a folder", .0.display())]
    Folder(PathBuf),
    /// qemu-img(1) made something else than a VMDK with a description.
    #[error("qemu-img made a VMDK that is not laid out as expected: {0}")]
    Vmdk(&'static str),
    /// Larger than an entry of a tar archive without extensions.
    #[error("the compressed disk has {0} bytes; an OVA takes less than 8589934592")]
    TooLarge(u64),
    /// The image is not what its manifest says.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A program could not be started, or failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for ExportError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "HV2801",
            Self::Folder(_) => "HV2802",
            Self::Vmdk(_) => "HV2803",
            Self::TooLarge(_) => "HV2804",
            Self::Disk { source, .. } => source.code(),
            Self::Manifest(error) => error.code(),
            Self::Exec(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Vmdk(_) => Blame::Host,
            Self::Folder(_) | Self::TooLarge(_) => Blame::User,
            Self::Disk { source, .. } => source.blame(),
            Self::Manifest(error) => error.blame(),
            Self::Exec(error) => error.blame(),
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Folder(path) => Some(format!("name a file in it: --output {}", path.join("FILE").display())),
            Self::Vmdk(_) => Some("choose another format, and report it with the version of qemu-img".to_owned()),
            Self::TooLarge(_) => Some("choose --format vmdk, which has no such limit".to_owned()),
            Self::Disk { source, .. } => source.help(),
            Self::Manifest(error) => error.help(),
            Self::Exec(error) => error.help(),
            Self::Write(error) => error.help(),
        }
    }
}
