//! Talks to a scheduler by its own commands.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use super::error::SchedulerError;
use super::interface::{Again, Call, JobId, Scheduler};
use super::kind::Kind;
use super::state::Entry;
use crate::exec::{Completed, ExecError, Invocation, Runner};

/// A scheduler's commands, and what starts them.
pub struct Client<'a> {
    scheduler: &'static dyn Scheduler,
    runner: &'a dyn Runner,
    environment: Vec<(OsString, OsString)>,
}

impl std::fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("scheduler", &self.scheduler)
            .finish_non_exhaustive()
    }
}

/// Variables that commands of any scheduler may read: who the user is, and in which time zone a
/// time on an option line is meant.
const COMMON: [&str; 4] = ["USER", "LOGNAME", "SHELL", "TZ"];

impl<'a> Client<'a> {
    /// Commands of `kind`, which see those of `variables` that are meant for it.
    pub fn new(kind: Kind, runner: &'a dyn Runner, variables: &[(OsString, OsString)]) -> Self {
        let scheduler = kind.scheduler();
        let prefixes = scheduler.signs().prefixes;
        let is_meant = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| COMMON.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix)))
        };
        let mut environment: Vec<_> = variables.iter().filter(|(name, _)| is_meant(name)).cloned().collect();
        if !environment.iter().any(|(name, _)| name == "TZ") {
            environment.push(("TZ".into(), ":/etc/localtime".into()));
        }
        environment.sort();
        Self {
            scheduler,
            runner,
            environment,
        }
    }

    /// Submits the wrapper at `path` from `folder`.
    pub fn submit(&self, path: &Path, hold: bool, folder: &Path) -> Result<JobId, SchedulerError> {
        let Call {
            invocation,
            reads_wrapper,
        } = self.scheduler.submit(path, hold);
        let invocation = self.with_environment(invocation).current_dir(folder);
        let answer = if reads_wrapper {
            self.runner.feed(&invocation, &mut |stdin| {
                io::copy(&mut File::open(path)?, stdin).map(drop)
            })
        } else {
            self.runner.run(&invocation)
        };
        let answer = answer.map_err(|error| self.failed("take the job", error))?;
        self.scheduler
            .submitted(&answer.text())
            .ok_or_else(|| SchedulerError::Answer {
                kind: self.scheduler.kind(),
                command: invocation.program().to_string_lossy().into_owned(),
                why: format!("it names no job: '{}'", all_words(&answer)),
            })
    }

    /// The user's jobs, by one command; by a second where that does not know the words of the first.
    pub fn states(&self, uid: u32, user: &str) -> Result<Vec<Entry>, SchedulerError> {
        let mut invocation = self.with_environment(self.scheduler.query(uid, user));
        let mut answer = self.list(&invocation);
        if let (Err(ExecError::Failed { stderr, .. }), Some(older)) = (&answer, self.scheduler.query_in_older_words())
            && !self.scheduler.is_down(stderr)
        {
            invocation = self.with_environment(older);
            answer = self.list(&invocation);
        }
        let answer = answer.map_err(|error| self.failed("list the jobs", error))?;
        self.scheduler
            .read_states(&answer.text())
            .map_err(|why| SchedulerError::Answer {
                kind: self.scheduler.kind(),
                command: invocation.program().to_string_lossy().into_owned(),
                why,
            })
    }

    /// Runs a command that lists jobs, of which there may be none.
    fn list(&self, invocation: &Invocation) -> Result<Completed, ExecError> {
        match self.runner.run(invocation) {
            Err(ExecError::Failed { status, .. })
                if status.code().is_some_and(|code| self.scheduler.is_nothing(code)) =>
            {
                Ok(Completed::default())
            }
            answer => answer,
        }
    }

    /// The command by which a task that is to be tried again is kept from the node that failed it, if there
    /// is one; an error tells in words why it cannot be done.
    pub fn avoid(&self, again: &Again<'_>) -> Result<Option<Invocation>, String> {
        self.scheduler.avoid(again, &mut |invocation| self.ask(&invocation))
    }

    /// Runs one of the scheduler's commands and returns what it printed, or its complaint.
    pub fn ask(&self, invocation: &Invocation) -> Result<String, String> {
        let run = |invocation: &Invocation| self.runner.run(&self.with_environment(invocation.clone()));
        let mut answer = run(invocation);
        // Grid Engine tells its jobs where its commands are, and does not put them on PATH.
        let folder = self.environment.iter().find(|(name, _)| name == "SGE_BINARY_PATH");
        if let (Err(ExecError::NotFound { .. }), Some((_, folder))) = (&answer, folder) {
            let path = Path::new(folder).join(invocation.program());
            answer = run(&Invocation::new(path).args(invocation.arguments()));
        }
        answer.map(|answer| answer.text()).map_err(|error| match error {
            ExecError::Failed { stderr, .. } => one_line(&stderr),
            error => one_line(&error.to_string()),
        })
    }

    /// Deletes a job or one task of it.
    pub fn delete(&self, job: &JobId, task: Option<u32>) -> Result<(), SchedulerError> {
        let invocation = self.with_environment(self.scheduler.delete(job, task));
        self.runner
            .run(&invocation)
            .map(drop)
            .map_err(|error| self.failed("delete the job", error))
    }

    fn with_environment(&self, invocation: Invocation) -> Invocation {
        self.environment
            .iter()
            .fold(invocation, |invocation, (name, value)| invocation.env(name, value))
    }

    /// What a failed command means, with its own words.
    fn failed(&self, what: &'static str, error: ExecError) -> SchedulerError {
        let kind = self.scheduler.kind();
        match error {
            ExecError::NotFound { program } => SchedulerError::NotFound { kind, program },
            ExecError::Failed { stderr, .. } if self.scheduler.is_down(&stderr) => {
                SchedulerError::Down { kind, said: stderr }
            }
            ExecError::Failed { stderr, status, .. } => SchedulerError::Refused {
                kind,
                what,
                said: if stderr.trim().is_empty() {
                    status.to_string()
                } else {
                    stderr
                },
            },
            error => SchedulerError::Exec(error),
        }
    }
}

/// What a command said, on one line.
fn all_words(answer: &Completed) -> String {
    let stderr = String::from_utf8_lossy(&answer.stderr);
    one_line(&[answer.text().as_str(), &stderr].join(" "))
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(500).collect()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
