//! The loaders of a root: one for each ABI, with every file read once for all of them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::abi::Abi;
use super::bytes::FileId;
use super::file_system::FileSystem;
use super::ld_cache::{self, Cache};
use super::object::{Fault, Object};
use super::search::Search;

/// What is known before a program is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `LD_LIBRARY_PATH`; empty for none.
    pub library_path: OsString,
    /// The processor's level of x86-64, 1 to 4: which `glibc-hwcaps/x86-64-v*` folders count.
    pub cpu_level: u8,
    /// Where relative paths begin.
    pub working_folder: PathBuf,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which file it is.
    pub id: FileId,
    /// What it holds.
    pub object: Result<Arc<Object>, Fault>,
}

/// A table that many threads fill.
#[derive(Debug)]
struct Memory<K, V>(RwLock<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn new() -> Self {
        Self(RwLock::new(HashMap::new()))
    }

    /// The value for `key`; computed the first time, and perhaps by two threads at once.
    fn get<Q>(&self, key: &Q, compute: impl FnOnce() -> V) -> V
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        known.unwrap_or_else(|| {
            let value = compute();
            let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
            values.entry(key.to_owned()).or_insert(value).clone()
        })
    }
}

/// The dynamic loaders of a root, whatever their ABI. Nothing may change while it lives.
#[derive(Debug)]
pub struct Loader<'a> {
    files: &'a dyn FileSystem,
    settings: Settings,
    cache: Option<Cache>,
    objects: Memory<FileId, Result<Arc<Object>, Fault>>,
    paths: Memory<PathBuf, Option<Read>>,
    folders: Memory<PathBuf, bool>,
    searches: Memory<Abi, Arc<Search>>,
}

/// The loader's cache.
const CACHE: &str = "/etc/ld.so.cache";

impl<'a> Loader<'a> {
    /// The loaders of the root `files`.
    #[must_use]
    pub fn new(files: &'a dyn FileSystem, settings: Settings) -> Self {
        let cache = files
            .open(Path::new(CACHE))
            .and_then(|source| source.read_all(ld_cache::LARGEST));
        Self {
            files,
            settings,
            cache: cache.ok().and_then(|bytes| Cache::parse(&bytes)),
            objects: Memory::new(),
            paths: Memory::new(),
            folders: Memory::new(),
            searches: Memory::new(),
        }
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &dyn FileSystem {
        self.files
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where `ld.so.cache` has the library `name`; `None` too where there is no cache.
    #[must_use]
    pub fn cached(&self, name: &OsStr, abi: Abi, levels: &[&str]) -> Option<PathBuf> {
        self.cache.as_ref()?.find(name, abi, levels)
    }

    /// Whether the root has an `ld.so.cache`.
    #[must_use]
    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// The file at `path`, links followed; `None` where there is no regular file.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Read> {
        self.paths.get(path, || {
            // A file that may not be opened is for the loader as if it were not there.
            let source = self.files.open(path).ok()?;
            let object = self.objects.get(&source.id, || Object::read(&source).map(Arc::new));
            Some(Read { id: source.id, object })
        })
    }

    /// Whether a folder stands at `path`, links followed.
    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.folders.get(path, || self.files.is_folder(path))
    }

    /// How the loader of `abi` searches.
    #[must_use]
    pub fn search(&self, abi: Abi) -> Arc<Search> {
        self.searches.get(&abi, || Arc::new(Search::new(self, abi)))
    }

    /// Every object that was read so far with all paths it was found by, sorted.
    #[must_use]
    pub fn all_read(&self) -> Vec<(PathBuf, Arc<Object>)> {
        let paths = self.paths.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = paths
            .iter()
            .filter_map(|(path, read)| Some((path.clone(), read.as_ref()?.object.clone().ok()?)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}
