//! `hpcvm image gc` from outside.

use std::fs;
use std::path::Path;

use hpcvm::image::hold::hold;
use hpcvm::image::{Store, StoredImage};

use super::fixture::hpcvm;

/// Puts the example image with this description into `store`.
fn put(store: &Store, description: &str) -> StoredImage {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/image");
    let image = StoredImage::open(&example).unwrap();
    let staging = store.begin().unwrap();
    for artefact in &image.manifest.artefacts {
        fs::copy(image.path(&artefact.name), staging.path(&artefact.name)).unwrap();
    }
    let mut manifest = image.manifest;
    description.clone_into(&mut manifest.description);
    staging.commit(&manifest).unwrap()
}

#[test]
fn images_without_a_name_go_unless_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let [old, used, named] = ["old", "used", "named"].map(|description| put(&store, description));
    let held = hold(&used.folder).unwrap();
    let gc = |more: &[&str]| {
        let arguments = ["--store", folder.path().to_str().unwrap(), "image", "gc"];
        let output = hpcvm(&[&arguments, more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    assert!(gc(&[]).ends_with("nothing to remove\n"), "both are young");
    let told = gc(&["--older-than", "0", "--dry-run"]);
    assert!(told.contains(&format!("would remove {}, ", old.reference())), "{told}");
    assert!(
        told.contains(&format!("kept {}: it is in use", used.digest.short())),
        "{told}"
    );
    assert!(old.folder.is_dir());

    let told: serde_json::Value = serde_json::from_str(&gc(&["--older-than", "0", "--json"])).unwrap();
    assert_eq!(told["removed"][0]["digest"], old.digest.to_string());
    assert_eq!(told["freed"], old.manifest.length());
    assert!(!old.folder.exists() && used.folder.is_dir() && named.folder.is_dir());

    drop(held);
    gc(&["--older-than", "0s"]);
    assert_eq!(store.digests().unwrap(), [named.digest]);
}
