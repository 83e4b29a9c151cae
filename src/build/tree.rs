//! From packages to the slim tree, with an account of what went.

use super::{BuildError, Job};
use crate::diagnostic::{Diagnostic, Severity};
use crate::guest::hook;
use crate::plan::StepKind;
use crate::recipe::{self, PurgeRule, Recipe};
use crate::rootfs::cache;
use crate::rootfs::normalise::normalise;
use crate::rootfs::overlay::{lay_files, lay_folder};
use crate::rootfs::purge::{Purged, purge};
use crate::rootfs::resolve::Resolution;
use crate::rootfs::services::{self, Stripped};
use crate::rootfs::tree::{Kind, Tree, TreePath};
use crate::slim::{self, Census, Linked};

/// A tree that is ready to become a root file system.
#[derive(Debug)]
pub(super) struct Slim {
    pub(super) tree: Tree,
    /// `/boot` as it was before anything was purged.
    pub(super) boot: Vec<(TreePath, Kind)>,
    pub(super) stripped: Vec<Stripped>,
    pub(super) purged: Vec<Purged>,
    /// What became of the libraries, where the recipe asks.
    pub(super) libraries: Option<Linked>,
    /// Name of each step, and entries and bytes after it.
    pub(super) sizes: Vec<(&'static str, usize, u64)>,
}

/// Bootstraps the tree, strips it and lays the recipe's own files over it.
pub(super) fn make(job: &Job<'_>, recipe: &Recipe, resolution: &Resolution) -> Result<Slim, BuildError> {
    job.step(StepKind::Bootstrap, recipe);
    let bootstrapped = cache::bootstrap(job.runner, recipe, resolution, &job.places(), &|detail| {
        job.progress.step(StepKind::Bootstrap.name(), detail);
    })?;
    let mut tree = bootstrapped.tree;
    let mut sizes = vec![size("bootstrap", &tree)];
    check_services(recipe, &tree)?;
    let boot = boot_files(&tree);

    job.step(StepKind::Services, recipe);
    let stripped = services::strip(&mut tree, &recipe.keep_services, recipe.init)?;
    sizes.push(size("services", &tree));

    job.step(StepKind::Purge, recipe);
    let (purged, libraries_gone) = purge_rules(&mut tree, recipe)?;
    sizes.push(size("purge", &tree));

    job.step(StepKind::Overlays, recipe);
    lay_over(&mut tree, recipe, resolution.epoch)?;
    normalise(&mut tree, resolution.epoch)?;
    sizes.push(size("overlays", &tree));
    let libraries = libraries(job, recipe, resolution, &mut tree, &libraries_gone)?;
    if libraries.as_ref().is_some_and(|linked| linked.libraries.is_some()) {
        sizes.push(size("libraries", &tree));
    }
    Ok(Slim {
        tree,
        boot,
        stripped,
        purged,
        libraries,
        sizes,
    })
}

/// Applies the purge rules. Where libraries are to be weighed, tells which of them went by which
/// rule.
fn purge_rules(tree: &mut Tree, recipe: &Recipe) -> Result<(Vec<Purged>, Vec<slim::Purged>), BuildError> {
    if recipe.libraries.is_none() {
        return Ok((purge(tree, &recipe.purge, &recipe.keep)?, Vec::new()));
    }
    let (mut purged, mut gone) = (Vec::new(), Vec::new());
    let mut census = Census::of(tree)?;
    for &rule in &recipe.purge {
        let done = purge(tree, &[rule], &recipe.keep)?;
        if done.iter().any(|done| done.files > 0) {
            gone.extend(slim::Purged::since(&census, tree, &rule_name(rule)));
            census.forget_absent(tree);
        }
        purged.extend(done);
    }
    Ok((purged, gone))
}

/// A rule as recipes write it.
fn rule_name(rule: PurgeRule) -> String {
    let name = serde_json::to_value(rule).expect("a rule is a word");
    name.as_str().unwrap_or_default().to_owned()
}

/// Links libraries as the recipe asks; else only sees to it that the loader finds them all.
fn libraries(
    job: &Job<'_>,
    recipe: &Recipe,
    resolution: &Resolution,
    tree: &mut Tree,
    purged: &[slim::Purged],
) -> Result<Option<Linked>, BuildError> {
    let Some(wishes) = &recipe.libraries else {
        slim::ld_cache::write_where_needed(tree, resolution.epoch)?;
        return Ok(None);
    };
    job.step(StepKind::Libraries, recipe);
    let version = |name: &str| {
        let package = resolution.packages.iter().find(|package| package.name == name);
        package.map(|package| package.version.clone())
    };
    let library_path = recipe.run.environment.get("LD_LIBRARY_PATH");
    let request = slim::Request {
        wishes,
        init: recipe.init,
        library_path: library_path.map_or("", String::as_str).as_ref(),
        repository: job.repository(recipe),
        suite: &recipe.base.suite,
        architecture: recipe.base.architecture,
        version: &version,
        purged,
        epoch: resolution.epoch,
    };
    Ok(Some(slim::link(tree, &request)?))
}

fn size(step: &'static str, tree: &Tree) -> (&'static str, usize, u64) {
    (step, tree.len(), tree.iter().map(|(_, entry)| entry.length()).sum())
}

/// What the recipe says of its packages that they do not bear out.
pub(super) fn mistakes(recipe: &Recipe, tree: &Tree) -> Vec<Diagnostic> {
    let available: Vec<String> = services::available(tree)
        .into_iter()
        .map(|service| service.name)
        .collect();
    recipe::unmatched_services(recipe, &available)
}

/// A service that the recipe keeps and no package has is a mistake in the recipe.
fn check_services(recipe: &Recipe, tree: &Tree) -> Result<(), BuildError> {
    let problems = mistakes(recipe, tree);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(BuildError::Recipe(problems));
    }
    Ok(())
}

fn boot_files(tree: &Tree) -> Vec<(TreePath, Kind)> {
    let folder = TreePath::new(b"boot").expect("it is a path");
    tree.below(&folder)
        .map(|(path, entry)| (path.clone(), entry.kind.clone()))
        .collect()
}

fn lay_over(tree: &mut Tree, recipe: &Recipe, epoch: u64) -> Result<(), BuildError> {
    for entry in hook::mount_points() {
        let missing = TreePath::new(entry.path.as_bytes()).is_ok_and(|path| tree.get(&path).is_none());
        if missing {
            lay_files(tree, &[entry], epoch)?;
        }
    }
    for overlay in &recipe.overlays {
        match &overlay.folder {
            Some(folder) => {
                lay_folder(tree, &overlay.name, folder, epoch)?;
            }
            None => hook::lay(tree, recipe.base.architecture, recipe.init, epoch),
        }
    }
    Ok(lay_files(tree, &recipe.files, epoch)?)
}
