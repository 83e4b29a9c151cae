//! Bootstrapped trees, kept by what went into them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::RootfsError;
use super::archive::ArchiveSource;
use super::configured::{self, Job, bootstrapper};
use super::error::writing;
use super::extract;
use super::index;
use super::pool::Pool;
use super::resolve::Resolution;
use super::tree::Tree;
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::exec::Runner;
use crate::recipe::{Bootstrap, Recipe};

/// Counts changes of how trees are made: an older hpcvm's are then made anew.
const FORMAT: u64 = 1;

/// Folders that bootstrapping works in.
#[derive(Clone, Debug)]
pub struct CachePlaces {
    /// Private states of apt.
    pub apt: PathBuf,
    /// Package files.
    pub pool: PathBuf,
    /// Trees and expanded packages.
    pub trees: PathBuf,
    /// Where short-lived files go that other users must be able to enter, such as `/tmp`.
    pub scratch: PathBuf,
}

/// A tree as its packages make it, before anything is stripped or laid over.
#[derive(Clone, Debug)]
pub struct Bootstrapped {
    /// The tree.
    pub tree: Tree,
    /// Whether it was there already.
    pub cached: bool,
    /// What it is kept under.
    pub key: Digest,
}

/// The tree of `resolution`, from the cache or made now. `progress` is told what is being done.
/// Processes that want the same tree at once wait for the first.
pub fn bootstrap(
    runner: &dyn Runner,
    recipe: &Recipe,
    resolution: &Resolution,
    places: &CachePlaces,
    progress: &dyn Fn(&str),
) -> Result<Bootstrapped, RootfsError> {
    let key = key(runner, recipe, resolution)?;
    durable::create_private_folder(&places.trees)?;
    let place = |kind: &str| places.trees.join(format!("{key}.{kind}"));
    let _lock = locked(&place("lock"))?;
    if let Some(tree) = index::load(&place("index")) {
        let cached = true;
        return Ok(Bootstrapped { tree, cached, key });
    }
    // There but not whole: what it was made from is suspect as well.
    extract::forget(&index::archives(&place("index")));
    let pool = Pool::new(&places.pool);
    fetch(runner, recipe, resolution, &pool, progress)?;
    let tree = match recipe.base.bootstrap {
        Bootstrap::Extract => {
            progress("unpacking packages");
            let archives = places.trees.join("debs");
            let suite = &resolution.archive.suite;
            extract::extract(runner, &resolution.packages, &pool, &archives, suite, resolution.epoch)?
        }
        Bootstrap::Configured => {
            progress("installing and configuring packages");
            let job = Job {
                resolution,
                pool: &pool,
                scratch: &places.scratch,
                initrd: recipe.kernel.initrd,
                tool: bootstrapper(runner, recipe.base.bootstrapper)?.0,
            };
            configured::bootstrap(runner, &job, &place("tar"))?
        }
    };
    index::save(&tree, &place("index"))?;
    let cached = false;
    Ok(Bootstrapped { tree, cached, key })
}

/// Brings the packages and the kernel's into the pool. The archive is only asked for when
/// something is missing, so that a build from a full pool needs neither network nor mirror.
pub fn fetch(
    runner: &dyn Runner,
    recipe: &Recipe,
    resolution: &Resolution,
    pool: &Pool,
    progress: &dyn Fn(&str),
) -> Result<(), RootfsError> {
    let all = || resolution.packages.iter().chain([&resolution.kernel]);
    let missing = all().filter(|package| !pool.has(package)).count();
    if missing > 0 {
        progress(&format!("fetching {missing} packages"));
        let source = ArchiveSource::find(runner, &recipe.base, None)?;
        pool.fetch(runner, &source, all())?;
    }
    Ok(())
}

/// The tree of `resolution` if it is in the cache; nothing is made.
#[must_use]
pub fn cached(runner: &dyn Runner, recipe: &Recipe, resolution: &Resolution, places: &CachePlaces) -> Option<Tree> {
    let key = key(runner, recipe, resolution).ok()?;
    index::load(&places.trees.join(format!("{key}.index")))
}

/// Whether the tree of `resolution` is in the cache, as far as can be told without reading it.
pub fn is_cached(runner: &dyn Runner, recipe: &Recipe, resolution: &Resolution, places: &CachePlaces) -> bool {
    key(runner, recipe, resolution).is_ok_and(|key| places.trees.join(format!("{key}.index")).is_file())
}

/// The digest of all that decides what the tree is.
fn key(runner: &dyn Runner, recipe: &Recipe, resolution: &Resolution) -> Result<Digest, RootfsError> {
    let mut hasher = Hasher::default();
    hasher.field(&FORMAT.to_le_bytes());
    hasher.field(resolution.archive.suite.as_bytes());
    hasher.field(resolution.archive.architecture.debian().as_bytes());
    hasher.field(&resolution.epoch.to_le_bytes());
    match recipe.base.bootstrap {
        Bootstrap::Extract => hasher.field(b"extract"),
        Bootstrap::Configured => {
            let (_, version) = bootstrapper(runner, recipe.base.bootstrapper)?;
            let initrd = format!("{:?}", recipe.kernel.initrd);
            hasher
                .field(b"configured")
                .field(version.as_bytes())
                .field(initrd.as_bytes())
        }
    };
    for package in &resolution.packages {
        hasher.field(package.sha256.as_bytes());
    }
    Ok(hasher.finish())
}

/// Waits for and takes the lock file at `path`.
fn locked(path: &Path) -> Result<File, RootfsError> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(writing(path))?;
    file.lock().map_err(writing(path))?;
    Ok(file)
}
