//! The proof that linking changes nothing for the guest.
//!
//! Two things are compared between the tree as it was and the linked one with the repository
//! mounted: which files every program and library loads, by content, need by need; and where
//! every path leads. What is read of the repository is what it really has.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use rayon::prelude::*;

use super::SlimError;
use super::census::{Census, absolute, file_at};
use super::ld_cache;
use super::loads::settings;
use crate::digest::Digest;
use crate::elf::closure::Closure;
use crate::elf::loader::Loader;
use crate::elf::search::Miss;
use crate::rootfs::tree::{Kind, Tree, TreePath};

/// Compares `before` with `after`, for guests with this `LD_LIBRARY_PATH`. `census` is of `before`.
pub(super) fn prove(before: &Tree, after: &Tree, census: &Census, library_path: &OsStr) -> Result<(), SlimError> {
    paths(before, after)?;
    for level in levels(before) {
        let loader = |tree| Loader::new(tree, settings(library_path, level));
        let (old, new) = (loader(before), loader(after));
        let files: Vec<&TreePath> = census.iter().map(|(path, _)| path).collect();
        let differing = files.par_iter().find_map_first(|file| {
            let path = absolute(file);
            let (was, is) = (Loading::of(before, &old, &path), Loading::of(after, &new, &path));
            difference(&was, &is).map(|why| SlimError::Differs {
                program: file.to_string(),
                why,
            })
        });
        if let Some(error) = differing {
            return Err(error);
        }
    }
    Ok(())
}

/// The levels of x86-64 that make a difference: all four where the tree has folders for them.
pub(super) fn levels(tree: &Tree) -> Vec<u8> {
    let any = tree.iter().any(|(path, _)| path.name() == b"glibc-hwcaps");
    if any { vec![1, 2, 3, 4] } else { vec![1] }
}

/// A file that is loaded: its content, and where it was found.
type Found = (Option<Digest>, String);

/// What is loaded, by content: paths may change, content may not.
#[derive(Debug, Default)]
struct Loading {
    files: Vec<Found>,
    /// Who needs what, and what that is.
    needs: Vec<(usize, OsString, Result<usize, String>)>,
}

impl Loading {
    fn of(tree: &Tree, loader: &Loader<'_>, path: &Path) -> Self {
        let Ok(closure) = Closure::of(loader, path) else {
            return Self::default();
        };
        let file = |path: &Path| (digest(tree, path), path.display().to_string());
        let miss = |miss: &Miss| match miss {
            Miss::NotFound => "nothing".to_owned(),
            Miss::Unusable(_, fault) => format!("a file that {fault}"),
        };
        let needs = closure
            .edges
            .iter()
            .map(|edge| (edge.from, edge.name.clone(), edge.to.as_ref().map_err(miss).copied()));
        Self {
            files: closure.objects.iter().map(|loaded| file(&loaded.path)).collect(),
            needs: needs.collect(),
        }
    }

    /// What a need leads to, in words.
    fn told(&self, to: &Result<usize, String>) -> String {
        match to {
            Ok(index) => self.files[*index].1.clone(),
            Err(miss) => miss.clone(),
        }
    }

    /// What a need leads to, by content.
    fn digest(&self, to: &Result<usize, String>) -> Result<Option<Digest>, String> {
        to.clone().map(|index| self.files[index].0)
    }
}

/// The content of the file at `path`.
fn digest(tree: &Tree, path: &Path) -> Option<Digest> {
    match &tree.get(&file_at(tree, path)?)?.kind {
        Kind::File(content) => Some(content.digest),
        _ => None,
    }
}

/// The first thing that is not the same.
fn difference(was: &Loading, is: &Loading) -> Option<String> {
    for (old, new) in was.needs.iter().zip(&is.needs) {
        let same = old.0 == new.0 && old.1 == new.1;
        if !same || was.digest(&old.2) != is.digest(&new.2) {
            let name = Path::new(&old.1).display();
            return Some(format!(
                "{name} is {} now, it was {}",
                is.told(&new.2),
                was.told(&old.2)
            ));
        }
    }
    for (old, new) in was.files.iter().zip(&is.files) {
        if old.0 != new.0 {
            return Some(format!("{} is loaded in place of {}", new.1, old.1));
        }
    }
    let told = |files: &[Found]| files.last().map_or_else(|| "nothing".to_owned(), |file| file.1.clone());
    match (was.files.len(), is.files.len()) {
        (old, new) if old > new => Some(format!(
            "{} is not loaded any more, or counts as another file",
            told(&was.files)
        )),
        (old, new) if old < new => Some(format!("{} is loaded as well", told(&is.files))),
        _ => (was.needs.len() != is.needs.len()).then(|| "its needs are not the same".to_owned()),
    }
}

/// What stands at a path, with links followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Folder,
    File(Digest),
    Other,
}

impl End {
    fn of(tree: &Tree, path: &TreePath) -> Self {
        let kind = tree
            .resolve(path)
            .and_then(|real| tree.get(&real))
            .map(|entry| &entry.kind);
        match kind {
            None => Self::Nothing,
            Some(Kind::Directory) => Self::Folder,
            Some(Kind::File(content)) => Self::File(content.digest),
            Some(Kind::HardLink(target)) => Self::of(tree, target),
            Some(_) => Self::Other,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Folder => "a folder".to_owned(),
            Self::File(digest) => format!("the file {}", digest.short()),
            Self::Other => "something else".to_owned(),
        }
    }
}

/// Every path leads to what it led to: no link loops, none dangles that did not before.
fn paths(before: &Tree, after: &Tree) -> Result<(), SlimError> {
    let rewritten = TreePath::new(ld_cache::PATH.as_bytes()).expect("it is a path");
    let paths: Vec<&TreePath> = before
        .iter()
        .map(|(path, _)| path)
        .filter(|path| **path != rewritten)
        .collect();
    let moved = paths.par_iter().find_map_first(|path| {
        let (was, is) = (End::of(before, path), End::of(after, path));
        (was != is).then(|| SlimError::Moved {
            path: path.to_string(),
            why: format!("it would lead to {}, not to {}", is.told(), was.told()),
        })
    });
    moved.map_or(Ok(()), Err)
}
