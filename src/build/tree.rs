//! From packages to the slim tree, with an account of what went.

use super::{BuildError, Job};
use crate::diagnostic::{Diagnostic, Severity};
use crate::guest::hook;
use crate::plan::StepKind;
use crate::recipe::{self, Recipe};
use crate::rootfs::cache;
use crate::rootfs::normalise::normalise;
use crate::rootfs::overlay::{lay_files, lay_folder};
use crate::rootfs::purge::{Purged, purge};
use crate::rootfs::resolve::Resolution;
use crate::rootfs::services::{self, Stripped};
use crate::rootfs::tree::{Kind, Tree, TreePath};

/// A tree that is ready to become a root file system.
#[derive(Debug)]
pub(super) struct Slim {
    pub(super) tree: Tree,
    /// `/boot` as it was before anything was purged.
    pub(super) boot: Vec<(TreePath, Kind)>,
    pub(super) stripped: Vec<Stripped>,
    pub(super) purged: Vec<Purged>,
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
    let purged = purge(&mut tree, &recipe.purge, &recipe.keep)?;
    sizes.push(size("purge", &tree));

    job.step(StepKind::Overlays, recipe);
    lay_over(&mut tree, recipe, resolution.epoch)?;
    normalise(&mut tree, resolution.epoch)?;
    sizes.push(size("overlays", &tree));
    Ok(Slim {
        tree,
        boot,
        stripped,
        purged,
        sizes,
    })
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
