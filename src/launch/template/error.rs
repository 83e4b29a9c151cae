//! Why there is no template.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::durable::WriteError;
use crate::hypervisor::monitor::MonitorError;
use crate::launch::LaunchError;
use crate::launch::stage::StageError;

/// A template cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Such a machine cannot be saved.
    #[error("{image} cannot be started warm: {why}")]
    Impossible {
        /// The image's name.
        image: String,
        /// Why not.
        why: &'static str,
    },
    /// A file of it cannot be made or read.
    #[error("cannot keep a template at {}: {source}", path.display())]
    Keep {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk has no room.
    #[error("there is no room for a template of {needed} bytes at {}", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// What its memory may need.
        needed: u64,
    },
    /// The guest never was ready to be saved.
    #[error("the guest of {image} was not ready to be saved: {why}")]
    NotReady {
        /// The image's name.
        image: String,
        /// How it ended, and its last words.
        why: String,
    },
    /// The hypervisor cannot save machines.
    #[error("a machine of {image} cannot be saved by QEMU {found}: warm starts need 8.2 or later")]
    OldHypervisor {
        /// The image's name.
        image: String,
        /// QEMU's version.
        found: String,
    },
    /// The hypervisor would not save it.
    #[error("a machine of {image} cannot be saved: {source}")]
    NotSaved {
        /// The image's name.
        image: String,
        /// What it said.
        source: MonitorError,
    },
    /// It failed a short time ago.
    #[error("no template of {image} can be had here: making or restoring it failed less than an hour ago")]
    FailedBefore {
        /// The image's name.
        image: String,
    },
    /// No launch needed it before.
    #[error("this is the first launch here for which there could be a template of {image}")]
    First {
        /// The image's name.
        image: String,
        /// The template's name.
        key: Digest,
    },
    /// Another launch makes it at this moment.
    #[error("another launch makes the template of {image}")]
    Busy {
        /// The image's name.
        image: String,
    },
    /// Somebody whom nobody trusts could change a site's templates.
    #[error("the site's templates are not used: {}: {why}", path.display())]
    Untrusted {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No place for templates is named, and the site has none for this machine.
    #[error("the site has no template of {image} for such a machine")]
    NotMade {
        /// The image's name.
        image: String,
    },
    /// Told to end while it was made.
    #[error("stopped while the template was made")]
    Stopped,
    /// There is none of this name.
    #[error("there is no template {0} in the node's cache")]
    Unknown(String),
    /// The node's cache cannot be used.
    #[error(transparent)]
    Cache(#[from] StageError),
    /// Its machine cannot be set up.
    #[error(transparent)]
    Machine(Box<LaunchError>),
}

impl From<WriteError> for TemplateError {
    fn from(error: WriteError) -> Self {
        Self::Keep {
            path: error.path,
            source: error.source,
        }
    }
}

impl From<LaunchError> for TemplateError {
    fn from(error: LaunchError) -> Self {
        Self::Machine(Box::new(error))
    }
}

impl Problem for TemplateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Impossible { .. } => "HV4601",
            Self::Keep { .. } => "HV4602",
            Self::Full { .. } => "HV4603",
            Self::NotReady { .. } => "HV4604",
            Self::NotSaved { .. } | Self::OldHypervisor { .. } => "HV4605",
            Self::FailedBefore { .. } | Self::Busy { .. } | Self::First { .. } | Self::NotMade { .. } => "HV4606",
            Self::Stopped => "HV4607",
            Self::Unknown(_) => "HV4608",
            Self::Untrusted { .. } => "HV4609",
            Self::Cache(error) => error.code(),
            Self::Machine(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Impossible { .. } | Self::Stopped | Self::Unknown(_) => Blame::User,
            Self::Keep { .. }
            | Self::Full { .. }
            | Self::NotSaved { .. }
            | Self::OldHypervisor { .. }
            | Self::Busy { .. }
            | Self::First { .. }
            | Self::Untrusted { .. }
            | Self::NotMade { .. } => Blame::Host,
            Self::NotReady { .. } | Self::FailedBefore { .. } => Blame::Guest,
            Self::Cache(error) => error.blame(),
            Self::Machine(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Impossible { .. } => "start it with --start cold, or leave --start out".to_owned(),
            Self::Keep { .. } | Self::Full { .. } => {
                "name a folder of your own with space, on this machine's disk, with --node-cache".to_owned()
            }
            Self::NotReady { .. } => "see whether it starts with --start cold".to_owned(),
            Self::NotSaved { .. } | Self::OldHypervisor { .. } => {
                "warm starts need QEMU 8.2 or later; start it with --start cold".to_owned()
            }
            Self::FailedBefore { .. } => "hpcvm template build tries again and tells why it fails".to_owned(),
            Self::Unknown(_) => "hpcvm template ls tells their names".to_owned(),
            Self::Untrusted { .. } => {
                "they and the way to them must be root's, yours or the owner's whom the site file \
                 names (templates-owner), and for nobody else to write to"
                    .to_owned()
            }
            Self::Busy { .. } | Self::First { .. } | Self::NotMade { .. } | Self::Stopped => return None,
            Self::Cache(error) => return error.help(),
            Self::Machine(error) => return error.help(),
        })
    }
}
