//! The queue's folder.
//!
//! ```text
//! QUEUE/lock           held while a number is given
//! QUEUE/next           the next job's number
//! QUEUE/slots/N        held by the job that uses slot N; `all` while slots are taken
//! QUEUE/jobs/JOB/      gone when the job is
//!   job.json           what it is
//!   state.json         how far it is, written by its process
//!   lock               held by its process
//!   delete, delete-N   it, or task N of it, is to be deleted
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Blame, Problem};
use crate::durable::{self, WriteError};
use crate::exec::ExecError;
use crate::scheduler::job_text::JobText;
use crate::scheduler::kind::Kind;
use crate::scheduler::options::{Concern, last_about};
use crate::scheduler::script::{JobScript, ScriptError};
use crate::scheduler::tasks::Tasks;

/// The queue of one user on one machine.
#[derive(Clone, Debug)]
pub struct Queue {
    folder: PathBuf,
}

/// A job as it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalJob {
    /// Its number.
    pub job: u64,
    /// Its name.
    pub name: String,
    /// The wrapper, which is read when each task starts.
    pub wrapper: JobText,
    /// The folder that it was submitted from, where its output goes.
    pub folder: JobText,
    /// The array's tasks.
    pub tasks: Option<Tasks>,
    /// Slots that each task takes.
    pub slots: u32,
    /// Seconds after which a task is told to end.
    pub time: Option<u64>,
    /// Whether it waits until it is released.
    pub held: bool,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LocalState {
    /// The job's process.
    pub(super) pid: i32,
    /// The place in the array of the first task that was not started.
    pub(super) next: u64,
    /// Tasks that run.
    pub(super) running: Vec<u32>,
}

/// The queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no such job.
    #[error("the local queue has no job {0}")]
    NoJob(String),
    /// A file of the queue could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of the queue is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The wrapper cannot be used.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A program could not be started.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Problem for QueueError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoJob(_) => "HV5080",
            Self::Io { .. } => "HV5081",
            Self::Damaged { .. } => "HV5082",
            Self::Script(error) => error.code(),
            Self::Write(error) => error.code(),
            Self::Exec(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NoJob(_) => Blame::User,
            Self::Io { .. } | Self::Damaged { .. } => Blame::Host,
            Self::Script(error) => error.blame(),
            Self::Write(error) => error.blame(),
            Self::Exec(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoJob(_) => Some("it may have ended: hpcvm ps tells".to_owned()),
            Self::Damaged { path, .. } => Some(format!("remove {}", path.display())),
            Self::Io { .. } => None,
            Self::Script(error) => error.help(),
            Self::Write(error) => error.help(),
            Self::Exec(error) => error.help(),
        }
    }
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> QueueError + use<> {
    let path = path.to_owned();
    move |source| QueueError::Io { path, source }
}

impl Queue {
    /// The queue below hpcvm's state folder; nothing is touched.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        Self {
            folder: state.join("local"),
        }
    }

    /// Takes the wrapper at `path`, submitted from `folder`.
    pub fn add(&self, path: &Path, folder: &Path, held: bool) -> Result<LocalJob, QueueError> {
        let script = JobScript::read(path, Kind::Local.scheduler())?;
        let about = |concern| last_about(&script.options, concern);
        let damaged = |why: String| QueueError::Damaged {
            path: path.to_owned(),
            why,
        };
        let tasks = about(Concern::Tasks).map(str::parse).transpose();
        let job = LocalJob {
            job: self.next_number()?,
            name: about(Concern::Name).unwrap_or("hpcvm").to_owned(),
            wrapper: JobText::from(path),
            folder: JobText::from(folder),
            tasks: tasks.map_err(|error: crate::scheduler::InvalidTasks| damaged(error.to_string()))?,
            slots: about(Concern::Slots).and_then(|slots| slots.parse().ok()).unwrap_or(1),
            time: about(Concern::Time)
                .and_then(|time| Kind::Local.scheduler().read_time(time))
                .map(|time| time.as_secs()),
            held,
        };
        let own = self.job_folder(job.job);
        durable::create_private_folder(&own)?;
        write_json(&own.join("job.json"), &job)?;
        Ok(job)
    }

    /// The job of this number.
    pub fn job(&self, number: u64) -> Result<LocalJob, QueueError> {
        read_json(&self.job_folder(number).join("job.json"))?.ok_or_else(|| QueueError::NoJob(number.to_string()))
    }

    /// All jobs that have not ended, each with its lines `JOB TASKS STATE`.
    pub fn list(&self) -> Result<String, QueueError> {
        let mut lines = Vec::new();
        for number in self.numbers()? {
            let Some(job) = read_json::<LocalJob>(&self.job_folder(number).join("job.json"))? else {
                continue;
            };
            if job.held {
                let tasks = job.tasks.as_ref().map_or("-".to_owned(), Tasks::without_limit);
                lines.push(format!("{number} {tasks} held\n"));
            } else if self.is_served(number)? {
                lines.extend(self.lines(&job)?);
            }
        }
        Ok(lines.concat())
    }

    fn lines(&self, job: &LocalJob) -> Result<Vec<String>, QueueError> {
        let state: LocalState = read_json(&self.job_folder(job.job).join("state.json"))?.unwrap_or_default();
        let number = job.job;
        let Some(tasks) = &job.tasks else {
            let is_waiting = state.running.is_empty();
            let word = if is_waiting { "waiting" } else { "running" };
            return Ok(vec![format!("{number} - {word}\n")]);
        };
        let running = state.running.iter().map(|task| format!("{number} {task} running\n"));
        let rest = tasks.from_place(state.next);
        let waiting = rest.map(|rest| format!("{number} {} waiting\n", rest.without_limit()));
        Ok(running.chain(waiting).collect())
    }

    fn numbers(&self) -> Result<Vec<u64>, QueueError> {
        let jobs = self.folder.join("jobs");
        let entries = match fs::read_dir(&jobs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error(&jobs))?,
        };
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Whether a job's process lives: the kernel lets go of its lock with it, however it ends.
    pub(super) fn is_served(&self, number: u64) -> Result<bool, QueueError> {
        let path = self.job_folder(number).join("lock");
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(io_error(&path))?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(io_error(&path)(error.into())),
        }
    }

    pub(super) fn job_folder(&self, number: u64) -> PathBuf {
        self.folder.join("jobs").join(number.to_string())
    }

    pub(super) fn slots_folder(&self) -> PathBuf {
        self.folder.join("slots")
    }

    fn next_number(&self) -> Result<u64, QueueError> {
        durable::create_private_folder(&self.folder)?;
        let _lock = locked(&self.folder.join("lock"))?;
        let path = self.folder.join("next");
        let number: u64 = read_json(&path)?.unwrap_or(1);
        write_json(&path, &(number + 1))?;
        Ok(number)
    }
}

/// The file at `path`, made where it is missing, once nobody else holds it.
pub(super) fn locked(path: &Path) -> Result<File, QueueError> {
    let file = lock_file(path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| io_error(path)(error.into()))?;
    Ok(file)
}

/// The file at `path`, if nobody else holds it.
pub(super) fn locked_now(path: &Path) -> Result<Option<File>, QueueError> {
    let file = lock_file(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(io_error(path)(error.into())),
    }
}

fn lock_file(path: &Path) -> Result<File, QueueError> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(io_error(path))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), QueueError> {
    let text = serde_json::to_vec(value).expect("the queue's files have strings for keys");
    Ok(durable::write_private(path, &text)?)
}

/// What the file at `path` holds; `None` where there is none.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, QueueError> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(1 << 20).read_to_end(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io_error(path))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| QueueError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        })
}
