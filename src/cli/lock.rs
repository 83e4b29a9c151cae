//! `hpcvm lock`

use std::fmt::Write as _;

use super::build::{Wishes, with_job};
use super::recipe_file::RecipeArgs;
use super::{CliError, Context, Exit, Steps};
use crate::build::{self, BuildError};
use crate::plan::lock::{Change, Lock, LockError};
use crate::recipe::Recipe;

/// Arguments of `hpcvm lock`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The lock file is NAME.lock.json beside NAME.yaml: keep it in version control with the recipe. \
                             Builds then take exactly its packages, or fail."
)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Ask the archive anew which packages the recipe means
    #[arg(long)]
    update: bool,
    /// Write nothing; exit with 1 if the lock file would change
    #[arg(long)]
    check: bool,
}

/// Writes a recipe's lock file, and tells what changed in it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let recipe = args.recipe.load(context)?;
    let path = args.recipe.lock_path();
    let before = Lock::read(&path)?;
    if args.check && before.is_none() {
        return Err(LockError::Missing(path).into());
    }
    let kept = before.clone().filter(|lock| lock.fits(&recipe) && !args.update);
    let lock = kept.map_or_else(|| resolve(context, &recipe, args.update), Ok)?;
    let is_changed = before.as_ref() != Some(&lock);
    if is_changed && !args.check {
        lock.write(&path)?;
    }
    let changes = before.as_ref().map_or_else(Vec::new, |before| lock.changes(before));
    if context.ui.json() {
        context.ui.print_json(&serde_json::json!({
            "lock": 1, "file": path, "packages": lock.count(), "changed": is_changed, "changes": changes,
        }))?;
    } else {
        let news = match (is_changed, args.check) {
            (false, _) => "unchanged",
            (true, false) => "written",
            (true, true) => "would change",
        };
        let line = format!("{}: {news}, {} packages\n", path.display(), lock.count());
        context.ui.print(line + &text(&changes))?;
    }
    Ok(if is_changed && args.check {
        Exit::Found
    } else {
        Exit::Done
    })
}

/// A lock to what the recipe's packages are known to be, or else to what the archive has now.
fn resolve(context: &Context, recipe: &Recipe, update: bool) -> Result<Lock, BuildError> {
    let steps = Steps::new(&context.ui);
    let wishes = Wishes {
        update,
        ..Wishes::default()
    };
    let packages = with_job(context, &steps, wishes, |job| build::packages(job, recipe))?;
    Ok(Lock::new(recipe, packages))
}

/// A line for each change.
fn text(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |mut text, change| {
        let _ = match (&change.before, &change.now) {
            (Some(before), Some(now)) => writeln!(text, "  {} {before} -> {now}", change.name),
            (None, Some(now)) => writeln!(text, "  {} {now} added", change.name),
            (Some(before), None) => writeln!(text, "  {} {before} removed", change.name),
            (None, None) => Ok(()),
        };
        text
    })
}
