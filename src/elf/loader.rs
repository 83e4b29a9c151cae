//! The loaders of a root: one for each ABI, with every file read once for all of them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::abi::Abi;
use super::bytes::FileId;
use super::closure::Loaded;
use super::families::{Key, Marks, Members};
use super::file_system::FileSystem;
use super::ld_cache::{self, Cache};
use super::object::{Fault, Object};
use super::search::Search;
use super::symbol_index::{Resolution, SymbolIndex};

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
        self.known(key).unwrap_or_else(|| {
            let value = compute();
            let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
            values.entry(key.to_owned()).or_insert(value).clone()
        })
    }

    fn known<Q>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, value);
    }
}

/// A search path as a file spells it, with what its tokens depend on: ABI, text, `$ORIGIN`.
pub(super) type SearchPath = (Abi, OsString, OsString);

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
    search_paths: Memory<SearchPath, Arc<[PathBuf]>>,
    marks: Memory<FileId, Marks>,
    members: Memory<Key, Members>,
    symbols: Memory<FileId, Arc<SymbolIndex>>,
    /// How many symbols may still be kept.
    symbols_room: AtomicUsize,
    resolutions: Memory<FileId, Arc<Resolution>>,
}

/// As many symbols are kept at most, in 8 bytes each; those of 5,000 files are about 4 million.
const MOST_SYMBOLS: usize = 12 * 1024 * 1024;

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
            search_paths: Memory::new(),
            marks: Memory::new(),
            members: Memory::new(),
            symbols: Memory::new(),
            symbols_room: AtomicUsize::new(MOST_SYMBOLS),
            resolutions: Memory::new(),
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
    pub fn cached(&self, name: &OsStr, abi: Abi, levels: &[&str], hwcaps: u64) -> Option<PathBuf> {
        self.cache.as_ref()?.find(name, abi, levels, hwcaps)
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

    /// The folders of a search path, found with `find` the first time.
    pub(super) fn search_path(&self, path: &SearchPath, find: impl FnOnce() -> Arc<[PathBuf]>) -> Arc<[PathBuf]> {
        self.search_paths.get(path, find)
    }

    /// What a loaded file tells about plug-ins.
    pub(super) fn marks(&self, loaded: &Loaded) -> Marks {
        self.marks.get(&loaded.id, || {
            let source = self.files.open(&loaded.path).ok();
            Marks::read(&loaded.object, source.as_ref())
        })
    }

    /// A list of plug-ins, found with `find` the first time.
    pub(super) fn members(&self, key: &Key, find: impl FnOnce() -> Members) -> Members {
        self.members.get(key, find)
    }

    /// The symbols of a loaded file; none where they are damaged.
    pub(super) fn symbols(&self, loaded: &Loaded) -> Arc<SymbolIndex> {
        if let Some(known) = self.symbols.known(&loaded.id) {
            return known;
        }
        let source = self.files.open(&loaded.path).ok();
        let index = source.and_then(|source| SymbolIndex::read(&source).ok());
        let index = Arc::new(index.unwrap_or_default());
        let take = |room: usize| room.checked_sub(index.len());
        let kept = self
            .symbols_room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        match kept {
            Ok(_) => self.symbols.get(&loaded.id, || index),
            Err(_) => index,
        }
    }

    /// How the undefined symbols of a file were resolved last.
    pub(super) fn resolution(&self, file: &FileId) -> Option<Arc<Resolution>> {
        self.resolutions.known(file)
    }

    /// Remembers how the undefined symbols of a file were resolved.
    pub(super) fn resolved(&self, file: &FileId, resolution: Resolution) {
        self.resolutions.put(file.clone(), Arc::new(resolution));
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
