//! Job scripts with option lines of their own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::interface::Scheduler;
use super::kind::Kind;
use super::options::{Concern, Given, last_about};
use super::words::split;
use crate::diagnostic::{Blame, Problem};

/// Longer scripts are something else: schedulers have limits of this order too.
const LIMIT: u64 = 4 << 20;

/// A job script as it was when it was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobScript {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The program and arguments that run it, before its path.
    pub interpreter: Vec<String>,
    /// Its option lines.
    pub options: Vec<Given>,
}

/// A job script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error("cannot read the job script {}: {source}", path.display())]
    Unreadable {
        /// The script.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no script.
    #[error("{} is no job script: {why}", path.display())]
    NoScript {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// An option line cannot be read.
    #[error("{}:{line}: the option line for {kind} cannot be read: {why}", path.display())]
    Options {
        /// The script.
        path: PathBuf,
        /// The line's number.
        line: usize,
        /// Whose option line it is.
        kind: Kind,
        /// What is wrong with it.
        why: String,
    },
}

impl Problem for ScriptError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "HV5050",
            Self::NoScript { .. } => "HV5051",
            Self::Options { .. } => "HV5052",
        }
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } => {
                Some("a command of the image goes after --, as in: hpcvm submit IMAGE -- COMMAND".to_owned())
            }
            Self::NoScript { .. } => {
                Some("start programs of the shared folder after --, as in: hpcvm submit IMAGE -- ./program".to_owned())
            }
            Self::Options { .. } => None,
        }
    }
}

impl JobScript {
    /// Reads the script at `path` and its option lines for `scheduler`.
    pub fn read(path: &Path, scheduler: &dyn Scheduler) -> Result<Self, ScriptError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
            .map_err(|source| ScriptError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        Self::from_bytes(bytes, path, scheduler)
    }

    /// Reads a script's bytes; `path` is for messages.
    pub fn from_bytes(bytes: Vec<u8>, path: &Path, scheduler: &dyn Scheduler) -> Result<Self, ScriptError> {
        let no_script = |why| ScriptError::NoScript {
            path: path.to_owned(),
            why,
        };
        if bytes.len() as u64 > LIMIT {
            return Err(no_script("it is longer than 4 MiB"));
        }
        if bytes.contains(&0) {
            return Err(no_script("it holds NUL bytes"));
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut options = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Slurm, PBS and LSF hear nothing after the first command; for Grid Engine any line
            // will do, and a script that relies on it would surprise its own author elsewhere.
            let is_comment = line.trim().is_empty() || line.trim_start().starts_with('#');
            if !is_comment && scheduler.kind() != Kind::GridEngine {
                break;
            }
            let Some(rest) = scheduler.directive().and_then(|prefix| line.strip_prefix(prefix)) else {
                continue;
            };
            // `#$foo` and `#SBATCHED` are comments.
            if !rest.starts_with(char::is_whitespace) {
                continue;
            }
            let given = scheduler.read_options(rest).map_err(|why| ScriptError::Options {
                path: path.to_owned(),
                line: index + 1,
                kind: scheduler.kind(),
                why,
            })?;
            options.extend(given);
        }
        let interpreter = interpreter(&text, &options);
        Ok(Self {
            bytes,
            interpreter,
            options,
        })
    }
}

/// The shell that the option lines name, or else the first line, or else `/bin/sh`.
fn interpreter(text: &str, options: &[Given]) -> Vec<String> {
    let named = last_about(options, Concern::Shell).map(str::to_owned);
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!"));
    let line = named.or(first.map(str::to_owned)).unwrap_or_default();
    let words: Vec<String> = split(&line)
        .unwrap_or_default()
        .into_iter()
        .map(|word| word.text)
        .collect();
    if words.is_empty() {
        vec!["/bin/sh".to_owned()]
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Result<JobScript, ScriptError> {
        JobScript::from_bytes(text.into(), Path::new("job.sh"), kind.scheduler())
    }

    #[test]
    fn option_lines_of_the_scheduler_are_heard_and_no_others() {
        let text = "#!/bin/bash -e\n#$ -t 1-8 -N sim\n#SBATCH --array=1-4\n#PBS -t 1-2\n#BSUB -J \"x[1-3]\"\n#$x\n\
                    #SBATCHED\n# comment\n\necho hi\n#SBATCH --time=9\n#$ -tc 2\n";
        for (kind, tasks, count) in [
            (Kind::GridEngine, "1-8", 3),
            (Kind::Slurm, "1-4", 1),
            (Kind::Pbs, "1-2", 1),
            (Kind::Lsf, "1-3", 1),
        ] {
            let script = read(kind, text).unwrap();
            assert_eq!(last_about(&script.options, Concern::Tasks), Some(tasks), "{kind}");
            assert_eq!(script.options.len(), count, "{kind}");
            assert_eq!(script.interpreter, ["/bin/bash", "-e"], "{kind}");
        }
    }

    #[test]
    fn the_named_shell_comes_before_the_first_line() {
        assert_eq!(
            read(Kind::GridEngine, "#!/bin/sh\n#$ -S /bin/bash\n")
                .unwrap()
                .interpreter,
            ["/bin/bash"]
        );
        assert_eq!(read(Kind::GridEngine, "echo\n").unwrap().interpreter, ["/bin/sh"]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_place() {
        let error = read(Kind::Slurm, "#!/bin/sh\n\n#SBATCH --comment='open\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "job.sh:3: the option line for slurm cannot be read: a quote is not closed"
        );
        assert_eq!(read(Kind::Slurm, "\x7fELF\0").unwrap_err().code(), "HV5051");
    }
}
