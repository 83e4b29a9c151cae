//! What can go wrong with the timing logger.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;

/// The logger cannot serve, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LoggerError {
    /// Its folder or a file in it cannot be used.
    #[error("the timing logger cannot use {}: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another one serves this folder.
    #[error("a timing logger serves {} already", folder.display())]
    Running {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot listen where it should.
    #[error("the timing logger cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// No logger answers.
    #[error("no timing logger answers at {address}: {source}")]
    Unreachable {
        /// Its socket.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It said no.
    #[error("the timing logger at {address} refused: {reason}")]
    Refused {
        /// Its socket.
        address: String,
        /// Its words.
        reason: String,
    },
    /// There are no events of this job.
    #[error("the timing log has no job '{job}'")]
    UnknownJob {
        /// What was asked for.
        job: String,
        /// The log's file.
        journal: PathBuf,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for LoggerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "HV5101",
            Self::Running { .. } => "HV5102",
            Self::Listen { .. } => "HV5103",
            Self::Unreachable { .. } => "HV5104",
            Self::Refused { .. } => "HV5105",
            Self::UnknownJob { .. } => "HV5106",
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Folder { .. } | Self::Listen { .. } | Self::Unreachable { .. } => Blame::Host,
            Self::Running { .. } | Self::Refused { .. } | Self::UnknownJob { .. } => Blame::User,
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Folder { .. } => "give it a folder of its own with --log".to_owned(),
            Self::Running { .. } => "use that one, or name another folder with --log".to_owned(),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "name another port with --listen, or port 0 for any that is free".to_owned()
            }
            Self::Listen { .. } => "name an address of this host with --listen".to_owned(),
            Self::Unreachable { .. } => "start one with hpcvm log serve".to_owned(),
            Self::Refused { .. } => return None,
            Self::UnknownJob { journal, .. } => format!(
                "hpcvm log alone lists the jobs it has; this log is {}",
                journal.display()
            ),
            Self::Write(error) => return error.help(),
        })
    }
}
