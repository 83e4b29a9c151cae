//! Programs that are not started: a list of answers, for tests.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Mutex;

use super::{Completed, ExecError, Invocation, Runner};

/// Answers each invocation with the next of a list, and keeps the command lines it was given.
#[derive(Debug, Default)]
pub struct Scripted {
    answers: Mutex<VecDeque<Result<Completed, ExecError>>>,
    seen: Mutex<Vec<String>>,
}

impl Scripted {
    /// Answers in this order; past the end every program succeeds and says nothing.
    #[must_use]
    pub fn answering(answers: impl IntoIterator<Item = Result<Completed, ExecError>>) -> Self {
        Self {
            answers: Mutex::new(answers.into_iter().collect()),
            seen: Mutex::default(),
        }
    }

    /// A successful answer with this standard output.
    pub fn says(stdout: &str) -> Result<Completed, ExecError> {
        Ok(Completed {
            stdout: stdout.into(),
            stderr: Vec::new(),
        })
    }

    /// The command lines so far.
    ///
    /// # Panics
    /// When another thread panicked while it was inside.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test thread panicked").clone()
    }
}

impl Runner for Scripted {
    fn run(&self, invocation: &Invocation) -> Result<Completed, ExecError> {
        self.seen
            .lock()
            .expect("no test thread panicked")
            .push(invocation.to_string());
        self.answers
            .lock()
            .expect("no test thread panicked")
            .pop_front()
            .unwrap_or_else(|| Ok(Completed::default()))
    }

    fn feed(
        &self,
        invocation: &Invocation,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Completed, ExecError> {
        fill(&mut io::sink()).map_err(|source| ExecError::Pipe {
            command: invocation.to_string(),
            source,
        })?;
        self.run(invocation)
    }

    fn drain(
        &self,
        invocation: &Invocation,
        take: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<Completed, ExecError> {
        let completed = self.run(invocation)?;
        take(&mut completed.stdout.as_slice()).map_err(|source| ExecError::Pipe {
            command: invocation.to_string(),
            source,
        })?;
        Ok(Completed {
            stdout: Vec::new(),
            stderr: completed.stderr,
        })
    }
}
