//! A job's own process: starts its tasks as slots come free, and ends when they have.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::store::{LocalJob, LocalState, Queue, QueueError, io_error, locked_now, read_json, write_json};
use super::tokens::Tokens;
use crate::exec::{Host, Invocation};
use crate::scheduler::tasks::Tasks;

/// How long a free slot may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// What reaches a job's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The whole job is to end.
    All,
    /// The job's folder says what is to end.
    AsWritten,
    /// This task has ended; only the process itself says so.
    Ended(u32),
}

/// A task that runs, with its slots.
struct Running {
    task: u32,
    pid: Pid,
    deadline: Option<Instant>,
    _slots: Vec<File>,
}

struct Runner<'a> {
    host: &'a Host,
    queue: &'a Queue,
    job: LocalJob,
    variables: &'a [(OsString, OsString)],
    tokens: Tokens,
    next: u64,
    running: Vec<Running>,
    deleted: bool,
    tell: Sender<Deletion>,
}

/// Runs all tasks of job `number`, and removes it from the queue. `tell` is the other end of
/// `messages`; tasks get `variables` besides their own.
pub fn serve(
    host: &Host,
    queue: &Queue,
    number: u64,
    variables: &[(OsString, OsString)],
    (tell, messages): (Sender<Deletion>, Receiver<Deletion>),
) -> Result<(), QueueError> {
    let folder = queue.job_folder(number);
    let Some(_lock) = locked_now(&folder.join("lock"))? else {
        return Ok(());
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut runner = Runner {
        job: queue.job(number)?,
        tokens: Tokens::new(queue.slots_folder(), u32::try_from(processors).unwrap_or(u32::MAX))?,
        host,
        queue,
        variables,
        next: 0,
        running: Vec::new(),
        deleted: false,
        tell,
    };
    runner.run(&messages)?;
    fs::remove_dir_all(&folder).map_err(io_error(&folder))
}

impl Runner<'_> {
    fn run(&mut self, messages: &Receiver<Deletion>) -> Result<(), QueueError> {
        self.note()?;
        loop {
            self.start_what_fits()?;
            if self.running.is_empty() && self.is_exhausted() {
                return Ok(());
            }
            match messages.recv_timeout(PATIENCE) {
                Ok(Deletion::Ended(task)) => {
                    self.running.retain(|running| running.task != task);
                    self.note()?;
                }
                Ok(Deletion::All) => self.delete_all(),
                Ok(Deletion::AsWritten) => self.delete_as_written(),
                Err(RecvTimeoutError::Timeout) => self.end_what_is_late(),
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        self.deleted || self.next >= self.job.tasks.as_ref().map_or(1, Tasks::count)
    }

    fn start_what_fits(&mut self) -> Result<(), QueueError> {
        let limit = self
            .job
            .tasks
            .as_ref()
            .and_then(|tasks| tasks.limit)
            .unwrap_or(u32::MAX);
        while !self.is_exhausted() && self.running.len() < limit as usize {
            let task = self
                .job
                .tasks
                .as_ref()
                .map_or(Some(1), |tasks| tasks.nth(self.next))
                .unwrap_or_default();
            if self.folder().join(format!("delete-{task}")).exists() {
                self.next += 1;
                continue;
            }
            let Some(slots) = self.tokens.take(self.job.slots)? else {
                return Ok(());
            };
            self.start(task, slots)?;
            self.next += 1;
            self.note()?;
        }
        Ok(())
    }

    fn start(&mut self, task: u32, slots: Vec<File>) -> Result<(), QueueError> {
        let suffix = self.job.tasks.as_ref().map_or(String::new(), |_| format!(".{task}"));
        let open = |kind: char| {
            let name = format!("{}.{kind}{}{suffix}", self.job.name, self.job.job);
            let path = self.job.folder.path().join(name);
            File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(io_error(&path))
        };
        let mut invocation = Invocation::new("sh")
            .arg(&self.job.wrapper.0)
            .current_dir(self.job.folder.path())
            .env("HPCVM_LOCAL_JOB", self.job.job.to_string())
            .env("HPCVM_LOCAL_SLOTS", self.job.slots.to_string());
        if self.job.tasks.is_some() {
            invocation = invocation.env("HPCVM_LOCAL_TASK", task.to_string());
        }
        for (name, value) in self.variables {
            invocation = invocation.env(name, value);
        }
        let mut child = self.host.spawn_background(&invocation, open('o')?, open('e')?)?;
        self.running.push(Running {
            task,
            pid: Pid::from_child(&child),
            deadline: self
                .job
                .time
                .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            _slots: slots,
        });
        let tell = self.tell.clone();
        thread::spawn(move || wait(&mut child, task, &tell));
        Ok(())
    }

    fn delete_all(&mut self) {
        self.deleted = true;
        for running in &self.running {
            end(running.pid);
        }
    }

    fn delete_as_written(&mut self) {
        if self.folder().join("delete").exists() {
            return self.delete_all();
        }
        for running in &self.running {
            if self.folder().join(format!("delete-{}", running.task)).exists() {
                end(running.pid);
            }
        }
    }

    fn end_what_is_late(&mut self) {
        let now = Instant::now();
        for running in &mut self.running {
            if running.deadline.is_some_and(|deadline| deadline <= now) {
                running.deadline = None;
                end(running.pid);
            }
        }
    }

    fn note(&self) -> Result<(), QueueError> {
        let state = LocalState {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            next: self.next,
            running: self.running.iter().map(|running| running.task).collect(),
        };
        write_json(&self.folder().join("state.json"), &state)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.queue.job_folder(self.job.job)
    }
}

fn wait(child: &mut Child, task: u32, tell: &Sender<Deletion>) {
    // Whatever its status: the task told its own end.
    child.wait().ok();
    tell.send(Deletion::Ended(task)).ok();
}

/// Tells a task to end. Its number stays its own until it is waited for, just before it is
/// forgotten here; the only failure is one that ended this moment.
fn end(pid: Pid) {
    kill_process(pid, Signal::TERM).ok();
}

impl Queue {
    /// Deletes a job, or one task of it.
    pub fn delete(&self, number: u64, task: Option<u32>) -> Result<(), QueueError> {
        let job = self.job(number)?;
        let folder = self.job_folder(number);
        if job.held && task.is_none() {
            return fs::remove_dir_all(&folder).map_err(io_error(&folder));
        }
        let name = task.map_or("delete".to_owned(), |task| format!("delete-{task}"));
        touch(&folder.join(name))?;
        if self.is_served(number)?
            && let Some(state) = read_json::<LocalState>(&folder.join("state.json"))?
            && let Some(pid) = Pid::from_raw(state.pid)
        {
            // The lock is held, so the process is the one that wrote its number.
            kill_process(pid, Signal::USR1).map_err(|error| io_error(&folder)(error.into()))?;
        }
        Ok(())
    }

    /// Lets a held job go.
    pub fn release(&self, number: u64) -> Result<(), QueueError> {
        let mut job = self.job(number)?;
        job.held = false;
        write_json(&self.job_folder(number).join("job.json"), &job)
    }
}

fn touch(path: &Path) -> Result<(), QueueError> {
    File::create(path).map(drop).map_err(io_error(path))
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
