//! What a launch is asked to do.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::boot_image::BootImage;
use super::libraries::Libraries;
use super::template::{SiteTemplates, Templates};
use crate::digest::Digest;
use crate::guest::job_disk::Identity;
use crate::guest::template_disk::Preparation;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Chipset, Network};
use crate::units::Bytes;

/// One job in one VM.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    /// The image to boot.
    pub image: BootImage,
    /// What runs the machine.
    pub hypervisor: Hypervisor,
    /// How to start it.
    pub start: Start,
    /// Whether and how it is started from a template; without one, cold.
    pub warm: Option<WarmStart>,
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// Guest memory.
    pub memory: Bytes,
    /// Virtual processors.
    pub cpus: u32,
    /// The job.
    pub job: JobRequest,
    /// Host folders the job sees.
    pub shares: Vec<Share>,
    /// Host files and folders copied in before the job.
    pub inputs: Vec<Input>,
    /// Guest files and folders copied out after it.
    pub outputs: Vec<Output>,
    /// The shared library repository, where the image links to it.
    pub libraries: Option<Libraries>,
    /// Size of an empty disk mounted at `/scratch`.
    pub scratch: Option<Bytes>,
    /// The guest's network.
    pub network: Network,
    /// How long things may take.
    pub limits: Limits,
    /// A host file for the guest's console, when it is wanted afterwards.
    pub console: Option<PathBuf>,
    /// Leave the private folder with clone, disks and logs in place.
    pub keep: bool,
    /// Where the logs of a machine of `VirtualBox` are kept that failed its job; without a folder they go with it.
    pub failure_logs: Option<PathBuf>,
    /// Where the private folder is made.
    pub scratch_parent: PathBuf,
}

impl LaunchRequest {
    /// The job's working directory in the guest.
    #[must_use]
    pub fn job_folder(&self) -> PathBuf {
        let home = || PathBuf::from(&self.job.identity.home);
        self.job.folder.clone().unwrap_or_else(home)
    }
}

/// How a launch uses templates.
#[derive(Clone, Debug)]
pub struct WarmStart {
    /// Where the user's own are; without it, none is made.
    pub templates: Option<Templates>,
    /// The site's, which come first.
    pub site: Option<SiteTemplates>,
    /// The image's digest.
    pub image: Digest,
    /// What a template does before it is saved.
    pub preparation: Preparation,
    /// Make the template for the first launch already, wait for another launch that makes it, try again what failed a
    /// short time ago, and refuse a machine of which there cannot be one.
    pub insist: bool,
}

/// How a machine is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The hypervisor loads the kernel.
    Direct,
    /// The firmware boots the image's disk.
    Bios(Chipset),
}

/// The command and what it runs with.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory in the guest; without one, its home.
    pub folder: Option<PathBuf>,
    /// Who it runs as.
    pub identity: Identity,
    /// Its file mode creation mask.
    pub umask: u32,
    /// The guest's host name.
    pub hostname: String,
}

/// A host folder the job sees over 9p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The host folder, absolute.
    pub host: PathBuf,
    /// Where it is in the guest, absolute.
    pub guest: PathBuf,
    /// Whether the job may not write to it.
    pub read_only: bool,
}

/// A host file or folder copied into the guest before the job starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The host file or folder.
    pub host: PathBuf,
    /// Its path in the guest; relative to the job's working directory.
    pub guest: PathBuf,
}

/// A guest file or folder copied to the host after the job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its path in the guest; relative to the job's working directory.
    pub guest: PathBuf,
    /// Where it goes on the host.
    pub host: PathBuf,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the hypervisor's start until the guest reports.
    pub boot: Duration,
    /// The job itself.
    pub job: Option<Duration>,
    /// Between SIGTERM and SIGKILL when the job is told to stop.
    pub grace: Duration,
    /// From the job's end until the hypervisor's process is gone.
    pub power_off: Duration,
}

/// What may reach a launch from outside while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// This signal came: end the job cleanly.
    Stop(i32),
    /// End at once.
    Kill,
    /// Pause the machine until [`Interrupt::Continue`]; its limits do not run meanwhile.
    Pause,
    /// Let a paused machine go on.
    Continue,
}

impl Interrupt {
    /// The signal that asks for a clean end.
    #[must_use]
    pub const fn stop_signal(&self) -> Option<i32> {
        match self {
            Self::Stop(signal) => Some(*signal),
            Self::Kill | Self::Pause | Self::Continue => None,
        }
    }
}

/// The job's standard streams on the host.
pub struct Streams {
    /// Read until its end, or until the job closes its own.
    pub stdin: Box<dyn Read + Send>,
    /// Gets the job's standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Gets the job's standard error.
    pub stderr: Box<dyn Write + Send>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}
