//! A job's folder, what is kept of a submission, and how all of a user's jobs are found again.
//!
//! ```text
//! FOLDER/.hpcvm/RANDOM/       0700, beside the job's output
//!   job.json                  the job file, 0600
//!   wrapper                   what the scheduler was given
//!   script                    the job script, where there is one
//!   submitted.json            the record
//!   status/TASK.json          how each task ended, written in its slot
//!   tries/TASK                as long as the task was often tried
//!   numbers/TASK              the task's own job number, where its scheduler lists it by that
//!   deleted                   tasks that `hpcvm kill` deleted, a line each; `all` for all
//! STATE/jobs/SCHEDULER-JOB    a link to the folder
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::interface::JobId;
use super::kind::Kind;
use super::tasks::Tasks;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::durable::{self, WriteError};

/// The version of records written, and the newest read.
const VERSION: u32 = 1;
/// More than a record can be.
const LIMIT: u64 = 1 << 20;

/// A job's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFolder {
    path: PathBuf,
}

/// What is kept of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// The format's version.
    #[serde(rename = "record")]
    pub version: u32,
    /// Which scheduler has the job.
    pub scheduler: Kind,
    /// The job's number there.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// The array's tasks, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// How many VMs each slot starts.
    pub vms_per_slot: u32,
    /// The image, as `NAME@DIGITS`.
    pub image: String,
    /// The image's digest.
    pub digest: Digest,
    /// The command as a shell would take it; only for people.
    pub command: String,
    /// When it was submitted.
    pub submitted: jiff::Timestamp,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskStatus {
    /// The task's number; 1 for a job that is no array.
    pub task: u32,
    /// The slot's exit status.
    pub status: u8,
    /// The node it ran on.
    pub node: String,
    /// Each VM's exit status, in the order of their indices.
    pub vms: Vec<u8>,
    /// What the launcher said, where the failure was not the job's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A record cannot be found, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is none.
    #[error("no job {job} was submitted by hpcvm here")]
    NotFound {
        /// What was asked for.
        job: String,
    },
    /// Jobs of several schedulers have this number.
    #[error("{job} could be a job of {}", kinds.join(" or of "))]
    Ambiguous {
        /// What was asked for.
        job: String,
        /// Whose jobs.
        kinds: Vec<String>,
    },
    /// It is damaged, or from a newer hpcvm.
    #[error("the record {} cannot be used: {why}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A folder or file could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for RecordError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "HV5030",
            Self::Ambiguous { .. } => "HV5031",
            Self::Damaged { .. } => "HV5032",
            Self::Io { .. } => "HV5033",
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. } | Self::Ambiguous { .. } => Blame::User,
            Self::Damaged { .. } | Self::Io { .. } => Blame::Host,
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => {
                Some("hpcvm ps lists the jobs; others are the scheduler's own commands' business".into())
            }
            Self::Ambiguous { .. } => Some("say which with --scheduler".into()),
            Self::Damaged { .. } | Self::Io { .. } => None,
            Self::Write(error) => error.help(),
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RecordError + use<> {
    let path = path.to_owned();
    move |source| RecordError::Io { path, source }
}

impl JobFolder {
    /// Makes a folder of unguessable name below `parent/.hpcvm`, for the user alone.
    pub fn create(parent: &Path) -> Result<Self, RecordError> {
        let all = parent.join(".hpcvm");
        durable::create_private_folder(&all)?;
        let folder = durable::private_folder_in(&all, "").map_err(io_error(&all))?;
        Ok(Self { path: folder.keep() })
    }

    /// The folder that `job_file` is in.
    #[must_use]
    pub fn of(job_file: &Path) -> Self {
        Self {
            path: job_file.parent().unwrap_or(Path::new(".")).to_owned(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The job file.
    #[must_use]
    pub fn job_file(&self) -> PathBuf {
        self.path.join("job.json")
    }

    /// Keeps the job script; where it is.
    pub fn keep_script(&self, bytes: &[u8]) -> Result<PathBuf, RecordError> {
        let path = self.path.join("script");
        durable::write_private(&path, bytes)?;
        Ok(path)
    }

    /// Keeps the wrapper; where it is.
    pub fn keep_wrapper(&self, text: &[u8]) -> Result<PathBuf, RecordError> {
        let path = self.path.join("wrapper");
        durable::write_private(&path, text)?;
        Ok(path)
    }

    /// Keeps the record.
    pub fn keep_record(&self, record: &Record) -> Result<(), RecordError> {
        let mut text = serde_json::to_string_pretty(record).expect("a record has strings for keys");
        text.push('\n');
        Ok(durable::write_private(
            &self.path.join("submitted.json"),
            text.as_bytes(),
        )?)
    }

    /// Reads the record.
    pub fn record(&self) -> Result<Record, RecordError> {
        let path = self.path.join("submitted.json");
        let damaged = |why: String| RecordError::Damaged {
            path: path.clone(),
            why,
        };
        let text = read_short(&path).map_err(io_error(&path))?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if record.version > VERSION {
            return Err(damaged(format!(
                "it has version {}, from a newer hpcvm",
                record.version
            )));
        }
        Ok(record)
    }

    /// Keeps how a task ended.
    pub fn keep_status(&self, status: &TaskStatus) -> Result<(), RecordError> {
        let folder = self.path.join("status");
        durable::create_private_folder(&folder)?;
        let text = serde_json::to_string(status).expect("a status has strings for keys");
        let path = folder.join(format!("{}.json", status.task));
        Ok(durable::write_private(&path, text.as_bytes())?)
    }

    /// How the tasks ended that have ended, by task; what cannot be read counts as not ended.
    pub fn statuses(&self) -> Result<Vec<TaskStatus>, RecordError> {
        let folder = self.path.join("status");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error(&folder))?,
        };
        let mut statuses: Vec<TaskStatus> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| read_short(&entry.path()).ok())
            .filter_map(|text| serde_json::from_slice(&text).ok())
            .collect();
        statuses.sort_by_key(|status| status.task);
        Ok(statuses)
    }

    /// Counts one more try of `task` and returns how many were counted before.
    pub fn count_try(&self, task: u32) -> Result<u32, RecordError> {
        let folder = self.path.join("tries");
        durable::create_private_folder(&folder)?;
        let path = folder.join(task.to_string());
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io_error(&path))?;
        let before = file.metadata().map_err(io_error(&path))?.len();
        file.write_all(b"x").map_err(io_error(&path))?;
        Ok(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// Keeps the job number that `task` has for itself.
    pub fn keep_number(&self, task: u32, number: &JobId) -> Result<(), RecordError> {
        let folder = self.path.join("numbers");
        durable::create_private_folder(&folder)?;
        Ok(durable::write_private(
            &folder.join(task.to_string()),
            number.as_str().as_bytes(),
        )?)
    }

    /// The tasks that have job numbers for themselves, by number; what cannot be read is left out.
    pub fn numbers(&self) -> Result<BTreeMap<JobId, u32>, RecordError> {
        let folder = self.path.join("numbers");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(io_error(&folder))?,
        };
        let number = |entry: fs::DirEntry| {
            let task = entry.file_name().to_str()?.parse().ok()?;
            let text = String::from_utf8(read_short(&entry.path()).ok()?).ok()?;
            Some((JobId::new(&text)?, task))
        };
        Ok(entries.filter_map(Result::ok).filter_map(number).collect())
    }

    /// Notes that the user deleted the job, or one task of it.
    pub fn note_deleted(&self, task: Option<u32>) -> Result<(), RecordError> {
        let path = self.path.join("deleted");
        let line = task.map_or_else(|| "all\n".to_owned(), |task| format!("{task}\n"));
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io_error(&path))?;
        file.write_all(line.as_bytes()).map_err(io_error(&path))
    }

    /// How many tasks of `count` the user deleted.
    pub fn deleted(&self, count: u64) -> Result<u64, RecordError> {
        let path = self.path.join("deleted");
        let text = match read_short(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            text => text.map_err(io_error(&path))?,
        };
        let text = String::from_utf8_lossy(&text);
        let tasks: BTreeSet<&str> = text.lines().collect();
        Ok(if tasks.contains("all") {
            count
        } else {
            tasks.len() as u64
        })
    }

    /// Removes it: nothing was submitted.
    pub fn discard(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the folder of a job that was not submitted stays");
        }
    }
}

impl Record {
    /// A record of this version.
    #[must_use]
    pub const fn version() -> u32 {
        VERSION
    }

    /// How many tasks the job has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tasks.as_ref().map_or(1, Tasks::count)
    }
}

fn read_short(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

/// The links to all of a user's job folders.
#[derive(Clone, Debug)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// The registry below hpcvm's state folder; nothing is touched.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        Self {
            folder: state.join("jobs"),
        }
    }

    /// Adds a job. A link of the same name is an older job's: schedulers begin anew at 1.
    pub fn add(&self, record: &Record, folder: &JobFolder) -> Result<(), RecordError> {
        durable::create_private_folder(&self.folder)?;
        let link = self.folder.join(format!("{}-{}", record.scheduler, record.job));
        let link_error = io_error(&link);
        let linked = match symlink(folder.path(), &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&link).and_then(|()| symlink(folder.path(), &link))
            }
            linked => linked,
        };
        linked.map_err(link_error)
    }

    /// All jobs whose folders are still there, by scheduler and number.
    pub fn jobs(&self) -> Result<Vec<(Record, JobFolder)>, RecordError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error(&self.folder))?,
        };
        let mut jobs = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let link = entry.path();
            let Ok(path) = fs::read_link(&link) else { continue };
            let folder = JobFolder { path };
            match folder.record() {
                Ok(record) => jobs.push((record, folder)),
                // Who removes a job's folder wants to hear no more of the job.
                Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    fs::remove_file(&link).map_err(io_error(&link))?;
                }
                Err(error) => tracing::warn!(%error, "a job is left out"),
            }
        }
        jobs.sort_by_key(|(record, _)| (record.scheduler, number(&record.job)));
        Ok(jobs)
    }

    /// The one job of this number, of `kind` where it is given.
    pub fn find(&self, job: &str, kind: Option<Kind>) -> Result<(Record, JobFolder), RecordError> {
        let mut found = self.jobs()?;
        found.retain(|(record, _)| record.job.as_str() == job && kind.is_none_or(|kind| kind == record.scheduler));
        match found.len() {
            0 => Err(RecordError::NotFound { job: job.to_owned() }),
            1 => Ok(found.remove(0)),
            _ => Err(RecordError::Ambiguous {
                job: job.to_owned(),
                kinds: found.iter().map(|(record, _)| record.scheduler.to_string()).collect(),
            }),
        }
    }
}

/// Orders numbers as numbers.
fn number(job: &JobId) -> (u64, String) {
    (job.as_str().parse().unwrap_or(u64::MAX), job.to_string())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
