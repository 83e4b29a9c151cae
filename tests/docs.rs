//! The pages: links lead somewhere, codes mean one thing, dependencies are accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root().join(folder))
        .into_iter()
        .filter_entry(|entry| !["target", ".git"].contains(&entry.file_name().to_str().unwrap_or_default()))
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// `text` without its fenced blocks, in which brackets are not links.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The targets of `[text](target)` in `text`.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors that headings get on the usual hosts: small letters, blanks as `-`, no punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in files(".", "md") {
        let text = fs::read_to_string(&page).unwrap();
        let prose = prose(&text);
        for link in links(&prose).into_iter().filter(|link| !link.contains("://")) {
            checked += 1;
            let (path, anchor) = link
                .split_once('#')
                .map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            let anchor_is_there =
                |anchor| fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || !anchor.is_none_or(anchor_is_there) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(checked > 20, "{checked} links found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn files_that_pages_name_in_code_are_there() {
    let mut missing = Vec::new();
    for page in files(".", "md") {
        let text = fs::read_to_string(&page).unwrap();
        for name in prose(&text).split('`').skip(1).step_by(2) {
            let ours = [
                "src/",
                "docs/",
                "tests/",
                "ci/",
                "recipes/",
                "schemas/",
                "fuzz/",
                "overlays/",
            ];
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let is_path = ours.iter().any(|folder| name.starts_with(folder)) && name.chars().all(plain);
            let beside = page.parent().unwrap().join(name);
            if is_path && !root().join(name).exists() && !beside.exists() {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The codes that a file's `fn code` bodies, or its table of codes, give to its errors.
fn given(source: &str) -> Vec<&str> {
    let program = source.split("#[cfg(test)]").next().unwrap_or_default();
    let bodies = program
        .split("fn code(&self)")
        .skip(1)
        .map(|rest| rest.split("\n    }\n").next().unwrap_or_default());
    // `map_or` names the code of another arm once more.
    let lines = bodies.flat_map(str::lines).filter(|line| !line.contains("map_or"));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| text.len() == 6 && text.starts_with("HV"))
        .collect()
}

#[test]
fn no_two_errors_share_a_code() {
    let mut owners: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files("src", "rs") {
        let source = fs::read_to_string(&file).unwrap();
        for code in given(&source) {
            owners.entry(code.to_owned()).or_default().push(file.clone());
        }
    }
    for code in hpcvm::recipe::codes::ALL {
        owners
            .entry(code.id.to_owned())
            .or_default()
            .push("src/recipe/codes.rs".into());
    }
    assert!(owners.len() > 100, "only {} codes found", owners.len());
    owners.retain(|_, files| files.len() > 1);
    assert!(owners.is_empty(), "{owners:#?}");
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let sections = manifest
        .split("\n[")
        .filter(|text| text.starts_with("dependencies]") || text.starts_with("dev-dependencies]"));
    let names: Vec<&str> = sections
        .flat_map(|section| section.lines().skip(1))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !page.contains(&format!("\n| `{name}` |")))
        .collect();
    assert!(missing.is_empty(), "docs/dependencies.md lacks {missing:?}");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split('`').next());
    let gone: Vec<&str> = rows.filter(|row| !names.contains(row)).collect();
    assert!(
        gone.is_empty(),
        "docs/dependencies.md has {gone:?}, which nothing needs"
    );
}
