//! Everything that starting a program loads, in `ld.so`'s order, with the reason for each.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bytes::FileId;
use super::loader::Loader;
use super::object::{Fault, Object};
use super::search::{Hit, Miss, Requester, Rule, Search};

/// One file that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The path by which it was found, links not resolved.
    pub path: PathBuf,
    /// What it holds.
    pub object: Arc<Object>,
    /// The rule by which it was found.
    pub rule: Rule,
    /// The file that first needed it, as an index; `None` for the program itself.
    pub loader: Option<usize>,
    /// Which file it is.
    pub id: FileId,
    /// `$ORIGIN`.
    origin: PathBuf,
}

impl Loaded {
    fn requester(&self) -> Requester<'_> {
        Requester {
            path: &self.path,
            origin: self.origin.as_os_str(),
            object: &self.object,
        }
    }
}

/// That one file needs another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who needs it, as an index.
    pub from: usize,
    /// The name by which it is needed, as spelt in the file.
    pub name: OsString,
    /// What was found, as an index, or why nothing was.
    pub to: Result<usize, Miss>,
}

/// A program or library with all that is loaded for it.
#[derive(Clone, Debug)]
pub struct Closure {
    /// All files, the program first, then in the order of loading.
    pub objects: Vec<Loaded>,
    /// All needs, in the order in which they were met; a program's loader comes first.
    pub edges: Vec<Edge>,
    /// Files by the names they answer to: those they were asked for by, soname and path.
    names: HashMap<OsString, usize>,
    files: HashMap<FileId, usize>,
    /// For a plug-in: who loads it, and those that loaded that one, up to the program.
    parents: Arc<[Loaded]>,
}

impl Closure {
    /// Follows the needs of the program or library at `path` breadth first.
    pub fn of(loader: &Loader<'_>, path: &Path) -> Result<Self, Fault> {
        let read = loader.read(path).ok_or(Fault::NotElf)?;
        let object = read.object?;
        let search = loader.search(object.abi);
        let interpreter = object.interpreter.clone();
        let program = Loaded {
            origin: origin(&program_path(loader, path, &object)),
            path: path.to_owned(),
            object,
            rule: Rule::Root,
            loader: None,
            id: read.id,
        };
        let mut closure = Self::begin(program, [].into());
        if let Some(interpreter) = interpreter {
            closure.start_loader(loader, &search, &interpreter);
        }
        closure.follow(loader, &search);
        Ok(closure)
    }

    /// What `dlopen` of `name` loads when the first of `parents` calls it: that file, then those
    /// that loaded it, up to the program. What the program has loaded already is not known here:
    /// see [`Closure::named`] of the program's own.
    pub fn dlopen(loader: &Loader<'_>, name: &OsStr, parents: Arc<[Loaded]>) -> Result<Self, Miss> {
        let caller = parents.first().ok_or(Miss::NotFound)?;
        let search = loader.search(caller.object.abi);
        let requesters: Vec<Requester<'_>> = parents.iter().map(Loaded::requester).collect();
        let hit = search.find(loader, name, &requesters)?;
        let plugin = Loaded {
            origin: origin(&hit.path),
            path: hit.path,
            object: hit.object,
            rule: hit.rule,
            loader: None,
            id: hit.id,
        };
        let mut closure = Self::begin(plugin, parents);
        closure.names.entry(name.to_owned()).or_insert(0);
        closure.follow(loader, &search);
        Ok(closure)
    }

    fn begin(first: Loaded, parents: Arc<[Loaded]>) -> Self {
        let mut closure = Self {
            objects: Vec::new(),
            edges: Vec::new(),
            names: HashMap::new(),
            files: HashMap::new(),
            parents,
        };
        closure.push(first);
        closure
    }

    /// Loads what the files need, breadth first.
    fn follow(&mut self, loader: &Loader<'_>, search: &Search) {
        let mut next = 0;
        while next < self.objects.len() {
            let needed = self.objects[next].object.clone();
            for name in &needed.needed {
                let to = self.load(loader, search, next, name);
                self.edges.push(Edge {
                    from: next,
                    name: name.clone(),
                    to,
                });
            }
            next += 1;
        }
    }

    /// The file at `index` and those that loaded it, up to the program.
    #[must_use]
    pub fn chain(&self, index: usize) -> Vec<Loaded> {
        let own = std::iter::successors(Some(index), |index| self.objects[*index].loader);
        let own = own.map(|index| &self.objects[index]);
        own.chain(self.parents.iter()).cloned().collect()
    }

    /// The needs that were not met.
    pub fn misses(&self) -> impl Iterator<Item = (&Edge, &Miss)> {
        self.edges
            .iter()
            .filter_map(|edge| Some((edge, edge.to.as_ref().err()?)))
    }

    /// Where `dlopen` of `name` in the file `from` would find it.
    #[must_use]
    pub fn would_find(&self, loader: &Loader<'_>, from: usize, name: &OsStr) -> Option<PathBuf> {
        if let Some(loaded) = self.named(name) {
            return Some(self.objects[loaded].path.clone());
        }
        let search = loader.search(self.objects[from].object.abi);
        let hit = search.find(loader, name, &self.requesters(from)).ok()?;
        Some(hit.path)
    }

    /// The file `id`, if it is loaded.
    #[must_use]
    pub fn file(&self, id: &FileId) -> Option<usize> {
        self.files.get(id).copied()
    }

    /// The file that answers to `name`, if it is loaded.
    #[must_use]
    pub fn named(&self, name: &OsStr) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The kernel loads the loader that a program names, by this path and no other.
    fn start_loader(&mut self, loader: &Loader<'_>, search: &Search, path: &Path) {
        let at = loader.settings().working_folder.join(path);
        let to = match loader.read(&at) {
            None => Err(Miss::NotFound),
            Some(read) => match read.object {
                Err(fault) => Err(Miss::Unusable(at, fault)),
                Ok(object) if object.abi != search.abi => Err(Miss::NotFound),
                Ok(object) => Ok(self.add(
                    Hit {
                        path: at,
                        id: read.id,
                        object,
                        rule: Rule::Interpreter,
                    },
                    0,
                    path.as_os_str(),
                )),
            },
        };
        self.edges.push(Edge {
            from: 0,
            name: path.into(),
            to,
        });
    }

    fn load(&mut self, loader: &Loader<'_>, search: &Search, from: usize, name: &OsStr) -> Result<usize, Miss> {
        if let Some(loaded) = self.named(name) {
            return Ok(loaded);
        }
        let hit = {
            let requesters = self.requesters(from);
            search.find(loader, name, &requesters)?
        };
        Ok(self.add(hit, from, name))
    }

    /// `from` and those that loaded it, up to the program.
    fn requesters(&self, from: usize) -> Vec<Requester<'_>> {
        let own = std::iter::successors(Some(from), |index| self.objects[*index].loader);
        let own = own.map(|index| &self.objects[index]);
        own.chain(self.parents.iter()).map(Loaded::requester).collect()
    }

    /// Adds what was found unless it is the same file as one that is loaded.
    fn add(&mut self, hit: Hit, from: usize, name: &OsStr) -> usize {
        let index = match self.files.get(&hit.id) {
            Some(index) => *index,
            None => self.push(Loaded {
                origin: origin(&hit.path),
                path: hit.path,
                object: hit.object,
                rule: hit.rule,
                loader: Some(from),
                id: hit.id,
            }),
        };
        self.names.entry(name.to_owned()).or_insert(index);
        index
    }

    fn push(&mut self, loaded: Loaded) -> usize {
        let index = self.objects.len();
        let soname = loaded.object.soname.clone();
        for name in soname.into_iter().chain([loaded.path.clone().into()]) {
            self.names.entry(name).or_insert(index);
        }
        self.files.insert(loaded.id.clone(), index);
        self.objects.push(loaded);
        index
    }

    /// Needs by who has them.
    #[must_use]
    pub fn needs(&self) -> HashMap<usize, Vec<&Edge>> {
        let mut needs: HashMap<usize, Vec<&Edge>> = HashMap::new();
        for edge in &self.edges {
            needs.entry(edge.from).or_default().push(edge);
        }
        needs
    }
}

/// The folder of a path.
fn origin(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

/// The path that a program's `$ORIGIN` comes from. The kernel tells a program's loader where it
/// is without symbolic links (`/proc/self/exe`); a library is where it was found.
fn program_path(loader: &Loader<'_>, path: &Path, object: &Object) -> PathBuf {
    // Resolving takes a system call for each folder, and few programs need to know.
    let library_path = &loader.settings().library_path;
    let mut texts = object
        .needed
        .iter()
        .chain(&object.rpath)
        .chain(&object.runpath)
        .chain([library_path]);
    let asked = object.interpreter.is_some() && texts.any(|text| text.as_bytes().contains(&b'$'));
    let real = asked.then(|| loader.files().real_path(path).ok()).flatten();
    real.unwrap_or_else(|| path.to_owned())
}
