//! What can go wrong while scanning, as far as it ends the scan.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};

/// A scan could not be done. That one file is damaged does not end a scan: see
/// [`Fault`](super::object::Fault).
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Nothing stands at a path that was asked for.
    #[error("{} is not there", path.display())]
    Absent {
        /// The path, as seen inside the root.
        path: PathBuf,
    },
    /// A folder or file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The path, as seen inside the root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A root is neither a folder nor a file.
    #[error("{} is neither a folder nor a tar archive", path.display())]
    NoRoot {
        /// The path on the host.
        path: PathBuf,
    },
    /// Nothing that was scanned needs this library.
    #[error("nothing here needs {name}")]
    NotNeeded {
        /// The soname or path that was asked for.
        name: String,
    },
}

impl Problem for ElfError {
    fn code(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "HV2401",
            Self::Unreadable { .. } => "HV2402",
            Self::NoRoot { .. } => "HV2403",
            Self::NotNeeded { .. } => "HV2404",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Absent { .. } | Self::NoRoot { .. } | Self::NotNeeded { .. } => Blame::User,
            Self::Unreadable { .. } => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Absent { .. } => "name it as it is called inside the root, from `/`".into(),
            Self::Unreadable { .. } => "see that you may read it".into(),
            Self::NoRoot { .. } => "name a folder or an uncompressed tar archive with --root".into(),
            Self::NotNeeded { .. } => "run `hpcvm scan` without --why to see all libraries".into(),
        })
    }
}
