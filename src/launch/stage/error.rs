//! Why an image could not be brought to the node.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::image::StoreError;

/// Staging failed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The cache's folder or a file in it cannot be used.
    #[error("cannot use the node cache at {}: {source}", path.display())]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Someone else could write to the cache's folder.
    #[error("{} cannot be the node cache: {why}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk is full, even without what nobody uses.
    #[error("the node cache at {} has no room for the {} bytes of the image", path.display(), needed)]
    Full {
        /// The folder.
        path: PathBuf,
        /// What the image needs.
        needed: u64,
    },
    /// A file of the image in the store is not what the manifest says.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the image in the store cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What was copied cannot be used.
    #[error(transparent)]
    Image(#[from] StoreError),
    /// The record of where the cache is cannot be written.
    #[error(transparent)]
    Record(#[from] WriteError),
}

impl StageError {
    /// Whether the image can still be used where the store has it.
    #[must_use]
    pub fn concerns_the_cache_only(&self) -> bool {
        matches!(
            self,
            Self::Cache { .. } | Self::Foreign { .. } | Self::Full { .. } | Self::Record(_)
        )
    }
}

impl Problem for StageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Cache { .. } => "HV4501",
            Self::Foreign { .. } => "HV4502",
            Self::Full { .. } => "HV4503",
            Self::Damaged { .. } => "HV4504",
            Self::Source { .. } => "HV4505",
            Self::Image(error) => error.code(),
            Self::Record(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Cache { .. } | Self::Foreign { .. } | Self::Full { .. } | Self::Source { .. } => Blame::Host,
            Self::Damaged { .. } => Blame::Image,
            Self::Image(error) => error.blame(),
            Self::Record(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Cache { .. } | Self::Foreign { .. } => {
                "name a folder of your own on the node's disk with --node-cache, or use the store itself with \
                 --stage never"
                    .to_owned()
            }
            Self::Full { .. } => {
                "free some space there, name another folder with --node-cache, or use the store itself with \
                 --stage never"
                    .to_owned()
            }
            Self::Damaged { .. } => {
                "build the image again; hpcvm image verify tells all that is wrong with it".to_owned()
            }
            Self::Source { .. } => "see whether the node can reach the store's file system".to_owned(),
            Self::Image(error) => return error.help(),
            Self::Record(error) => return error.help(),
        })
    }
}
