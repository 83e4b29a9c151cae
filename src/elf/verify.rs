//! Whether the libraries that were found have what is asked of them: versions and symbols.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;

use super::closure::Closure;
use super::loader::Loader;
use super::symbols::Symbols;
use super::versions::VersionNeed;

/// What a version that is not there means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gravity {
    /// The program does not start.
    Fatal,
    /// Only weak symbols need it: it starts.
    Weak,
    /// The library has no versions at all: it starts, with a warning.
    Unversioned,
}

/// A version that a library lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingVersion {
    /// Who needs it, as an index into the closure.
    pub from: usize,
    /// The library that was found, as an index into the closure.
    pub library: usize,
    /// What is needed.
    pub need: VersionNeed,
    /// What it means.
    pub gravity: Gravity,
}

/// Every version that is needed and not defined by the file that was found, in the order of
/// loading (glibc elf/dl-version.c). Libraries that were not found at all are not told again.
#[must_use]
pub fn missing_versions(closure: &Closure) -> Vec<MissingVersion> {
    let mut missing = Vec::new();
    for (from, loaded) in closure.objects.iter().enumerate() {
        for need in &loaded.object.requires {
            let Some(library) = closure.named(OsStr::new(&need.library)) else {
                continue;
            };
            let gravity = match &closure.objects[library].object.provides {
                Some(versions) if versions.contains(&need.version) => continue,
                None => Gravity::Unversioned,
                Some(_) if need.weak => Gravity::Weak,
                Some(_) => Gravity::Fatal,
            };
            missing.push(MissingVersion {
                from,
                library,
                need: need.clone(),
                gravity,
            });
        }
    }
    missing
}

/// A symbol that nothing in the closure defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingSymbol {
    /// Who needs it, as an index into the closure.
    pub from: usize,
    /// Its name.
    pub name: String,
}

/// Every undefined symbol that is not weak and that nothing in the closure defines, by name;
/// with `BIND_NOW` the program does not start, else it ends when it uses one.
#[must_use]
pub fn missing_symbols(loader: &Loader<'_>, closure: &Closure) -> Vec<MissingSymbol> {
    let tables: Vec<Symbols> = closure
        .objects
        .iter()
        .map(|loaded| {
            let source = loader.files().open(&loaded.path).ok();
            source
                .and_then(|source| Symbols::read(&source).ok())
                .unwrap_or_default()
        })
        .collect();
    let defined: HashSet<&[u8]> = tables
        .iter()
        .flat_map(|table| &table.defined)
        .map(|name| &**name)
        .collect();
    let missing = tables.iter().enumerate().flat_map(|(from, table)| {
        let undefined = table.undefined.iter().filter(|name| !defined.contains(&***name));
        undefined.map(move |name| MissingSymbol {
            from,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    });
    missing.collect::<BTreeSet<_>>().into_iter().collect()
}
