//! What the measured guests run.

use std::fmt;

use serde::Serialize;

use super::subject::Subject;
use crate::exec::Invocation;

/// What every job prints.
pub const LINE: &str = "hpcvm-bench";

/// A job that prints [`LINE`] and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// The command and its arguments.
    pub command: &'static [&'static str],
    /// Whether it runs in the working directory of who starts it, which is shared with its guest; else nothing is.
    pub cwd_shared: bool,
}

impl Job {
    /// A program in the shared working directory: what `hpcvm run IMAGE -- echo` is.
    pub const ECHO: Self = Self {
        command: &["echo", LINE],
        cwd_shared: true,
    };
    /// A shell with nothing shared: the least that a job can be, as it waits in a template.
    pub const SHELL: Self = Self {
        command: &["sh", "-c", "echo hpcvm-bench"],
        cwd_shared: false,
    };
    /// A program that no template has started, with nothing shared.
    pub const PROGRAM: Self = Self {
        command: &["/bin/echo", LINE],
        cwd_shared: false,
    };

    /// What `subject` runs where this is the job of all that differ in nothing else.
    #[must_use]
    pub const fn of(self, subject: Subject) -> Self {
        match subject {
            Subject::WarmShared => Self {
                cwd_shared: true,
                ..self
            },
            Subject::WarmProgram => Self::PROGRAM,
            _ => self,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, arguments) = self.command.split_first().unwrap_or((&"", &[]));
        let shared = if self.cwd_shared {
            "working directory shared"
        } else {
            "nothing shared"
        };
        write!(f, "{}, {shared}", Invocation::new(program).args(arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_told_as_they_are_typed() {
        for (job, expected) in [
            (Job::ECHO, "echo hpcvm-bench, working directory shared"),
            (Job::SHELL, "sh -c 'echo hpcvm-bench', nothing shared"),
            (Job::PROGRAM, "/bin/echo hpcvm-bench, nothing shared"),
        ] {
            assert_eq!(job.to_string(), expected);
            assert!(job.command.concat().ends_with(LINE), "{job}");
        }
    }

    #[test]
    fn warm_starts_have_the_job_of_what_they_are_compared_with() {
        let other: Vec<String> = Subject::WARM
            .into_iter()
            .filter(|&subject| Job::SHELL.of(subject) != Job::SHELL)
            .map(|subject| format!("{subject}: {}", Job::SHELL.of(subject)))
            .collect();
        let expected = [
            "warm-shared: sh -c 'echo hpcvm-bench', working directory shared",
            "warm-program: /bin/echo hpcvm-bench, nothing shared",
        ];
        assert_eq!(other, expected);
    }
}
