//! The step as a whole.

use std::ffi::OsStr;
use std::path::Path;

use super::SlimError;
use super::account::{Account, Purged};
use super::boot::boot_critical;
use super::census::{Census, file_at};
use super::ld_cache;
use super::loads::{Loads, settings};
use super::proof::prove;
use super::relocate::Links;
use super::verdicts::{Basis, folders};
use crate::architecture::Architecture;
use crate::elf::loader::Loader;
use crate::image::library_list::LibraryList;
use crate::image::manifest;
use crate::recipe::{Init, Libraries};
use crate::rootfs::tree::{Kind, Tree};
use crate::sharedlibs::{Addition, Index, LibraryError, Provenance, Repository, Wanted};

/// What is asked for.
#[allow(missing_debug_implementations, reason = "it borrows a function")]
pub struct Request<'a> {
    /// The recipe's section.
    pub wishes: &'a Libraries,
    /// What runs as process 1.
    pub init: Init,
    /// `LD_LIBRARY_PATH` of jobs; empty for none.
    pub library_path: &'a OsStr,
    /// The repository's folder, where one is known.
    pub repository: Option<&'a Path>,
    /// Debian's code name of the release.
    pub suite: &'a str,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The version of an installed package.
    pub version: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// What purge rules removed.
    pub purged: &'a [Purged],
    /// The time of the whole tree, in seconds since 1970.
    pub epoch: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Linked {
    /// Every library with its verdict.
    pub list: LibraryList,
    /// For the manifest; `None` where nothing is linked.
    pub libraries: Option<manifest::Libraries>,
}

/// Links what `request` lets go from `tree`, after the proof that the guest will not notice. On an
/// error, the tree is as it was; the repository may have more than before.
pub fn link(tree: &mut Tree, request: &Request<'_>) -> Result<Linked, SlimError> {
    let census = Census::of(tree)?;
    let loads = Loads::of(tree, &census, settings(request.library_path, 1));
    let boot = {
        let loader = Loader::new(tree, settings(request.library_path, 1));
        boot_critical(tree, &loader, request.init)?
    };
    let folders = folders(tree, request.wishes)?;
    let basis = Basis {
        tree,
        census: &census,
        loads: &loads,
        boot: &boot,
        wishes: request.wishes,
        folders: &folders,
    };
    let decisions = basis.decide()?;
    let alone = decisions.iter().filter(|(_, decision)| decision.is_linked_alone());
    let provenance = |package: &str| provenance(tree, package, request.version);
    let links = Links::new(tree, alone.map(|(path, _)| path), &folders, &provenance)?;
    let mut account = Account::new(basis, &decisions, &links, request.purged);
    if links.is_empty() {
        let list = account.list();
        ld_cache::write_where_needed(tree, request.epoch)?;
        return Ok(Linked { list, libraries: None });
    }
    let repository = open(request, &links)?;
    let generation = provide(&repository, &links, request)?;
    let mut linked = links.put(tree, request.epoch);
    let mut mounted = links.mount(&linked, &repository)?;
    let cache = ld_cache::cache(&mounted)?;
    for tree in [&mut linked, &mut mounted] {
        ld_cache::put(tree, cache.clone(), request.epoch);
    }
    prove(tree, &mounted, &census, request.library_path)?;
    let generation = manifest::Generation {
        repository: generation.repository,
        number: generation.number,
        digest: generation.digest,
        folder: request.wishes.repository.clone().filter(|folder| folder.is_absolute()),
    };
    let libraries = Some(account.summary(generation, &linked));
    let list = account.list();
    *tree = linked;
    Ok(Linked { list, libraries })
}

fn open(request: &Request<'_>, links: &Links) -> Result<Repository, SlimError> {
    let folder = request.repository.ok_or(SlimError::NoRepository {
        libraries: links.libraries.len(),
        folders: links.folders.len(),
    })?;
    Ok(Repository::open(folder)?)
}

/// The generation that has all of `links`.
fn provide(repository: &Repository, links: &Links, request: &Request<'_>) -> Result<Index, SlimError> {
    let libraries = links.libraries.iter().cloned().map(Addition::Library);
    let folders = links.folders.iter().map(|(folder, _)| Addition::Folder(folder.clone()));
    let additions: Vec<Addition> = libraries.chain(folders).collect();
    match repository.provide(&additions) {
        Err(LibraryError::Denied { .. }) => Err(denied(repository, links, request)),
        provided => Ok(provided?),
    }
}

/// Says what the owner of `repository` has to add.
fn denied(repository: &Repository, links: &Links, request: &Request<'_>) -> SlimError {
    let objects = links
        .libraries
        .iter()
        .map(|library| Wanted::object(library.content.digest, Some(library.content.length)));
    let folders = links.folders.iter().map(|(_, digest)| Wanted::folder(*digest));
    let mut wanted: Vec<Wanted> = objects.chain(folders).collect();
    wanted.sort();
    wanted.dedup();
    let missing: Vec<Wanted> = repository
        .check(&wanted)
        .into_iter()
        .map(|damage| damage.wanted)
        .collect();
    let lacks = |wanted: Wanted| missing.binary_search(&wanted).is_ok() || missing.is_empty();
    let mut packages: Vec<String> = Vec::new();
    for library in &links.libraries {
        let from = &library.provenance;
        let object = Wanted::object(library.content.digest, Some(library.content.length));
        if let (Some(name), Some(version), true) = (&from.package, &from.version, lacks(object)) {
            packages.push(format!("{name}={version}"));
        }
    }
    packages.sort();
    packages.dedup();
    let folders = links
        .folders
        .iter()
        .filter(|(_, digest)| lacks(Wanted::folder(*digest)));
    SlimError::Denied {
        folder: repository.folder().to_owned(),
        missing: missing.len(),
        wanted: wanted.len(),
        suite: request.suite.to_owned(),
        architecture: request.architecture,
        packages,
        folders: folders.map(|(folder, _)| folder.path.to_string()).collect(),
    }
}

/// Name, version and licence of an installed package.
fn provenance(tree: &Tree, package: &str, version: &dyn Fn(&str) -> Option<String>) -> Provenance {
    let copyright = Path::new("/usr/share/doc").join(package).join("copyright");
    let licence = file_at(tree, &copyright).and_then(|path| match &tree.get(&path)?.kind {
        Kind::File(content) => Some(content.clone()),
        _ => None,
    });
    Provenance {
        package: Some(package.to_owned()),
        version: version(package),
        licence,
    }
}
