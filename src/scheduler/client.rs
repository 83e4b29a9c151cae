//! Talks to a scheduler by its own commands.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use super::error::SchedulerError;
use super::interface::{Call, JobId, Scheduler};
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

    /// The user's jobs, by one command.
    pub fn states(&self, uid: u32, user: &str) -> Result<Vec<Entry>, SchedulerError> {
        let invocation = self.with_environment(self.scheduler.query(uid, user));
        let answer = self
            .runner
            .run(&invocation)
            .map_err(|error| self.failed("list the jobs", error))?;
        self.scheduler
            .read_states(&answer.text())
            .map_err(|why| SchedulerError::Answer {
                kind: self.scheduler.kind(),
                command: invocation.program().to_string_lossy().into_owned(),
                why,
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
    let text = [answer.text().as_str(), &stderr].join(" ");
    let text: Vec<&str> = text.split_whitespace().collect();
    text.join(" ").chars().take(500).collect()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
