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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The codes found in `main.yaml` of a folder with these files, in order.
    fn codes(files: &[(&str, &str)]) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let loaded = load(&folder.path().join("main.yaml"));
        loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
    }

    const BASE: &str = "recipe: 1\nname: base\nbase: {debian: bookworm, architecture: i386}\n";

    #[test]
    fn problems_of_all_files_and_kinds_come_at_once() {
        let main = "recipe: 1\nname: Main\ninclude: [base.yaml, gone.yaml]\nrun: {cpus: 0, gpus: 1}\n";
        let base = format!("{BASE}packages: [Vim]\nkernel: [lz4]\n");
        let found = codes(&[("main.yaml", main), ("base.yaml", &base)]);
        assert_eq!(found, ["HV0201", "HV0111", "HV0221", "HV0105", "HV0208", "HV0107"]);
    }

    #[test]
    fn a_broken_include_does_not_make_its_keys_missing() {
        let main = "recipe: 1\nname: main\ninclude: [base.yaml]\n";
        assert_eq!(codes(&[("main.yaml", main), ("base.yaml", "[")]), ["HV0101"]);
        assert_eq!(codes(&[("main.yaml", main), ("base.yaml", BASE)]), [""; 0]);
    }

    #[test]
    fn a_document_that_is_no_map_is_of_the_wrong_type() {
        for text in ["", "# nothing\n", "- recipe: 1\n", "recipe\n", "1\n"] {
            assert_eq!(codes(&[("main.yaml", text)]), ["HV0107"], "{text:?}");
        }
    }

    #[test]
    fn a_recipe_of_too_many_files_is_refused() {
        let file = |n: usize| format!("recipe: 1\nname: n{n}\ninclude: [n{}.yaml]\n", n + 1);
        let files: Vec<(String, String)> = (0..70).map(|n| (format!("n{n}.yaml"), file(n))).collect();
        let main = format!("{BASE}include: [n0.yaml]\n");
        let mut all = vec![("main.yaml", main.as_str())];
        all.extend(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        assert_eq!(codes(&all), ["HV0113"]);
    }

    #[test]
    fn a_named_pipe_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(load(&path).diagnostics[0].code, "HV0102");
    }

    #[test]
    fn an_empty_list_empties_what_is_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let base = format!("{BASE}purge: [logs]\npackages: [dash]\n");
        fs::write(folder.path().join("base.yaml"), base).unwrap();
        let path = folder.path().join("main.yaml");
        let packages = |own: &str| {
            fs::write(&path, format!("recipe: 1\nname: main\ninclude: [base.yaml]\n{own}")).unwrap();
            let recipe = load(&path).recipe.unwrap();
            (recipe.packages, recipe.purge.len())
        };
        assert_eq!(packages(""), (vec!["dash".to_owned()], 1));
        assert_eq!(packages("purge: []\npackages: []\n"), (vec![], 0));
    }
}
