//! Recipes named on the command line.

use std::path::PathBuf;

use super::{CliError, Context};
use crate::diagnostic::{Blame, Diagnostic, Problem, Severity, render_json, render_text};
use crate::plan::lock::{self, Lock, LockError};
use crate::recipe::{self, Recipe};
use crate::rootfs::resolve::Resolution;

/// A recipe has errors, which have been shown.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be built: {errors} error{}", path.display(), if *errors == 1 { "" } else { "s" })]
struct UnusableRecipe {
    path: PathBuf,
    errors: usize,
}

impl Problem for UnusableRecipe {
    fn code(&self) -> &'static str {
        "HV0903"
    }

    fn blame(&self) -> Blame {
        Blame::User
    }
}

/// Which recipe, and which mirror its packages come from.
#[derive(Debug, clap::Args)]
pub(super) struct RecipeArgs {
    /// The recipe's file
    recipe: PathBuf,
    /// Debian mirror to fetch packages from, before the recipe's and the host's own
    #[arg(long, value_name = "URI", env = "HPCVM_MIRROR", hide_env_values = true)]
    mirror: Option<String>,
}

impl RecipeArgs {
    /// The recipe, understood and checked; what is wrong with it is shown.
    pub(super) fn load(&self, context: &Context) -> Result<Recipe, CliError> {
        let loaded = recipe::load(&self.recipe);
        show(context, &loaded.diagnostics);
        let errors = loaded
            .diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .count();
        let unusable = || UnusableRecipe {
            path: self.recipe.clone(),
            errors,
        };
        let mut recipe = loaded.recipe.ok_or_else(unusable)?;
        if let Some(mirror) = &self.mirror {
            recipe.base.mirror = Some(mirror.clone());
        }
        Ok(recipe)
    }

    /// The recipe's lock file, be it there or not.
    pub(super) fn lock_path(&self) -> PathBuf {
        lock::path_of(&self.recipe)
    }

    /// The packages that the lock file says, where there is one; it rules out an `update`.
    pub(super) fn lock(&self, recipe: &Recipe, update: bool) -> Result<Option<Resolution>, LockError> {
        let path = self.lock_path();
        match Lock::read(&path)? {
            None => Ok(None),
            Some(_) if update => Err(LockError::Locked(path)),
            Some(lock) => lock.resolution(recipe, &path).map(Some),
        }
    }
}

/// Shows diagnostics on standard error, as text or JSON.
pub(super) fn show(context: &Context, diagnostics: &[Diagnostic]) {
    if diagnostics.is_empty() {
        return;
    }
    let text = if context.ui.json() {
        render_json(diagnostics)
    } else {
        render_text(diagnostics, context.ui.stderr_style() == super::ui::Style::Ansi)
    };
    context.ui.complain(&text);
}
