//! Whatever a recipe file holds, loading it ends with a recipe or with errors, and both render.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::load;
use crate::diagnostic::{Severity, render_json, render_text};

/// Valid recipes to spoil.
const SEEDS: [&str; 3] = [
    include_str!("../../tests/recipes/valid/everything.yaml"),
    include_str!("../../recipes/include/minimal.yaml"),
    include_str!("../../recipes/unoptimised-i386.yaml"),
];

/// Loads `bytes` as a recipe that stands alone and checks what must hold of every outcome.
fn check(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.yaml");
    fs::write(&path, bytes).unwrap();
    check_file(&path);
}

fn check_file(path: &Path) {
    let loaded = load(path);
    let errors = loaded
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    assert_eq!(loaded.recipe.is_none(), errors > 0);
    for diagnostic in &loaded.diagnostics {
        let range = diagnostic.span.range.clone();
        assert!(diagnostic.file.text.get(range).is_some(), "{diagnostic:?}");
        assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
    }
    let text = render_text(&loaded.diagnostics, false);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let records: Vec<serde_json::Value> = serde_json::from_str(&render_json(&loaded.diagnostics)).unwrap();
    assert_eq!(records.len(), loaded.diagnostics.len());
    if let Some(recipe) = loaded.recipe {
        serde_json::to_string(&recipe).unwrap();
    }
}

/// One change to a text, at a place given in thousandths of it.
#[derive(Clone, Debug)]
enum Change {
    Insert(usize, String),
    Delete(usize, usize),
    DuplicateLine(usize),
    SwapLines(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = || 0..1000_usize;
    let snippet = prop_oneof![
        "[-\\[\\]{}:,'\"&*!|>%@`#?~<= \n\t\u{0}\u{1b}é]{1,4}",
        "[a-z0-9./_-]{1,12}",
        Just("*x".to_owned()),
        Just("&x ".to_owned()),
        Just("\n---\n".to_owned()),
        Just("null".to_owned()),
        Just("18446744073709551616".to_owned()),
    ];
    prop_oneof![
        (place(), snippet).prop_map(|(at, text)| Change::Insert(at, text)),
        (place(), 1..40_usize).prop_map(|(at, len)| Change::Delete(at, len)),
        place().prop_map(Change::DuplicateLine),
        (place(), place()).prop_map(|(a, b)| Change::SwapLines(a, b)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let at = |place: usize| text.floor_char_boundary(text.len() * place / 1000);
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let line = |place: usize| lines.len().saturating_sub(1) * place / 1000;
    match change {
        Change::Insert(place, snippet) => {
            let (before, after) = text.split_at(at(*place));
            format!("{before}{snippet}{after}")
        }
        Change::Delete(place, len) => {
            let start = at(*place);
            let end = text.ceil_char_boundary(start + len);
            format!("{}{}", &text[..start], &text[end..])
        }
        Change::DuplicateLine(place) if !lines.is_empty() => {
            let index = line(*place);
            lines.insert(index, lines[index]);
            lines.concat()
        }
        Change::SwapLines(a, b) if !lines.is_empty() => {
            let (a, b) = (line(*a), line(*b));
            lines.swap(a, b);
            lines.concat()
        }
        _ => text.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "(?s).{0,200}") {
        check(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_yaml_punctuation_is_survived(text in "[-\\[\\]{}:,'\"&*!|>%@#?~<a \n]{0,60}") {
        check(format!("recipe: 1\nname: x\n{text}").as_bytes());
    }

    #[test]
    fn a_spoiled_recipe_is_survived(
        seed in 0..SEEDS.len(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let spoiled = changes.iter().fold(SEEDS[seed].to_owned(), |text, change| apply(&text, change));
        check(spoiled.as_bytes());
    }
}
