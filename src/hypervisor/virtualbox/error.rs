//! Why `VirtualBox` cannot run a machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostic::{Blame, Problem};
use crate::exec::ExecError;
use crate::image::vdi::VdiError;

/// `VirtualBox` cannot run a machine.
#[derive(Debug, thiserror::Error)]
pub enum VirtualBoxError {
    /// It is not on this machine.
    #[error("VirtualBox is not installed: neither PATH nor {} has VBoxSVC and VBoxHeadless", places.join(" nor "))]
    NotInstalled {
        /// Where it was looked for besides.
        places: Vec<String>,
    },
    /// The kernel driver cannot be used.
    #[error("VirtualBox cannot run machines here: {0}")]
    NoDriver(String),
    /// A file or folder for the machine could not be made.
    #[error("cannot prepare {}: {source}", path.display())]
    Write {
        /// What was to be made.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The image's disk is none that a differencing image can be made of.
    #[error("cannot make a clone of {}: {source}", path.display())]
    Base {
        /// The disk image.
        path: PathBuf,
        /// What is wrong with it.
        source: VdiError,
    },
    /// A name cannot be written into a settings file.
    #[error("VirtualBox takes only UTF-8 file names without control characters: {0:?}")]
    Name(PathBuf),
    /// `VBoxSVC` did not come up.
    #[error("VirtualBox's service {reason}, tried {tries} times{}", tail(said))]
    Service {
        /// What became of it.
        reason: String,
        /// How often it was tried.
        tries: u32,
        /// What it said last.
        said: String,
    },
    /// This signal came while the machine's service was starting.
    #[error("stopped by signal {0} before VirtualBox was ready")]
    Interrupted(i32),
    /// It cannot be combined with something that is asked for.
    #[error("VirtualBox cannot run this machine: {0}")]
    Unsupported(&'static str),
    /// A program could not be started.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl VirtualBoxError {
    /// What became of the service within `limit`.
    pub(super) fn late(limit: Duration) -> String {
        format!("was not ready within {} s", limit.as_secs())
    }
}

fn tail(said: &str) -> String {
    said.lines().fold(String::new(), |text, line| text + "\n  | " + line)
}

impl Problem for VirtualBoxError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotInstalled { .. } => "HV4701",
            Self::NoDriver(_) => "HV4702",
            Self::Write { .. } => "HV4703",
            Self::Base { .. } => "HV4704",
            Self::Name(_) => "HV4705",
            Self::Service { .. } => "HV4706",
            Self::Unsupported(_) => "HV4707",
            Self::Interrupted(_) => "HV4708",
            Self::Exec(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Base { .. } => Blame::Image,
            Self::Name(_) | Self::Unsupported(_) => Blame::User,
            Self::Interrupted(_) => Blame::Guest,
            _ => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Exec(error) => return error.help(),
            Self::NotInstalled { .. } => {
                "install VirtualBox, or use --hypervisor qemu; `hpcvm doctor` tells what works here"
            }
            Self::NoDriver(_) => {
                "load its kernel driver (modprobe vboxdrv, after installing it for this kernel), or use --hypervisor qemu"
            }
            Self::Write { .. } => "set TMPDIR to a folder of this machine with space, which you may write to",
            Self::Base { .. } => "build the image again, or run it with --hypervisor qemu",
            Self::Name(_) => "give the folder another name",
            Self::Service { .. } => "look whether VBoxManage list vms answers; end what hangs and try again",
            Self::Unsupported(_) => "use --hypervisor qemu for this job",
            Self::Interrupted(_) => return None,
        };
        Some(help.to_owned())
    }
}
