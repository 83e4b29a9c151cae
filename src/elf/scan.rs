//! Many programs at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::ElfError;
use super::closure::Closure;
use super::families::{Use, uses};
use super::loader::Loader;
use super::notes::{Dlopen, Priority};
use super::object::Fault;
use super::scripts::{FIRST_LINE, Script};
use super::verify::{Gravity, MissingSymbol, MissingVersion, missing_symbols, missing_versions};

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether to resolve symbols too, which reads much more.
    pub symbols: bool,
    /// Whether to look for plug-ins, which `DT_NEEDED` does not name.
    pub plugins: bool,
    /// Where `env` of a script looks for programs.
    pub path: OsString,
}

/// One file that was scanned.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// Its path inside the root.
    pub path: PathBuf,
    /// What was found.
    pub found: Found,
}

/// What a file is, and what it lacks.
#[derive(Clone, Debug)]
pub enum Found {
    /// A program or library.
    Elf(Box<Program>),
    /// A script, with the programs it is started by and whether they are there.
    Script(Vec<(PathBuf, bool)>),
    /// An ELF file that cannot be read.
    Faulty(Fault),
    /// Something else.
    Other,
}

/// A program or library with all that it loads.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it loads.
    pub closure: Closure,
    /// Versions that are not there.
    pub versions: Vec<MissingVersion>,
    /// Symbols that are not there, if they were asked for.
    pub symbols: Vec<MissingSymbol>,
    /// Libraries that its files tell they load by `dlopen`.
    pub optional: Vec<Optional>,
    /// Plug-ins that it may load, if they were asked for. They never make it broken.
    pub plugins: Vec<Use>,
}

/// A library that a file loads by `dlopen`, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optional {
    /// Who loads it, as an index into the closure.
    pub from: usize,
    /// What it tells about it.
    pub dlopen: Dlopen,
    /// Where the first of its names that is found is.
    pub found: Option<PathBuf>,
}

impl Optional {
    /// Whether the program does not work for want of it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.found.is_none() && self.dlopen.priority == Priority::Required
    }
}

/// What the files of a closure load by `dlopen`, as far as they tell.
fn optional(loader: &Loader<'_>, closure: &Closure) -> Vec<Optional> {
    let objects = closure.objects.iter().enumerate();
    let told = objects.flat_map(|(from, loaded)| loaded.object.dlopen.iter().map(move |dlopen| (from, dlopen)));
    let look = |(from, dlopen): (usize, &Dlopen)| Optional {
        from,
        dlopen: dlopen.clone(),
        found: dlopen
            .soname
            .iter()
            .find_map(|name| closure.would_find(loader, from, name.as_ref())),
    };
    told.map(look).collect()
}

impl Scanned {
    /// Whether it lacks something without which it does not start.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match &self.found {
            Found::Elf(program) => {
                program.closure.misses().next().is_some()
                    || !program.symbols.is_empty()
                    || program.optional.iter().any(Optional::is_missing)
                    || program.versions.iter().any(|missing| missing.gravity == Gravity::Fatal)
            }
            Found::Script(programs) => programs.iter().any(|(_, there)| !there),
            Found::Faulty(_) => true,
            Found::Other => false,
        }
    }
}

/// Scans the files at `paths` and below, on all processors; the result is sorted by path, each
/// path once. Below a folder, what is neither ELF file nor script is left out.
pub fn scan(loader: &Loader<'_>, paths: &[PathBuf], options: &Options) -> Result<Vec<Scanned>, ElfError> {
    let mut wanted = Vec::new();
    for path in paths {
        let path = loader.settings().working_folder.join(path);
        let found = loader.files().walk(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ElfError::Absent { path: path.clone() },
            _ => ElfError::Unreadable {
                path: path.clone(),
                source,
            },
        })?;
        let named = found.len() == 1 && found[0] == path;
        wanted.extend(found.into_iter().map(|path| (path, named)));
    }
    wanted.sort();
    wanted.dedup_by(|second, first| second.0 == first.0);
    let scanned: Vec<Scanned> = wanted
        .into_par_iter()
        .map(|(path, named)| (one(loader, path, options), named))
        .filter(|(scanned, named)| *named || !matches!(scanned.found, Found::Other))
        .map(|(scanned, _)| scanned)
        .collect();
    Ok(scanned)
}

/// Scans one file.
fn one(loader: &Loader<'_>, path: PathBuf, options: &Options) -> Scanned {
    let found = match Closure::of(loader, &path) {
        Ok(closure) => {
            let versions = missing_versions(&closure);
            let symbols = if options.symbols {
                missing_symbols(loader, &closure)
            } else {
                Vec::new()
            };
            Found::Elf(Box::new(Program {
                optional: optional(loader, &closure),
                plugins: if options.plugins {
                    uses(loader, &closure)
                } else {
                    Vec::new()
                },
                closure,
                versions,
                symbols,
            }))
        }
        Err(Fault::NotElf) => script(loader, &path, options),
        Err(Fault::NotLoadable) => Found::Other,
        Err(fault) => Found::Faulty(fault),
    };
    Scanned { path, found }
}

fn script(loader: &Loader<'_>, path: &Path, options: &Options) -> Found {
    let start = loader
        .files()
        .open(path)
        .and_then(|source| source.read_at(0, FIRST_LINE));
    match start.ok().and_then(|start| Script::parse(&start)) {
        Some(script) => Found::Script(script.programs(loader, &options.path)),
        None => Found::Other,
    }
}

/// Files among all that were read which define `version` under the name `library`, for programs
/// of the ABI of `like`: what could be used in place of one that lacks it.
#[must_use]
pub fn providers(loader: &Loader<'_>, library: &str, version: &str, like: super::abi::Abi) -> Vec<PathBuf> {
    let all = loader.all_read().into_iter();
    let fitting = all.filter(|(path, object)| {
        let named = object.soname.as_deref().or(path.file_name()) == Some(library.as_ref());
        let defines = object.provides.iter().flatten().any(|defined| defined == version);
        named && defines && object.abi == like
    });
    fitting.map(|(path, _)| path).collect()
}
