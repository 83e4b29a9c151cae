//! Recipes as files: the valid ones load, each invalid one says what its golden output says.
//!
//! `HPCVM_BLESS=1 cargo test --test recipe_check` writes schema and golden outputs anew.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hpcvm::diagnostic::{Severity, render_json, render_text};
use hpcvm::recipe::{self, codes, schema};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files in `folder` with this extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn valid_recipes() -> Vec<PathBuf> {
    ["recipes", "recipes/include", "tests/recipes/valid"]
        .iter()
        .flat_map(|folder| files(&project(folder), "yaml"))
        .collect()
}

fn invalid_recipes() -> Vec<PathBuf> {
    files(&project("tests/recipes/invalid"), "yaml")
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// Compares `actual` with the file at `path`, or writes it there when asked to.
fn assert_golden(path: &Path, actual: &str) {
    if std::env::var_os("HPCVM_BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} is out of date: run with HPCVM_BLESS=1 and review",
        path.display()
    );
}

/// A copy of the fixtures, with what git cannot hold beside them.
fn fixtures() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let source = project("tests/recipes");
    for entry in walkdir::WalkDir::new(&source) {
        let entry = entry.unwrap();
        let target = copy.path().join(entry.path().strip_prefix(&source).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    let invalid = copy.path().join("invalid");
    let large = "# filler\n".repeat(1 + usize::try_from(recipe::MAX_FILE_SIZE).unwrap() / 9);
    fs::write(invalid.join("large.yaml"), large).unwrap();
    drop(UnixListener::bind(invalid.join("with-a-socket/socket")).unwrap());
    copy
}

#[test]
fn each_invalid_recipe_says_what_its_golden_output_says() {
    let copy = fixtures();
    for path in invalid_recipes() {
        let mut loaded = recipe::load(&copy.path().join("invalid").join(path.file_name().unwrap()));
        if let Some(recipe) = &loaded.recipe {
            let services = ["ssh".to_owned(), "cron".to_owned()];
            loaded.diagnostics.extend(recipe::unmatched_services(recipe, &services));
        }
        let text = render_text(&loaded.diagnostics, false);
        let text = text.replace(&format!("{}/", copy.path().display()), "");
        let code = &stem(&path)[..6];
        assert!(
            text.contains(&format!("[{code}]")),
            "{} lacks its code:\n{text}",
            path.display()
        );
        assert!(
            loaded.diagnostics.iter().all(|d| d.help.is_some() || d.code < "HV0110"),
            "no help:\n{text}"
        );
        assert_golden(&path.with_extension("txt"), &text);
        let json: serde_json::Value = serde_json::from_str(&render_json(&loaded.diagnostics)).unwrap();
        assert_eq!(json.as_array().unwrap().len(), loaded.diagnostics.len());
    }
}

#[test]
fn every_code_has_a_fixture_and_a_section() {
    let fixtures: BTreeSet<String> = invalid_recipes()
        .iter()
        .map(|path| stem(path)[..6].to_owned())
        .collect();
    let page = fs::read_to_string(project("docs/diagnostics.md")).unwrap();
    for code in codes::ALL {
        assert!(fixtures.contains(code.id), "{} has no failing recipe", code.id);
        let title = format!("\n### {}: {}\n", code.id, code.title);
        assert!(page.contains(&title), "docs/diagnostics.md lacks '{}'", title.trim());
        let severity = match code.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        let section = page.split(&title).nth(1).unwrap().split("\n### ").next().unwrap();
        assert!(
            section.contains(&format!("\n{severity}.")),
            "{} does not say '{severity}.'",
            code.id
        );
        for part in ["```yaml\n", "Cure:"] {
            assert!(section.contains(part), "{} lacks {part:?}", code.id);
        }
    }
    let sections = page.matches("\n### HV").count();
    assert_eq!(
        sections,
        codes::ALL.len(),
        "docs/diagnostics.md has a section of an unknown code"
    );
}

#[test]
fn every_valid_recipe_loads_without_a_word() {
    for path in valid_recipes()
        .into_iter()
        .filter(|path| !path.starts_with(project("recipes/include")))
    {
        let loaded = recipe::load(&path);
        assert!(
            loaded.diagnostics.is_empty(),
            "{}",
            render_text(&loaded.diagnostics, false)
        );
        assert!(loaded.recipe.is_some(), "{}", path.display());
    }
}

/// Paths as in the repository: tests run in the package's folder.
#[test]
fn merging_and_defaults_give_what_the_golden_recipe_says() {
    for name in ["smallest", "everything", "diamond"] {
        let path = PathBuf::from(format!("tests/recipes/valid/{name}.yaml"));
        let recipe = recipe::load(&path).recipe.unwrap();
        let text = serde_json::to_string_pretty(&recipe).unwrap() + "\n";
        assert_golden(&path.with_extension("json"), &text);
    }
}

#[test]
fn the_committed_schema_is_current() {
    assert_golden(&project("schemas/recipe.schema.json"), &schema::recipe_text());
}

/// What any YAML editor sees: the text parsed without our own reader.
fn as_json(path: &Path) -> Option<serde_json::Value> {
    serde_yaml::from_str(&fs::read_to_string(path).ok()?).ok()
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let validator = jsonschema::draft7::new(&schema::recipe()).unwrap();
    for path in valid_recipes() {
        let json = as_json(&path).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn the_schema_refuses_wrong_shapes() {
    let validator = jsonschema::draft7::new(&schema::recipe()).unwrap();
    // Those that are no single YAML document have no shape.
    let shapes = ["HV0105", "HV0107", "HV0108", "HV0109", "HV0110"];
    let wrong = invalid_recipes()
        .into_iter()
        .filter(|path| shapes.contains(&&stem(path)[..6]));
    let mut count = 0;
    for path in wrong {
        let json = as_json(&path).unwrap();
        assert!(!validator.is_valid(&json), "{}", path.display());
        count += 1;
    }
    assert!(count >= shapes.len());
}

#[test]
fn a_recipe_that_is_not_there_is_a_problem_of_the_file() {
    let loaded = recipe::load(Path::new("/no/such/recipe.yaml"));
    assert!(loaded.recipe.is_none());
    let text = render_text(&loaded.diagnostics, false);
    assert!(
        text.starts_with("error[HV0102]: '/no/such/recipe.yaml' does not exist"),
        "{text}"
    );
}
