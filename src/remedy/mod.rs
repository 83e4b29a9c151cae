//! What a program lacks in a guest, and the line of a recipe that would mend it.
//!
//! A lack is found before a start, by a scan ([`found`]), or after one, in what the loader said
//! on the job's standard error ([`messages`]). [`advice`] turns it into what to do.

pub mod advice;
mod debian;
pub mod found;
pub mod messages;
mod pool;

use serde::Serialize;

pub use advice::{Adviser, Remedy};
pub use messages::Listener;

/// Something a program lacks in a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "lack", rename_all = "kebab-case")]
pub enum Lack {
    /// A shared library.
    Library {
        /// Its soname.
        name: String,
        /// The file that needs it, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        needed_by: Option<String>,
    },
    /// A version of the symbols of a library that is there.
    Version {
        /// The library's soname, or its path.
        library: String,
        /// The version, such as `GLIBC_2.38`.
        version: String,
        /// The file that needs it, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        needed_by: Option<String>,
    },
    /// The program that starts it: a dynamic loader, or what a first line `#!` names.
    Interpreter {
        /// Its path, or its name where it is looked for along `PATH`.
        path: String,
        /// What it should start, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        needed_by: Option<String>,
    },
    /// A guest with another processor.
    Architecture {
        /// What it was compiled for, such as `x86-64`.
        needs: String,
        /// The program.
        needed_by: String,
    },
    /// It is damaged, or lacks what cannot be added to an image.
    Other {
        /// What is wrong.
        what: String,
    },
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needing = |needed_by: &Option<String>| match needed_by {
            Some(program) => format!(", which {program} needs"),
            None => String::new(),
        };
        match self {
            Self::Library { name, needed_by } => write!(f, "{name} is missing{}", needing(needed_by)),
            Self::Version {
                library,
                version,
                needed_by,
            } => write!(f, "{library} lacks the version {version}{}", needing(needed_by)),
            Self::Interpreter { path, needed_by } => match needed_by {
                Some(program) => write!(f, "{path} is missing, which starts {program}"),
                None => write!(f, "{path} is missing, which starts the program"),
            },
            Self::Architecture { needs, needed_by } => write!(f, "{needed_by} is a program for {needs}"),
            Self::Other { what } => f.write_str(what),
        }
    }
}
