//! The part of a job file that describes a VM: a launch request without what only the node knows.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job_text::JobText;
use crate::guest::job_disk::Identity;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Chipset, Network};
use crate::launch::{BootImage, Input, JobRequest, LaunchRequest, Limits, Output, Share, Start};
use crate::units::Bytes;

/// One VM and its job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VmSpec {
    /// Virtual processors.
    pub cpus: u32,
    /// Guest memory in bytes.
    #[schemars(with = "u64")]
    pub memory: Bytes,
    /// How it starts.
    pub start: StartKind,
    /// What it starts from.
    #[serde(default)]
    pub warmth: Warmth,
    /// What runs the machine; without one, what suits the node best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<HypervisorKind>,
    /// What executes the guest's instructions; without one, the best that works on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<AcceleratorKind>,
    /// The job's command and its arguments.
    pub command: Vec<JobText>,
    /// The job's whole environment, as name and value.
    pub environment: Vec<(JobText, JobText)>,
    /// The job's working directory in the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<JobText>,
    /// Who the job runs as.
    pub identity: IdentitySpec,
    /// The job's file mode creation mask.
    pub umask: u32,
    /// The guest's host name.
    pub hostname: String,
    /// Host folders the job sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareSpec>,
    /// Host files copied in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<CopySpec>,
    /// Guest files copied out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<CopySpec>,
    /// Size of an empty disk in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub scratch: Option<Bytes>,
    /// Folder of the shared library repository, where the image links to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libraries: Option<LibrariesSpec>,
    /// Whether the guest has outgoing connections.
    pub user_network: bool,
    /// How long things may take.
    pub limits: LimitsSpec,
    /// A host file for the guest's console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<JobText>,
    /// Leave the launch's private folder in place.
    #[serde(default)]
    pub keep: bool,
}

/// What a machine starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Warmth {
    /// From nothing
    #[default]
    Cold,
    /// From a template, which is made first where there is none
    Warm,
    /// From a template where that is sooner
    Auto,
}

/// How a machine is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartKind {
    /// The hypervisor loads the kernel.
    Direct,
    /// The firmware of a Q35 boots the disk.
    Bios,
    /// The firmware of a 440FX boots the disk.
    BiosIde,
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcceleratorKind {
    /// The processor itself.
    Kvm,
    /// Emulation.
    Tcg,
}

/// What runs machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorKind {
    /// QEMU.
    Qemu,
    /// `VirtualBox`.
    VirtualBox,
}

/// A numeric identity and its names in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IdentitySpec {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The user's name in the guest.
    pub user: String,
    /// The user's home in the guest.
    pub home: String,
}

/// A shared folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ShareSpec {
    /// On the host.
    pub host: JobText,
    /// In the guest.
    pub guest: JobText,
    /// Whether the job may not write to it.
    pub read_only: bool,
}

/// A file or folder to copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CopySpec {
    /// On the host.
    pub host: JobText,
    /// In the guest.
    pub guest: JobText,
}

/// A shared library repository; the node finds and checks the image's generation in it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LibrariesSpec {
    /// Its folder.
    pub folder: JobText,
    /// Whether the guest gets the generation's export as a disk, and not the folder.
    pub as_disk: bool,
}

/// Time limits in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LimitsSpec {
    /// From the hypervisor's start until the guest reports.
    pub boot: u64,
    /// The job itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// Between asking the job to stop and killing it.
    pub grace: u64,
    /// From the job's end until the hypervisor's process is gone.
    pub power_off: u64,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl VmSpec {
    /// What of `request` does not depend on the node.
    #[must_use]
    pub fn of(request: &LaunchRequest, accelerator: Option<AcceleratorKind>) -> Self {
        let LaunchRequest {
            image: _,
            // The node may decide.
            hypervisor: _,
            start,
            // Templates are the node's.
            warm: _,
            accelerator: _,
            memory,
            cpus,
            job,
            shares,
            inputs,
            outputs,
            scratch,
            libraries,
            network,
            limits,
            console,
            keep,
            failure_logs: _,
            scratch_parent: _,
        } = request;
        let pair = |(name, value): &(OsString, OsString)| (JobText::from(name), JobText::from(value));
        Self {
            cpus: *cpus,
            memory: *memory,
            start: match start {
                Start::Direct => StartKind::Direct,
                Start::Bios(Chipset::Q35) => StartKind::Bios,
                Start::Bios(Chipset::Pc) => StartKind::BiosIde,
            },
            warmth: Warmth::Cold,
            hypervisor: None,
            accelerator,
            command: job.command.iter().map(JobText::from).collect(),
            environment: job.environment.iter().map(pair).collect(),
            folder: job.folder.as_ref().map(JobText::from),
            identity: identity_spec(&job.identity),
            umask: job.umask,
            hostname: job.hostname.clone(),
            shares: shares.iter().map(share_spec).collect(),
            inputs: inputs
                .iter()
                .map(|input| copy_spec(&input.host, &input.guest))
                .collect(),
            outputs: outputs
                .iter()
                .map(|output| copy_spec(&output.host, &output.guest))
                .collect(),
            scratch: *scratch,
            libraries: libraries.as_ref().map(|libraries| LibrariesSpec {
                folder: JobText::from(&libraries.folder),
                as_disk: libraries.export.is_some(),
            }),
            user_network: *network == Network::User,
            limits: LimitsSpec {
                boot: milliseconds(limits.boot),
                job: limits.job.map(milliseconds),
                grace: milliseconds(limits.grace),
                power_off: milliseconds(limits.power_off),
            },
            console: console.as_ref().map(JobText::from),
            keep: *keep,
        }
    }

    /// The launch request on this node.
    #[must_use]
    pub fn request(&self, image: BootImage, accelerator: Accelerator, scratch_parent: PathBuf) -> LaunchRequest {
        let identity = &self.identity;
        LaunchRequest {
            image,
            hypervisor: Hypervisor::default(),
            start: match self.start {
                StartKind::Direct => Start::Direct,
                StartKind::Bios => Start::Bios(Chipset::Q35),
                StartKind::BiosIde => Start::Bios(Chipset::Pc),
            },
            warm: None,
            accelerator,
            memory: self.memory,
            cpus: self.cpus,
            job: JobRequest {
                command: self.command.iter().map(|word| word.0.clone()).collect(),
                environment: self
                    .environment
                    .iter()
                    .map(|(name, value)| (name.0.clone(), value.0.clone()))
                    .collect(),
                folder: self.folder.as_ref().map(JobText::path),
                identity: Identity {
                    uid: identity.uid,
                    gid: identity.gid,
                    groups: identity.groups.clone(),
                    user: identity.user.clone(),
                    home: identity.home.clone(),
                },
                umask: self.umask,
                hostname: self.hostname.clone(),
            },
            shares: self.shares.iter().map(ShareSpec::share).collect(),
            inputs: self.inputs.iter().map(CopySpec::input).collect(),
            outputs: self.outputs.iter().map(CopySpec::output).collect(),
            scratch: self.scratch,
            // Found on the node: what was there at submission may not be there now.
            libraries: None,
            network: if self.user_network {
                Network::User
            } else {
                Network::None
            },
            limits: Limits {
                boot: Duration::from_millis(self.limits.boot),
                job: self.limits.job.map(Duration::from_millis),
                grace: Duration::from_millis(self.limits.grace),
                power_off: Duration::from_millis(self.limits.power_off),
            },
            console: self.console.as_ref().map(JobText::path),
            keep: self.keep,
            failure_logs: None,
            scratch_parent,
        }
    }
}

fn identity_spec(identity: &Identity) -> IdentitySpec {
    IdentitySpec {
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups.clone(),
        user: identity.user.clone(),
        home: identity.home.clone(),
    }
}

fn share_spec(share: &Share) -> ShareSpec {
    ShareSpec {
        host: JobText::from(&share.host),
        guest: JobText::from(&share.guest),
        read_only: share.read_only,
    }
}

fn copy_spec(host: &std::path::Path, guest: &std::path::Path) -> CopySpec {
    CopySpec {
        host: JobText::from(host),
        guest: JobText::from(guest),
    }
}

impl ShareSpec {
    fn share(&self) -> Share {
        Share {
            host: self.host.path(),
            guest: self.guest.path(),
            read_only: self.read_only,
        }
    }
}

impl CopySpec {
    fn input(&self) -> Input {
        Input {
            host: self.host.path(),
            guest: self.guest.path(),
        }
    }

    fn output(&self) -> Output {
        Output {
            guest: self.guest.path(),
            host: self.host.path(),
        }
    }
}
