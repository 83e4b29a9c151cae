//! What goes wrong between hpcvm and a scheduler.

use super::kind::Kind;
use crate::diagnostic::{Blame, Problem};
use crate::exec::ExecError;

/// The scheduler could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// Its commands are not on this host.
    #[error("{kind} cannot be used here: {program} is not installed")]
    NotFound {
        /// Which scheduler.
        kind: Kind,
        /// The missing program.
        program: String,
    },
    /// Its commands are there, and it does not answer.
    #[error("{kind} does not answer{}", indented(said))]
    Down {
        /// Which scheduler.
        kind: Kind,
        /// What its command said.
        said: String,
    },
    /// It did not do what it was asked.
    #[error("{kind} refused to {what}{}", indented(said))]
    Refused {
        /// Which scheduler.
        kind: Kind,
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// Its answer is not of a form that is known.
    #[error("the answer of {kind} to {command} cannot be read: {why}")]
    Answer {
        /// Which scheduler.
        kind: Kind,
        /// The command that gave it.
        command: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its command could not be started.
    #[error(transparent)]
    Exec(ExecError),
    /// Options for it that cannot be read.
    #[error("the options '{text}' for {kind} cannot be read: {why}")]
    Options {
        /// Which scheduler.
        kind: Kind,
        /// The options.
        text: String,
        /// What is wrong with them.
        why: String,
    },
    /// Two options for one thing.
    #[error("{ours} and {theirs} both set the same thing")]
    Conflict {
        /// Our option.
        ours: &'static str,
        /// The scheduler's, as it was written.
        theirs: String,
    },
    /// An array it cannot have.
    #[error("{kind} cannot have the tasks {tasks}: {why}")]
    Tasks {
        /// Which scheduler.
        kind: Kind,
        /// The tasks.
        tasks: String,
        /// Why not.
        why: &'static str,
    },
    /// A value that would not be one word on an option line.
    #[error("{option} '{value}': {why}")]
    Value {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The wrapper's template does not work.
    #[error("the wrapper template {template} does not work: {why}")]
    Template {
        /// Its path, or `(built in)`.
        template: String,
        /// What the template engine says.
        why: String,
    },
    /// The launcher's command line cannot be written in this scheduler's wrapper.
    #[error("the path {path} cannot be written in a wrapper for {kind}")]
    Path {
        /// Which scheduler.
        kind: Kind,
        /// The path.
        path: String,
    },
}

/// What a program said, indented below what went wrong.
fn indented(said: &str) -> String {
    said.lines()
        .filter(|line| !line.trim().is_empty())
        .fold(String::new(), |text, line| text + "\n  | " + line)
}

impl Problem for SchedulerError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "HV5001",
            Self::Down { .. } => "HV5002",
            Self::Refused { .. } => "HV5003",
            Self::Answer { .. } => "HV5004",
            Self::Options { .. } => "HV5005",
            Self::Conflict { .. } => "HV5006",
            Self::Tasks { .. } => "HV5007",
            Self::Value { .. } => "HV5008",
            Self::Template { .. } => "HV5009",
            Self::Path { .. } => "HV5010",
            Self::Exec(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. } | Self::Down { .. } | Self::Answer { .. } | Self::Template { .. } => Blame::Host,
            Self::Exec(error) => error.blame(),
            Self::Refused { .. }
            | Self::Options { .. }
            | Self::Conflict { .. }
            | Self::Tasks { .. }
            | Self::Value { .. }
            | Self::Path { .. } => Blame::User,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::NotFound { .. } => {
                "put the scheduler's commands on PATH, name another with --scheduler, or run here with --scheduler local"
            }
            Self::Down { kind, .. } => {
                return Some(format!(
                    "ask whether {kind} is up; {} tells your commands where it is",
                    kind.scheduler().signs().variable
                ));
            }
            Self::Refused { .. } => {
                "`hpcvm wrapper` with the same arguments prints what was submitted; --native passes options of the scheduler"
            }
            Self::Answer { .. } => "send the command's output with a report: this version does not know it",
            Self::Options { .. } => "write them as in a job script: --native '-q long -l arch=lx-amd64'",
            Self::Conflict { .. } => "leave one of them out",
            Self::Tasks { .. } => "write FIRST-LAST, with :STEP or %LIMIT where the scheduler has them",
            Self::Value { .. } => "use letters, digits, '.', '_' and '-'",
            Self::Template { .. } => {
                "mend the site's template, or leave --templates out: then the built-in one is used"
            }
            Self::Path { .. } => "submit from a folder with a plain name, or name one with --job-folder",
            Self::Exec(error) => return error.help(),
        };
        Some(help.to_owned())
    }
}
