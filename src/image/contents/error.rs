//! Why an image's files cannot be looked at.

use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::image::manifest::ManifestError;

/// An image's files cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The list of its files cannot be used.
    #[error(transparent)]
    List(#[from] ManifestError),
    /// Its root file system cannot be read.
    #[error("the root file system in {} cannot be read: {why}", path.display())]
    Unreadable {
        /// The disk image.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Problem for ContentsError {
    fn code(&self) -> &'static str {
        match self {
            Self::List(error) => error.code(),
            Self::Unreadable { .. } => "HV4421",
        }
    }

    fn blame(&self) -> Blame {
        Blame::Image
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::List(error) => error.help(),
            Self::Unreadable { .. } => {
                Some("see what is wrong with `hpcvm image verify`, or build it again".to_owned())
            }
        }
    }
}
