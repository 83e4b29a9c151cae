//! What every scheduler must be able to say of itself.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::avoid::Ask;
use super::kind::Kind;
use super::options::Given;
use super::slot::SlotNames;
use super::state::Entry;
use super::tasks::Tasks;
use super::words::quoted_for_sh;
use crate::exec::Invocation;

/// A scheduler's dialect. Nothing here starts a program or reads the environment.
pub trait Scheduler: fmt::Debug + Send + Sync {
    /// Which one it is.
    fn kind(&self) -> Kind;

    /// How a host shows that it has this scheduler.
    fn signs(&self) -> Signs;

    /// What lines of a job script begin with that are options, such as `#SBATCH`.
    fn directive(&self) -> Option<&'static str>;

    /// Reads one line of options; what cannot be read is told in words.
    fn read_options(&self, line: &str) -> Result<Vec<Given>, String>;

    /// The wrapper's built-in template.
    fn template(&self) -> &'static str;

    /// Why it cannot have this array, if it cannot.
    fn refuses(&self, tasks: &Tasks) -> Option<&'static str>;

    /// Reads a time as its options write it.
    fn read_time(&self, text: &str) -> Option<Duration>;

    /// The command line in the wrapper that starts the launcher; `None` if it cannot be written there.
    fn launch_line(&self, words: &[&OsStr]) -> Option<Vec<u8>> {
        let quoted: Vec<Vec<u8>> = words.iter().map(|word| quoted_for_sh(word)).collect();
        Some(quoted.join(&b' '))
    }

    /// Submits the wrapper at this path.
    fn submit(&self, wrapper: &Path, hold: bool) -> Call;

    /// The job that a submission's answer names.
    fn submitted(&self, answer: &str) -> Option<JobId>;

    /// Asks once for all jobs of the user with this numeric identity and name.
    fn query(&self, uid: u32, user: &str) -> Invocation;

    /// Reads the answer to [`query`](Self::query); what cannot be read is told in words.
    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String>;

    /// Deletes a job or one task of it.
    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation;

    /// Where a job slot finds out what it is.
    fn slot(&self) -> SlotNames;

    /// What a signal means that reaches the launcher in the slot.
    fn meaning(&self, signal: i32) -> Meaning;

    /// How a slot asks to be tried again on another node.
    fn retry(&self) -> Retry;

    /// The command by which a task that is to be tried again is kept from the node that failed it: for
    /// [`Retry::Command`] after that, else before. `None` where there is no such command, or none is needed;
    /// an error tells in words why it cannot be done this time.
    fn avoid(&self, _again: &Again<'_>, _ask: &mut Ask<'_>) -> Result<Option<Invocation>, String> {
        Ok(None)
    }

    /// Asks what [`query`](Self::query) asks in older words, for commands that do not know the newer ones.
    fn query_in_older_words(&self) -> Option<Invocation> {
        None
    }

    /// Whether its command for lists ends with this status when there is nothing to list.
    fn is_nothing(&self, _status: i32) -> bool {
        false
    }

    /// Whether these words of a failed command mean that the scheduler itself did not answer.
    fn is_down(&self, words: &str) -> bool;
}

/// The launcher's exit status when the node failed the job: worth another node
/// (`docs/exit-codes.md`).
pub const NODE_FAILED: u8 = 122;

/// How a host shows that it has a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Programs that are all there; the first submits.
    pub programs: &'static [&'static str],
    /// Programs of another scheduler that has commands of the same names.
    pub not: &'static [&'static str],
    /// An environment variable that a site sets for it.
    pub variable: &'static str,
    /// What the names of environment variables begin with that its commands read.
    pub prefixes: &'static [&'static str],
}

/// A command line, and whether the wrapper is its standard input.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to start.
    pub invocation: Invocation,
    /// Whether it reads the wrapper from standard input.
    pub reads_wrapper: bool,
}

impl Call {
    /// A command that finds the wrapper by its path.
    #[must_use]
    pub fn with_path(invocation: Invocation) -> Self {
        Self {
            invocation,
            reads_wrapper: false,
        }
    }
}

/// A job's number, as its scheduler writes it, without tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// A job number of letters, digits, `.`, `_` and `-`: fit for a file name and a command line.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next()?.is_ascii_alphanumeric();
        (begins && text.len() <= 64 && text.bytes().all(fit)).then(|| Self(text.to_owned()))
    }

    /// The digits that `text` begins with.
    #[must_use]
    pub fn leading_digits(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        Self::new(&text[..end])
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for JobId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("'{text}' is not a job number"))
    }
}

impl From<JobId> for String {
    fn from(job: JobId) -> Self {
        job.0
    }
}

/// What a signal means in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job is to end: deleted, or its time is nearly up.
    Stop,
    /// The job is to pause until [`Meaning::Resume`].
    Pause,
    /// The job may go on.
    Resume,
    /// Nothing for the job.
    Nothing,
}

/// How a slot asks to be tried again elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// By ending with this status.
    Exit(u8),
    /// By this command, with the job's number as last argument.
    Command(&'static [&'static str]),
    /// The wrapper asked for it: the status of a failed node is enough.
    Asked,
    /// It cannot.
    Never,
}

/// A task that is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again<'a> {
    /// The job's number.
    pub job: &'a str,
    /// The task's; `None` for a job that is no array.
    pub task: Option<u32>,
    /// The node that failed it, as the scheduler calls it.
    pub node: &'a str,
}

impl Again<'_> {
    /// The task as its scheduler names it, with `joint` between job and task.
    #[must_use]
    pub fn name(&self, joint: char) -> String {
        self.task
            .map_or_else(|| self.job.to_owned(), |task| format!("{}{joint}{task}", self.job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_numbers_are_fit_for_file_names_and_command_lines() {
        for text in ["1", "12.server-1", "job_7"] {
            assert_eq!(JobId::new(text).unwrap().as_str(), text);
        }
        for text in ["", "../x", "-f", "a b", "1;rm", &"1".repeat(65)] {
            assert_eq!(JobId::new(text), None, "{text}");
        }
        assert_eq!(JobId::leading_digits("12;cluster").unwrap().as_str(), "12");
        assert_eq!(JobId::leading_digits("x12"), None);
    }
}
