//! The one place that starts programs.
//!
//! An [`Invocation`] says what to start; a [`Runner`] starts it. [`Host`] is the real one;
//! [`Scripted`] answers from a list, for tests. Programs get an environment made from nothing
//! (`PATH`, `HOME`, `LANG=C.UTF-8`, `TZ=UTC` and what the invocation adds) and no standard
//! input unless asked, so that a build does not depend on who runs it.

mod background;
mod host;
mod invocation;
mod limited;
mod scripted;
mod tethered;
mod tools;

pub use host::Host;
pub use invocation::{Completed, ExecError, Invocation};
pub use limited::Ended;
pub use scripted::Scripted;
pub use tethered::FIRST_DESCRIPTOR;
pub use tools::{debian_package, find_program};

use std::io::{Read, Write};

/// Starts programs and waits for them.
pub trait Runner: Send + Sync {
    /// Runs to the end; a non-zero status is an error. Standard output is returned whole.
    fn run(&self, invocation: &Invocation) -> Result<Completed, ExecError>;

    /// Runs with `fill` writing to the program's standard input.
    fn feed(
        &self,
        invocation: &Invocation,
        fill: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<Completed, ExecError>;

    /// Runs with `take` reading the program's standard output as it comes.
    fn drain(
        &self,
        invocation: &Invocation,
        take: &mut dyn FnMut(&mut dyn Read) -> std::io::Result<()>,
    ) -> Result<Completed, ExecError>;
}
