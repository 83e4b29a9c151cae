//! Tests of the store, and images for other tests.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::image::manifest::tests::{ARTEFACTS, manifest};

/// Puts an image of [`ARTEFACTS`] into `store`; `description` makes it another image.
pub(crate) fn put(store: &Store, name: &str, description: &str) -> StoredImage {
    let staging = store.begin().unwrap();
    for (artefact, bytes) in ARTEFACTS {
        fs::write(staging.path(artefact), bytes).unwrap();
    }
    let manifest = Manifest {
        description: description.to_owned(),
        ..manifest(name, &ARTEFACTS)
    };
    staging.commit(&manifest).unwrap()
}

fn empty() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"));
    (folder, store)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_image_is_sealed_named_and_found() {
    let (_folder, store) = empty();
    let image = put(&store, "minimal", "one");
    assert_eq!(mode(store.root()), 0o700);
    assert_eq!(mode(&image.folder), 0o755);
    for (artefact, bytes) in ARTEFACTS {
        assert_eq!(mode(&image.path(artefact)), 0o444);
        assert_eq!(fs::read(image.path(artefact)).unwrap(), bytes);
    }
    assert_eq!(names_in(&store.root().join("staging")).unwrap(), [""; 0]);
    assert_eq!(store.find("minimal").unwrap().digest, image.digest);
    assert_eq!(store.names().unwrap(), [("minimal".to_owned(), image.digest)]);
    assert!(image.files().unwrap().entries.is_empty());
}

#[test]
fn a_name_moves_and_the_old_image_stays() {
    let (_folder, store) = empty();
    let old = put(&store, "minimal", "old");
    let new = put(&store, "minimal", "new");
    assert_ne!(old.digest, new.digest);
    assert_eq!(store.find("minimal").unwrap().digest, new.digest);
    assert_eq!(store.find(&old.reference()).unwrap().digest, old.digest);
    assert_eq!(store.list().unwrap().0.len(), 2);
}

#[test]
fn references_resolve() {
    let (_folder, store) = empty();
    let (a, b) = (put(&store, "alpha", "1"), put(&store, "beta", "2"));
    let digits = a.digest.to_string();
    let folder = a.folder.display().to_string();
    for (reference, expected) in [
        ("alpha", Ok(a.digest)),
        ("beta", Ok(b.digest)),
        (&digits[..4], Ok(a.digest)),
        (&digits, Ok(a.digest)),
        (&format!("sha256:{}", &digits[..8]), Ok(a.digest)),
        (&format!("alpha@{}", &digits[..6]), Ok(a.digest)),
        (&folder, Ok(a.digest)),
        (&format!("beta@{}", &digits[..6]), Err("HV1101")),
        (&digits[..3], Err("HV1101")),
        ("alhpa", Err("HV1101")),
        ("../names/alpha", Err("HV1201")),
        ("/nowhere", Err("HV1201")),
        ("", Err("HV1101")),
    ] {
        let found = store.find(reference).map(|image| image.digest);
        assert_eq!(found.map_err(|error| error.code()), expected, "{reference:?}");
    }
    let help = store.find("alhpa").unwrap_err().help().unwrap();
    assert_eq!(help, "there is: alpha");
    let (_folder, nothing) = empty();
    assert!(nothing.find("alpha").unwrap_err().help().unwrap().contains("is empty"));
    assert!(!nothing.root().exists(), "reading makes no folder");
}

#[test]
fn digits_that_fit_two_images_are_refused() {
    let (_folder, store) = empty();
    let mut seen = std::collections::BTreeSet::new();
    // Some two of 2000 digests share their first four digits, all but surely.
    for round in 0..2000 {
        let candidate = Manifest {
            description: round.to_string(),
            ..manifest("a", &ARTEFACTS)
        };
        let prefix = candidate.digest().to_string()[..4].to_owned();
        if !seen.insert(prefix.clone()) {
            for earlier in 0..=round {
                let earlier = earlier.to_string();
                let other = Manifest {
                    description: earlier.clone(),
                    ..manifest("a", &ARTEFACTS)
                };
                if other.digest().to_string().starts_with(&prefix) {
                    put(&store, "a", &earlier);
                }
            }
            assert_eq!(store.find(&prefix).unwrap_err().code(), "HV1102");
            return;
        }
    }
    panic!("no two digests had a common prefix");
}

#[test]
fn builders_at_once_do_not_disturb_each_other() {
    let (_folder, store) = empty();
    for round in 0..10 {
        let same = format!("same {round}");
        let images: Vec<StoredImage> = std::thread::scope(|scope| {
            let threads = [&same, &same, &format!("other {round}")]
                .map(String::clone)
                .map(|description| scope.spawn(|| put(&store, "shared", &{ description })));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(images[0].digest, images[1].digest);
        assert_ne!(images[0].digest, images[2].digest);
        store.find("shared").unwrap();
    }
    assert_eq!(store.digests().unwrap().len(), 20);
    assert_eq!(names_in(&store.root().join("staging")).unwrap(), [""; 0]);
}

#[test]
fn what_is_staged_must_be_what_the_manifest_says() {
    let (_folder, store) = empty();
    for (artefact, content, expected) in [
        ("image.vdi", Some("diskette"), "image.vdi has 8 bytes, not 4"),
        ("extra", Some("x"), "extra is not in it"),
        ("kernel", None, "cannot use"),
    ] {
        let staging = store.begin().unwrap();
        for (name, bytes) in ARTEFACTS {
            fs::write(staging.path(name), bytes).unwrap();
        }
        match content {
            Some(content) => fs::write(staging.path(artefact), content).unwrap(),
            None => fs::remove_file(staging.path(artefact)).unwrap(),
        }
        let error = staging.commit(&manifest("a", &ARTEFACTS)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(store.digests().unwrap().is_empty());
    assert_eq!(store.name("../a", Digest::of(b"")).unwrap_err().code(), "HV1105");
}

#[test]
fn builds_are_remembered_while_their_image_lasts() {
    let (_folder, store) = empty();
    let key = Digest::of(b"inputs");
    assert!(store.build(key).unwrap().is_none());
    let image = put(&store, "a", "1");
    store.remember_build(key, image.digest).unwrap();
    assert_eq!(store.build(key).unwrap().unwrap().digest, image.digest);
    fs::remove_dir_all(&image.folder).unwrap();
    assert!(store.build(key).unwrap().is_none());
    fs::write(store.root().join("builds").join(key.to_string()), "what").unwrap();
    assert_eq!(store.build(key).unwrap_err().code(), "HV1104");
}

#[test]
fn an_altered_manifest_is_not_taken_for_the_image() {
    let (_folder, store) = empty();
    let image = put(&store, "a", "one");
    let path = image.path(MANIFEST_FILE);
    let altered = fs::read_to_string(&path).unwrap().replace("\"one\"", "\"two\"");
    fs::remove_file(&path).unwrap();
    fs::write(&path, altered).unwrap();
    assert_eq!(store.find("a").unwrap_err().code(), "HV1204");
    let (images, errors) = store.list().unwrap();
    assert_eq!((images.len(), errors.len()), (0, 1));
}
