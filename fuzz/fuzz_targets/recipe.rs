//! A recipe from anywhere is refused with at least one error, or understood; and what is wrong
//! with it can be shown.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use hpcvm::diagnostic::{Severity, render_json, render_text};
use hpcvm::recipe::load;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// In a folder of its own: a recipe may name files beside it.
static RECIPE: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("recipe.yaml");
    (folder, path)
});

fuzz_target!(|bytes: &[u8]| {
    let path = &RECIPE.1;
    fs::write(path, bytes).expect("a temporary file can be written");
    let loaded = load(path);
    let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    assert_eq!(loaded.recipe.is_none(), errors > 0);
    render_text(&loaded.diagnostics, false);
    render_json(&loaded.diagnostics);
});
