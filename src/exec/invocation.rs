//! What to start, and what came of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::tools::debian_package;
use crate::diagnostic::{Blame, Problem};

/// A program with its arguments and what it gets around them.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) folder: Option<PathBuf>,
    pub(super) small_pages: bool,
}

impl Invocation {
    /// Starts `program`, found on `PATH` unless it holds a slash.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            small_pages: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments in order.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Keeps huge pages from a program that is started tethered (prctl(2), `PR_SET_THP_DISABLE`).
    #[must_use]
    pub const fn small_pages(mut self, small: bool) -> Self {
        self.small_pages = small;
        self
    }

    /// The program as named.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments in order.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }
}

impl fmt::Display for Invocation {
    /// A line that a shell would run the same way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{}={} ", name.to_string_lossy(), quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

/// `word` quoted for a POSIX shell, only where it needs to be.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A program that ended well.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    /// Its standard output (empty for [`super::Runner::drain`], whose reader had it).
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Completed {
    /// Standard output as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A program could not be started or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It is not installed.
    #[error("{program} is not installed")]
    NotFound {
        /// The program as named.
        program: String,
    },
    /// The operating system did not start it.
    #[error("cannot start {command}: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("{command}\n  failed with {status}{}", said(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
    /// Its input could not be written or its output not read.
    #[error("while talking to {command}: {source}")]
    Pipe {
        /// The command line.
        command: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// What a program said on standard error, indented below the failure.
fn said(stderr: &str) -> String {
    stderr.lines().fold(String::new(), |text, line| text + "\n  | " + line)
}

impl Problem for ExecError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "HV1001",
            Self::Start { .. } => "HV1002",
            Self::Failed { .. } => "HV1003",
            Self::Pipe { .. } => "HV1004",
        }
    }

    fn blame(&self) -> Blame {
        Blame::Host
    }

    fn help(&self) -> Option<String> {
        let Self::NotFound { program } = self else { return None };
        Some(match debian_package(program) {
            Some(package) => format!("install it: apt-get install {package}"),
            None => format!("install {program}, or put it on PATH"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let line = Invocation::new("mkfs.vfat")
            .args(["-n", "HPC VM", "it's", ""])
            .env("A", "b c")
            .to_string();
        assert_eq!(line, r"A='b c' mkfs.vfat -n 'HPC VM' 'it'\''s' ''");
    }
}
