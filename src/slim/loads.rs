//! What every program and library of a tree loads, and by which needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::Path;

use rayon::prelude::*;

use super::census::{Census, absolute, file_at};
use crate::elf::closure::Closure;
use crate::elf::loader::{Loader, Settings};
use crate::rootfs::tree::{Tree, TreePath};

/// What one program or library loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// The files in the order of loading, itself first, as regular files of the tree.
    pub(super) files: Vec<TreePath>,
    /// Who needs what, by index, and which file that is; `None` for what is missing.
    pub(super) needs: Vec<(usize, OsString, Option<usize>)>,
}

/// The settings of a program's loader in a guest with this `LD_LIBRARY_PATH`.
pub(super) fn settings(library_path: &OsStr, cpu_level: u8) -> Settings {
    Settings {
        library_path: library_path.to_owned(),
        cpu_level,
        working_folder: "/".into(),
    }
}

impl Load {
    /// What the file at `path` loads; nothing but itself if it cannot be read.
    pub(super) fn of(tree: &Tree, loader: &Loader<'_>, path: &Path) -> Option<Self> {
        let closure = Closure::of(loader, path).ok()?;
        let files: Option<Vec<TreePath>> = closure
            .objects
            .iter()
            .map(|loaded| file_at(tree, &loaded.path))
            .collect();
        let needs = closure
            .edges
            .iter()
            .map(|edge| (edge.from, edge.name.clone(), edge.to.as_ref().ok().copied()));
        Some(Self {
            files: files?,
            needs: needs.collect(),
        })
    }

    /// The shortest chain from the first file to each other one, each including both.
    fn chains(&self) -> Vec<Vec<usize>> {
        let mut next: HashMap<usize, Vec<usize>> = HashMap::new();
        for (from, _, to) in &self.needs {
            next.entry(*from).or_default().extend(to);
        }
        let mut chains = vec![Vec::new(); self.files.len()];
        chains[0] = vec![0];
        let mut queue = VecDeque::from([0]);
        while let Some(from) = queue.pop_front() {
            for &to in next.get(&from).into_iter().flatten() {
                if chains[to].is_empty() {
                    chains[to] = [chains[from].as_slice(), &[to]].concat();
                    queue.push_back(to);
                }
            }
        }
        chains
    }
}

/// What is loaded for every program and library of a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Loads {
    by_file: BTreeMap<TreePath, Load>,
}

/// Who needs a file: chains of files from who is started, or loads itself, to the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// The shortest chain; of equally long ones, the first by path.
    pub(super) chain: Vec<TreePath>,
    /// Programs that load it when they start, and plug-ins that do when they are loaded.
    pub(super) needed_by: BTreeSet<TreePath>,
}

impl Loads {
    /// Follows the needs of everything in `census`.
    pub(super) fn of(tree: &Tree, census: &Census, settings: Settings) -> Self {
        let loader = Loader::new(tree, settings);
        let paths: Vec<&TreePath> = census.iter().map(|(path, _)| path).collect();
        let loads: Vec<Option<(TreePath, Load)>> = paths
            .into_par_iter()
            .map(|path| Some((path.clone(), Load::of(tree, &loader, &absolute(path))?)))
            .collect();
        Self {
            by_file: loads.into_iter().flatten().collect(),
        }
    }

    pub(super) fn get(&self, path: &TreePath) -> Option<&Load> {
        self.by_file.get(path)
    }

    /// Programs, and the libraries that no other file needs: plug-ins, as far as can be told.
    fn starts<'a>(&'a self, census: &'a Census) -> impl Iterator<Item = (&'a TreePath, &'a Load)> {
        let needed: BTreeSet<&TreePath> = self.by_file.values().flat_map(|load| &load.files[1..]).collect();
        self.by_file.iter().filter(move |(path, _)| {
            let library = census.get(path).is_some_and(|elf| elf.object.is_library());
            !library || !needed.contains(path)
        })
    }

    /// Why each library is there.
    pub(super) fn needs(&self, census: &Census) -> BTreeMap<TreePath, Need> {
        let mut needs: BTreeMap<TreePath, Need> = BTreeMap::new();
        for (start, load) in self.starts(census) {
            for (index, chain) in load.chains().into_iter().enumerate() {
                let chain: Vec<TreePath> = chain.into_iter().map(|file| load.files[file].clone()).collect();
                let need = needs.entry(load.files[index].clone()).or_default();
                if index > 0 {
                    need.needed_by.insert(start.clone());
                }
                // A file that is itself a start is told of by who needs it, if anybody does.
                let known = need.chain.len();
                if known <= 1 || (chain.len() > 1 && (chain.len(), &chain) < (known, &need.chain)) {
                    need.chain = if chain.is_empty() {
                        vec![load.files[index].clone()]
                    } else {
                        chain
                    };
                }
            }
        }
        needs
    }

    /// Names that are needed and not there, with who needs them.
    pub(super) fn missing(&self, census: &Census) -> BTreeMap<OsString, Need> {
        let mut missing: BTreeMap<OsString, Need> = BTreeMap::new();
        for (start, load) in self.starts(census) {
            let chains = load.chains();
            for (from, name, _) in load.needs.iter().filter(|(_, _, to)| to.is_none()) {
                let chain: Vec<TreePath> = chains[*from].iter().map(|&file| load.files[file].clone()).collect();
                let need = missing.entry(name.clone()).or_default();
                need.needed_by.insert(start.clone());
                if need.chain.is_empty() || (chain.len(), &chain) < (need.chain.len(), &need.chain) {
                    need.chain = chain;
                }
            }
        }
        missing
    }
}
