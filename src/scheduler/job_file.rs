//! The job file: everything a job slot needs to know, as versioned JSON for the user alone.
//!
//! It stands in the job's folder, which has an unguessable name and mode 0700. The launcher in
//! the slot reads it only if it belongs to the user and nobody else can read or write it: the
//! wrapper's command line is visible to all users of a node.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interface::JobId;
use super::job_text::JobText;
use super::job_vm::VmSpec;
use super::kind::Kind;
use super::tasks::Tasks;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::durable::{self, WriteError};
use crate::launch::slot::SlotStatus;
use crate::timing::sender::Destination;
use crate::units::Bytes;

/// The version written, and the newest read.
const VERSION: u32 = 1;
/// A job's command line and environment have 4 MiB at most; as digits they are twice as long.
const LIMIT: u64 = 16 << 20;

/// What a job slot is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JobFile {
    /// The format's version.
    #[serde(rename = "job-file")]
    pub version: u32,
    /// Which scheduler's slots it is for.
    pub scheduler: Kind,
    /// The job's name.
    pub name: String,
    /// The array's tasks, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tasks: Option<Tasks>,
    /// The image.
    pub image: ImageReference,
    /// Where output files of single VMs go.
    pub folder: JobText,
    /// How many VMs each slot starts.
    pub vms_per_slot: u32,
    /// How often a task may be tried again after its node failed it.
    pub retries: u32,
    /// Whether images are copied to the node.
    #[serde(default)]
    pub stage: Stage,
    /// The folder of the node's own disk in which images are kept.
    pub node_scratch: JobText,
    /// How many bytes of images a node keeps; without it, as many as there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub node_cache_limit: Option<Bytes>,
    /// The folder of templates that the site has made, where the job names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_templates: Option<JobText>,
    /// What the slot's exit status is made of.
    #[serde(default)]
    pub slot_status: SlotStatus,
    /// Whom launches tell of their moments, where a timing log is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Destination>,
    /// What each VM is.
    pub vm: VmSpec,
}

/// Whether a node gets a copy of the image, which its slots then share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Where the store is another machine's
    #[default]
    Auto,
    /// Always
    Always,
    /// Never: slots read the store itself
    Never,
}

/// An image by its digest: a name may come to mean another one while the job waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageReference {
    /// Its name, for messages.
    pub name: String,
    /// Its digest.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
    /// The folder it is in.
    pub folder: JobText,
}

/// A job file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobFileError {
    /// It is gone, or this node does not see it.
    #[error("cannot read the job file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is something else, or damaged.
    #[error("{} is not a job file: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer hpcvm wrote it.
    #[error("the job file {} has version {version}; this hpcvm reads up to {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// It belongs to someone else.
    #[error("the job file {} belongs to user {owner} and this is user {us}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who reads it.
        us: u32,
    },
    /// Others may read or write it.
    #[error("the job file {} has mode {mode:04o}: others may read or change it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl JobFile {
    /// The version that is written.
    #[must_use]
    pub const fn version() -> u32 {
        VERSION
    }

    /// Writes it to `path`, for the user alone.
    pub fn write(&self, path: &Path) -> Result<(), JobFileError> {
        let mut text = serde_json::to_string_pretty(self).expect("maps have strings for keys");
        text.push('\n');
        Ok(durable::write_private(path, text.as_bytes())?)
    }

    /// Reads the job file at `path`, if it is ours alone.
    pub fn read(path: &Path) -> Result<Self, JobFileError> {
        let unreadable = |source| JobFileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        // Asked of the open file: what is checked is what is read.
        let metadata = file.metadata().map_err(unreadable)?;
        check_private(path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads a job file's bytes; `path` is for messages.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, JobFileError> {
        /// What all versions have.
        #[derive(Deserialize)]
        struct Any {
            #[serde(rename = "job-file")]
            version: u64,
        }
        let malformed = |why: String| JobFileError::Malformed {
            path: path.to_owned(),
            why,
        };
        if bytes.len() as u64 > LIMIT {
            return Err(malformed(format!("it is longer than {LIMIT} bytes")));
        }
        let any: Any = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if any.version > u64::from(VERSION) {
            return Err(JobFileError::Newer {
                path: path.to_owned(),
                version: any.version,
            });
        }
        let file: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if file.vms_per_slot == 0 || file.vm.command.is_empty() {
            return Err(malformed("it has no VM or no command".to_owned()));
        }
        Ok(file)
    }

    /// The task number that the guest is told: of jobs that are no arrays it is 1, so that
    /// calculations with it work in both.
    #[must_use]
    pub fn task_number(task: Option<u32>) -> u32 {
        task.unwrap_or(1)
    }

    /// Its job number as `JOB` or `JOB.TASK`, for messages.
    #[must_use]
    pub fn label(job: &JobId, task: Option<u32>) -> String {
        task.map_or_else(|| job.to_string(), |task| format!("{job}.{task}"))
    }
}

fn check_private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), JobFileError> {
    let us = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return Err(JobFileError::Malformed {
            path: path.to_owned(),
            why: "it is no regular file".to_owned(),
        });
    }
    if metadata.uid() != us {
        return Err(JobFileError::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
            us,
        });
    }
    match metadata.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(JobFileError::Mode {
            path: path.to_owned(),
            mode,
        }),
        _ => Ok(()),
    }
}

impl Problem for JobFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "HV5020",
            Self::Malformed { .. } => "HV5021",
            Self::Newer { .. } => "HV5022",
            Self::Owner { .. } => "HV5023",
            Self::Mode { .. } => "HV5024",
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Write(error) => error.blame(),
            // Another node may see it.
            Self::Unreadable { .. } => Blame::Host,
            _ => Blame::User,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Unreadable { .. } => {
                "submit from a folder that all nodes share, or name one with --job-folder; the job's folder must stay until it ends"
            }
            Self::Malformed { .. } => "submit the job again",
            Self::Newer { .. } => "use the hpcvm that submitted the job, or submit it again with this one",
            Self::Owner { .. } => "submit the job as the user it is to run as",
            Self::Mode { .. } => "chmod 600 it, if you trust what it says; or submit the job again",
            Self::Write(error) => return error.help(),
        };
        Some(help.to_owned())
    }
}

#[cfg(test)]
#[path = "job_file_tests.rs"]
pub(crate) mod tests;
