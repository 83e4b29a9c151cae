//! `docs/errors.md` lists every code that is not about recipes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The codes quoted in a source file, except those of recipes, below HV0900.
fn codes(source: &str) -> impl Iterator<Item = &str> {
    let quoted = source
        .split('"')
        .filter(|text| text.len() == 6 && text.starts_with("HV"));
    quoted.filter(|code| code[2..].parse().is_ok_and(|number: u32| number >= 900))
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            found.extend(codes(&source).map(str::to_owned));
        }
    }
}

#[test]
fn the_page_lists_every_code_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    collect(&root.join("src"), &mut found);
    assert!(found.contains("HV1101"), "{found:?}");
    let page = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let missing: Vec<&String> = found
        .iter()
        .filter(|code| !page.contains(&format!("\n| {code} |")))
        .collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
}
