//! What hpcvm's exit status means. `docs/exit-codes.md` is the user's side of this file.

use std::process::ExitCode;

use crate::diagnostic::Blame;

/// How hpcvm ends.
///
/// hpcvm's own failures are 120 to 125: below what shells and `env` use for programs that cannot
/// be started, above what jobs commonly use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Done,
    /// `check`, `scan`, `verify`, `diff` or `doctor` did its work and found problems or differences.
    Found,
    /// The command line could not be understood.
    Usage,
    /// hpcvm itself failed; whose mistake it was decides the code.
    Failed(Blame),
    /// The job's command was found in the guest but could not be executed.
    NotExecutable,
    /// The job's command was not found in the guest.
    NotFound,
    /// The job was ended by this signal.
    Signal(u8),
    /// The job's own exit status.
    Job(u8),
}

impl Exit {
    /// The status hpcvm exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::Failed(Blame::User) => 120,
            Self::Failed(Blame::Image) => 121,
            Self::Failed(Blame::Host) => 122,
            Self::Failed(Blame::Guest) => 123,
            Self::Failed(Blame::Timeout) => 124,
            Self::Failed(Blame::Internal) => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Signal(number) => 128_u8.saturating_add(number),
            Self::Job(status) => status,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Every fixed exit code with its meaning, in order.
pub const EXIT_CODES: [(Exit, &str); 11] = [
    (Exit::Done, "all went well"),
    (
        Exit::Found,
        "`check`, `scan`, `image verify`, `image diff` or `doctor` did its work and found problems or differences",
    ),
    (Exit::Usage, "the command line could not be understood"),
    (
        Exit::Failed(Blame::User),
        "the user's mistake: a recipe, a job, or arguments that only show at run time",
    ),
    (Exit::Failed(Blame::Image), "the image is missing or damaged"),
    (
        Exit::Failed(Blame::Host),
        "the host lacks a tool, space, memory or a right",
    ),
    (
        Exit::Failed(Blame::Guest),
        "the guest or the hypervisor failed while running",
    ),
    (Exit::Failed(Blame::Timeout), "a time limit ran out"),
    (Exit::Failed(Blame::Internal), "a defect of hpcvm: please report it"),
    (
        Exit::NotExecutable,
        "the job's command was found in the guest but could not be executed",
    ),
    (Exit::NotFound, "the job's command was not found in the guest"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_code_with_its_meaning() {
        let page = include_str!("../../docs/exit-codes.md");
        for (exit, meaning) in EXIT_CODES {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(page.contains(&row), "docs/exit-codes.md lacks the row\n{row}");
        }
    }

    #[test]
    fn codes_are_distinct_and_in_order() {
        let codes: Vec<u8> = EXIT_CODES.iter().map(|(exit, _)| exit.code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }

    #[test]
    fn signals_and_jobs_keep_the_shell_convention() {
        for (exit, code) in [(Exit::Signal(9), 137), (Exit::Signal(255), 255), (Exit::Job(3), 3)] {
            assert_eq!(exit.code(), code);
        }
    }
}
