//! What can go wrong with a benchmark.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::exec::ExecError;
use crate::hypervisor::qemu::UnspeakablePath;
use crate::image::StoreError;
use crate::launch::LaunchError;
use crate::launch::template::TemplateError;

/// A benchmark cannot be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An image to be launched is not in the store, or cannot be used.
    #[error("the benchmark needs the image '{name}': {source}")]
    Image {
        /// The image as asked for.
        name: String,
        /// Whether it is the one compared with, which can be left out.
        is_baseline: bool,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// A launch ended without the line it was to print, or with a failure.
    #[error("a launch failed: {command}\n  ended with {status}{}", said(said_last))]
    Launch {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said_last: String,
    },
    /// A launch did not end in time.
    #[error("a launch did not end within {} s: {command}{}", limit.as_secs(), said(said_last))]
    Late {
        /// The command line.
        command: String,
        /// The limit.
        limit: Duration,
        /// The end of what it said.
        said_last: String,
    },
    /// A pipe or a file of the kernel's could not be used.
    #[error("cannot measure with {}: {source}", path.display())]
    Io {
        /// The file, or what was to be made.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The folder for results has others.
    #[error("the results in {} do not go together with these launches: {why}", folder.display())]
    OtherResults {
        /// The folder.
        folder: PathBuf,
        /// What is different.
        why: String,
    },
    /// Some scenarios of a grid gave no result.
    #[error("{} of the grid's launches failed{}", failed.len(), said(&failed.join("\n")))]
    Scenarios {
        /// Each with its reason.
        failed: Vec<String>,
    },
    /// A result could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The hypervisor cannot be told where a file is.
    #[error(transparent)]
    Path(#[from] UnspeakablePath),
    /// Not all VMs ran at once.
    #[error("of {wanted} VMs that were to run at once, {found} were found")]
    Crowd {
        /// How many were started.
        wanted: usize,
        /// How many hypervisors there were when all jobs should have run.
        found: usize,
    },
    /// A launch of a crowd failed.
    #[error(transparent)]
    Launching(Box<LaunchError>),
    /// There is no template to measure with.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A program could not be started.
    #[error(transparent)]
    Program(#[from] ExecError),
}

/// What a launch said last, indented below the failure.
fn said(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| all + "\n  | " + line)
}

impl BenchError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl Problem for BenchError {
    fn code(&self) -> &'static str {
        match self {
            Self::Image { source, .. } => source.code(),
            Self::Launch { .. } => "HV1501",
            Self::Late { .. } => "HV1502",
            Self::Io { .. } => "HV1503",
            Self::Path(_) => "HV1504",
            Self::OtherResults { .. } => "HV1505",
            Self::Scenarios { .. } => "HV1506",
            Self::Write(error) => error.code(),
            Self::Crowd { .. } => "HV1507",
            Self::Launching(error) => error.code(),
            Self::Template(error) => error.code(),
            Self::Program(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Image { source, .. } => source.blame(),
            Self::Launch { .. } | Self::Late { .. } | Self::Scenarios { .. } | Self::Crowd { .. } => Blame::Guest,
            Self::Io { .. } => Blame::Host,
            Self::Path(_) | Self::OtherResults { .. } => Blame::User,
            Self::Write(error) => error.blame(),
            Self::Launching(error) => error.blame(),
            Self::Template(error) => error.blame(),
            Self::Program(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Image {
                name,
                is_baseline,
                source,
            } if matches!(**source, StoreError::NotFound { .. }) => Some(format!(
                "build it: hpcvm build recipes/{name}.yaml{}",
                if *is_baseline {
                    ", or leave it out with --baseline-runs 0"
                } else {
                    ""
                }
            )),
            Self::Image { source, .. } => source.help(),
            Self::Launch { .. } => Some("run the command above by itself".to_owned()),
            Self::Late { .. } => Some("run the command above by itself, on a quieter host".to_owned()),
            Self::Io { .. } => None,
            Self::Crowd { .. } => Some("see whether this host has the memory and the processors for them".to_owned()),
            Self::Path(_) => Some("name another store with --store".to_owned()),
            Self::OtherResults { .. } => Some("name another folder with --output".to_owned()),
            Self::Scenarios { .. } => Some(
                "start the same command again: what was measured is kept, and only what failed is launched".to_owned(),
            ),
            Self::Write(error) => error.help(),
            Self::Launching(error) => error.help(),
            Self::Template(error) => error.help(),
            Self::Program(error) => error.help(),
        }
    }
}

impl From<LaunchError> for BenchError {
    fn from(error: LaunchError) -> Self {
        Self::Launching(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_comes_with_the_command_that_builds_it() {
        for (is_baseline, help) in [
            (false, "build it: hpcvm build recipes/debian.yaml"),
            (
                true,
                "build it: hpcvm build recipes/debian.yaml, or leave it out with --baseline-runs 0",
            ),
        ] {
            let error = BenchError::Image {
                name: "debian".to_owned(),
                is_baseline,
                source: Box::new(StoreError::NotFound {
                    reference: "debian".to_owned(),
                    store: "/store".into(),
                    near: Vec::new(),
                }),
            };
            assert_eq!(error.code(), "HV1101");
            assert_eq!(error.help().as_deref(), Some(help));
        }
    }

    #[test]
    fn a_failed_launch_shows_its_last_words() {
        let error = BenchError::Launch {
            command: "qemu".to_owned(),
            status: "exit status: 1".to_owned(),
            said_last: "no\nkernel".to_owned(),
        };
        let text = error.to_string();
        assert_eq!(
            text,
            "a launch failed: qemu\n  ended with exit status: 1\n  | no\n  | kernel"
        );
    }
}
