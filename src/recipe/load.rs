//! From a path to a checked recipe, or to everything that is wrong with it.

use std::path::Path;
use std::sync::Arc;

use super::report::Report;
use super::resolved::Recipe;
use super::{include, merge, validate};
use crate::diagnostic::{Diagnostic, SourceFile};

pub use super::include::MAX_FILE_SIZE;

/// What came of loading a recipe.
#[derive(Debug)]
pub struct Loaded {
    /// The recipe, unless something forbids building it.
    pub recipe: Option<Recipe>,
    /// Every problem found, sorted by file (the recipe first, then in the order read) and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The recipe's file and all it includes, in the order read.
    pub sources: Vec<Arc<SourceFile>>,
}

/// Loads the recipe at `path` with everything it includes, and checks it. It looks at the host's
/// files the recipe names (overlays, sources), at nothing else.
#[must_use]
pub fn load(path: &Path) -> Loaded {
    let mut report = Report::default();
    let recipes = include::read_all(path, &mut report);
    // No model means that the recipe itself could not be read: there is nothing to check.
    let recipe = (!recipes.is_empty()).then(|| {
        let merged = merge::merge(recipes, &mut report);
        validate::resolve(merged, &mut report)
    });
    let recipe = recipe.filter(|_| !report.has_errors());
    let Report { files, mut diagnostics } = report;
    let rank = |file: &Arc<SourceFile>| files.iter().position(|other| Arc::ptr_eq(file, other));
    diagnostics.sort_by_key(|d| (rank(&d.file), d.span.range.start, d.code));
    Loaded {
        recipe,
        diagnostics,
        sources: files,
    }
}
