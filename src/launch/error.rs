//! Why a launch gave no answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::template::TemplateError;
use crate::diagnostic::{Blame, Problem};
use crate::exec::ExecError;
use crate::guest::job_disk::JobDiskError;
use crate::hypervisor::qemu::UnspeakablePath;
use crate::hypervisor::virtualbox::VirtualBoxError;
use crate::units::Bytes;

/// A launch failed outside the job itself.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The private folder or a file in it could not be made.
    #[error("cannot prepare {}: {source}", path.display())]
    Scratch {
        /// What was to be made.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The machine would not fit.
    #[error("the guest needs {needed} of memory and this host has {available} available")]
    Memory {
        /// Guest memory and what the hypervisor needs besides.
        needed: Bytes,
        /// What the host has.
        available: Bytes,
    },
    /// The machines of a slot would not fit together.
    #[error("{vms} guests of up to {each} need {needed} of memory together and this host has {available} available")]
    MemoryOfAll {
        /// How many there are.
        vms: usize,
        /// The largest one's memory.
        each: Bytes,
        /// Guest memory and what the hypervisors need besides.
        needed: Bytes,
        /// What the host has.
        available: Bytes,
    },
    /// The image cannot be started this way.
    #[error("{image} cannot be started {how}")]
    Start {
        /// The image's name.
        image: String,
        /// Which way.
        how: &'static str,
    },
    /// A shared folder is not there, or would hide the guest's own files.
    #[error("cannot share {}: {reason}", path.display())]
    Share {
        /// The host folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An input cannot be read.
    #[error("cannot read the input {}: {source}", path.display())]
    Input {
        /// The host file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The job cannot be described to the guest.
    #[error(transparent)]
    Job(#[from] JobDiskError),
    /// A disk's name cannot be given to the hypervisor.
    #[error(transparent)]
    Path(#[from] UnspeakablePath),
    /// A program could not be started.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The hypervisor ended before the guest reported.
    #[error("the hypervisor ended ({status}) before the guest had started{}", tail(said))]
    Hypervisor {
        /// How it ended.
        status: String,
        /// The end of its own words, or else of the guest's console.
        said: String,
    },
    /// The guest was gone before the job had ended.
    #[error("the guest was gone ({status}) before the job had ended{}", tail(said))]
    GuestDied {
        /// How the hypervisor ended.
        status: String,
        /// The end of the hypervisor's words or of the guest's console.
        said: String,
    },
    /// Neither we nor the guest killed the hypervisor: the node did, or somebody on it.
    #[error("the hypervisor was killed (SIGKILL) on this node")]
    HypervisorKilled,
    /// The guest never reported.
    #[error("the guest did not report within {} s{}", limit.as_secs(), tail(said))]
    BootTimeout {
        /// The limit.
        limit: Duration,
        /// The end of the guest's console.
        said: String,
    },
    /// The guest could not be prepared for the job.
    #[error("the guest could not start the job: {problem}{}", tail(said))]
    Refused {
        /// What the job runner said.
        problem: String,
        /// The end of the guest's console.
        said: String,
    },
    /// The working directory is not in the guest.
    #[error("the job's working directory {} cannot be entered in the guest: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the guest said.
        source: io::Error,
    },
    /// The command is not in the guest or cannot be executed there.
    #[error("{command}: {} in the guest of {image}", why_not(source, interpreter.as_deref()))]
    Command {
        /// The command's name.
        command: String,
        /// The image's name.
        image: String,
        /// What the guest said.
        source: io::Error,
        /// The program that is missing and starts it, where that is the reason.
        interpreter: Option<String>,
    },
    /// Stopped from outside before the job had started.
    #[error("stopped by signal {0} before the job had started")]
    Interrupted(i32),
    /// Killed at once, or the guest did not end the job within the grace time.
    #[error("the job did not end within the grace time after signal {0}; the VM was killed")]
    Killed(i32),
    /// The job took longer than allowed.
    #[error("the job was stopped after its time limit of {} s", .0.as_secs_f64())]
    TimeLimit(Duration),
    /// Some output was lost on its way.
    #[error("the job wrote {written} bytes to {stream} and {arrived} arrived")]
    LostOutput {
        /// Which stream.
        stream: &'static str,
        /// Bytes the guest counted.
        written: u64,
        /// Bytes that arrived.
        arrived: u64,
    },
    /// The host took no more of the output.
    #[error("the job's {stream} could not be written: {source}")]
    UnwrittenOutput {
        /// Which stream.
        stream: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The job wrote more than the result disk takes.
    #[error("{0}: the job could write no more")]
    OutputTooLarge(String),
    /// There is no template for a warm start that was insisted on.
    #[error(transparent)]
    Template(Box<TemplateError>),
    /// The machine failed, and what its programs said was kept.
    #[error("{error}\n  logs: {}", folder.display())]
    Logged {
        /// How it failed.
        error: Box<Self>,
        /// Where the logs are.
        folder: PathBuf,
    },
    /// `VirtualBox` cannot run the machine.
    #[error(transparent)]
    VirtualBox(Box<VirtualBoxError>),
    /// Outputs could not be brought back.
    #[error("cannot bring back {}: {reason}", path.display())]
    Collect {
        /// The output's path in the guest, or the host file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl LaunchError {
    /// Whether the machine failed the job: neither the job itself, nor whoever stopped it.
    pub(super) const fn is_the_machine_s(&self) -> bool {
        matches!(
            self,
            Self::Hypervisor { .. }
                | Self::HypervisorKilled
                | Self::GuestDied { .. }
                | Self::BootTimeout { .. }
                | Self::Refused { .. }
                | Self::LostOutput { .. }
                | Self::VirtualBox(_)
        )
    }
}

impl From<VirtualBoxError> for LaunchError {
    fn from(error: VirtualBoxError) -> Self {
        match error {
            VirtualBoxError::Interrupted(signal) => Self::Interrupted(signal),
            VirtualBoxError::Exec(error) => Self::Exec(error),
            error => Self::VirtualBox(Box::new(error)),
        }
    }
}

fn why_not(source: &io::Error, interpreter: Option<&str>) -> String {
    match interpreter {
        Some(path) => format!("it is there, but {path}, which starts it, is not"),
        None => source.to_string(),
    }
}

/// What was said last, indented below the failure.
fn tail(said: &str) -> String {
    said.lines().fold(String::new(), |text, line| text + "\n  | " + line)
}

impl Problem for LaunchError {
    fn code(&self) -> &'static str {
        match self {
            Self::Scratch { .. } => "HV4001",
            Self::Memory { .. } | Self::MemoryOfAll { .. } => "HV4002",
            Self::Start { .. } => "HV4003",
            Self::Share { .. } => "HV4004",
            Self::Input { .. } => "HV4005",
            Self::Job(_) => "HV4006",
            Self::Path(_) => "HV4007",
            Self::Exec(error) => error.code(),
            Self::Hypervisor { .. } => "HV4101",
            Self::GuestDied { .. } => "HV4102",
            Self::HypervisorKilled => "HV4107",
            Self::BootTimeout { .. } => "HV4103",
            Self::Refused { .. } => "HV4104",
            Self::Folder { .. } => "HV4105",
            Self::Command { .. } => "HV4106",
            Self::Interrupted(_) => "HV4201",
            Self::Killed(_) => "HV4202",
            Self::TimeLimit(_) => "HV4203",
            Self::LostOutput { .. } => "HV4301",
            Self::Collect { .. } => "HV4302",
            Self::UnwrittenOutput { .. } => "HV4303",
            Self::OutputTooLarge(_) => "HV4304",
            Self::Template(error) => error.code(),
            Self::Logged { error, .. } => error.code(),
            Self::VirtualBox(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Share { .. }
            | Self::Input { .. }
            | Self::Job(_)
            | Self::Folder { .. }
            | Self::OutputTooLarge(_)
            | Self::Collect { .. } => Blame::User,
            Self::Command { .. } | Self::Start { .. } => Blame::Image,
            Self::Scratch { .. }
            | Self::Memory { .. }
            | Self::MemoryOfAll { .. }
            | Self::Exec(_)
            | Self::Path(_)
            | Self::UnwrittenOutput { .. }
            | Self::HypervisorKilled => Blame::Host,
            Self::Template(error) => error.blame(),
            Self::Logged { error, .. } => error.blame(),
            Self::VirtualBox(error) => error.blame(),
            Self::TimeLimit(_) => Blame::Timeout,
            Self::Interrupted(_)
            | Self::Killed(_)
            | Self::Hypervisor { .. }
            | Self::GuestDied { .. }
            | Self::BootTimeout { .. }
            | Self::Refused { .. }
            | Self::LostOutput { .. } => Blame::Guest,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Exec(error) => return error.help(),
            Self::Template(error) => return error.help(),
            Self::Logged { error, .. } => return error.help(),
            Self::VirtualBox(error) => return error.help(),
            Self::Scratch { .. } => "set TMPDIR to a folder of this machine with space, which you may write to",
            Self::Memory { .. } => "ask for less with --memory, or run it where there is more",
            Self::MemoryOfAll { .. } => "ask for less with --memory, or for fewer VMs in a slot",
            Self::Start { .. } => "leave --boot out, or build the image from a recipe with hpcvm's own initrd",
            Self::Share { .. } => "share another folder with --share HOST[:GUEST], or none with --no-cwd",
            Self::OutputTooLarge(_) => {
                "VirtualBox's serial ports are slow, so large output goes over a disk of 32 GiB for each stream: have \
                 the job write to a file in a shared folder (--share)"
            }
            Self::Job(_) => "pass long lists in a file: with --input, or in the shared working directory",
            Self::Hypervisor { .. } | Self::GuestDied { .. } => {
                "keep the whole console with --console FILE; give the guest more --memory if it ran out of it"
            }
            Self::HypervisorKilled => {
                "the kernel log of the node tells whether its memory, or that of the slot, was used up: ask for more of it"
            }
            Self::UnwrittenOutput { .. } => {
                "make room where the output goes, and run the job again: what it wrote from then on is lost"
            }
            Self::BootTimeout { .. } => "watch the console with --console FILE; on a slow host raise --boot-timeout",
            Self::Folder { .. } => "share it with --share, or choose another working directory with --cwd",
            Self::Command { .. } => {
                "name a program of the image (see `hpcvm image show`), add its package to the recipe, or share the folder it is in"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}
