//! Makes an image small without breaking it: libraries that need not be in it become links into
//! the shared library repository.
//!
//! [`linking`] reads as the list of steps: a [`census`] of programs and libraries, what each
//! [`loads`], the [`boot`]-critical set, [`verdicts`], [`relocate`], the loader's [`ld_cache`],
//! the [`proof`], and the [`account`] for the manifest. Nothing is deleted because nobody was seen
//! to use it; what purge rules removed is told of, not hidden.

mod account;
mod boot;
mod census;
mod error;
pub mod ld_cache;
mod linking;
mod loads;
mod proof;
mod relocate;
mod strings;
#[cfg(test)]
mod test_trees;
#[cfg(test)]
mod tests;
mod verdicts;

pub use account::Purged;
pub use census::{Census, Elf};
pub use error::SlimError;
pub use linking::{Linked, Request, link};
