//! Whether the libraries that were found have what is asked of them: versions and symbols.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use super::closure::{Closure, Loaded};
use super::loader::Loader;
use super::symbol_index::{Resolution, hash};
use super::symbols::{Binding, visit};
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
    let mut missing = BTreeSet::new();
    for (from, loaded) in closure.objects.iter().enumerate() {
        let open = unresolved(loader, closure, loaded);
        if !open.is_empty() {
            let names = names(loader, loaded, &open).into_iter();
            missing.extend(names.map(|name| MissingSymbol { from, name }));
        }
    }
    missing.into_iter().collect()
}

/// Of a file with more undefined symbols than this, nothing is remembered.
const MOST_OPEN: usize = 16 * 1024;

/// The hashes of the symbols of one file that nothing in the closure defines. Files that resolved
/// them in another closure are asked for first: mostly they are here too.
fn unresolved(loader: &Loader<'_>, closure: &Closure, file: &Loaded) -> Vec<u64> {
    let known = loader.resolution(&file.id);
    let known = known.filter(|known| known.providers.iter().all(|id| closure.file(id).is_some()));
    if let Some(known) = &known
        && known.open.is_empty()
    {
        return Vec::new();
    }
    let tables: Vec<_> = closure.objects.iter().map(|other| loader.symbols(other)).collect();
    let definer = |hash: u64| tables.iter().position(|table| table.defines(hash));
    if let Some(known) = known {
        let open = known.open.iter().copied();
        return open.filter(|hash| definer(*hash).is_none()).collect();
    }
    let mut open = Vec::new();
    let mut providers = BTreeSet::new();
    for hash in &loader.symbols(file).undefined {
        match definer(*hash) {
            Some(provider) => {
                providers.insert(provider);
            }
            None => open.push(*hash),
        }
    }
    let providers = providers.into_iter().map(|index| closure.objects[index].id.clone());
    let resolution = Resolution {
        providers: providers.collect(),
        open: open.clone(),
    };
    if open.len() <= MOST_OPEN {
        loader.resolved(&file.id, resolution);
    }
    open
}

/// The names behind the sorted hashes of undefined symbols.
fn names(loader: &Loader<'_>, file: &Loaded, hashes: &[u64]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(source) = loader.files().open(&file.path) {
        let each = |binding, name: &[u8]| {
            if binding == Binding::Undefined && hashes.binary_search(&hash(name)).is_ok() {
                names.insert(String::from_utf8_lossy(name).into_owned());
            }
        };
        // What was read before can be read again; if not, there are no names to tell.
        visit(&source, each).unwrap_or_default();
    }
    names
}
