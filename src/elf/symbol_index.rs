//! The symbols of many files, small enough to be kept: whether a file's undefined symbols are
//! defined in a closure is asked for every program that loads it.

use std::hash::{DefaultHasher, Hasher as _};

use super::bytes::{FileId, Source};
use super::object::Fault;
use super::symbols::{Binding, visit};

/// The symbols of a file by hashes of their names. Two names of one hash are not expected among
/// fewer than 2^32.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SymbolIndex {
    /// Hashes of what it must find elsewhere, each once.
    pub(super) undefined: Box<[u64]>,
    /// Hashes of what it defines for others, sorted.
    defined: Box<[u64]>,
}

/// How one file's undefined symbols were resolved last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    /// Files that together define all but the open ones.
    pub(super) providers: Vec<FileId>,
    /// What was nowhere defined.
    pub(super) open: Vec<u64>,
}

pub(super) fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

impl SymbolIndex {
    /// The symbols of the file at `source`.
    pub(super) fn read(source: &Source) -> Result<Self, Fault> {
        let mut undefined = Vec::new();
        let mut defined = Vec::new();
        visit(source, |binding, name| match binding {
            Binding::Undefined => undefined.push(hash(name)),
            Binding::UndefinedWeak => {}
            Binding::Defined => defined.push(hash(name)),
        })?;
        for hashes in [&mut undefined, &mut defined] {
            hashes.sort_unstable();
            hashes.dedup();
        }
        Ok(Self {
            undefined: undefined.into(),
            defined: defined.into(),
        })
    }

    pub(super) fn defines(&self, hash: u64) -> bool {
        self.defined.binary_search(&hash).is_ok()
    }

    /// How many hashes it holds.
    pub(super) fn len(&self) -> usize {
        self.undefined.len() + self.defined.len()
    }
}
