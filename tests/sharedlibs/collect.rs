//! What `gc` and `remove` leave.

use std::fs;
use std::path::Path;

use hpcvm::diagnostic::Problem as _;
use hpcvm::digest::Digest;
use hpcvm::image::library_list::{LIBRARY_LIST_FILE, LIBRARY_LIST_VERSION, LibraryList, LinkedFolder};
use hpcvm::image::manifest::{Count, Generation, Libraries};
use hpcvm::image::{Store, StoredImage};
use hpcvm::sharedlibs::Index;
use serde_json::json;

use super::fixtures::{Place, folder, library};

/// Puts an image that links to the folders of `index` into a store of its own.
fn image_of(place: &Place, index: &Index) -> (Store, StoredImage) {
    let store = Store::open(&place.home.path().join("store"));
    let example = StoredImage::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/image")).unwrap();
    let staging = store.begin().unwrap();
    for artefact in &example.manifest.artefacts {
        fs::copy(example.path(&artefact.name), staging.path(&artefact.name)).unwrap();
    }
    let list = LibraryList {
        libraries: LIBRARY_LIST_VERSION,
        entries: Vec::new(),
        folders: index
            .folders
            .iter()
            .map(|folder| LinkedFolder {
                path: folder.path.clone(),
                object: folder.digest,
                files: folder.files,
                bytes: folder.bytes,
            })
            .collect(),
    };
    let bytes = list.to_bytes();
    fs::write(staging.path(LIBRARY_LIST_FILE), &bytes).unwrap();
    let mut manifest = example.manifest.clone();
    manifest.artefacts.push(hpcvm::image::manifest::Artefact {
        name: LIBRARY_LIST_FILE.to_owned(),
        length: bytes.len() as u64,
        digest: Digest::of(&bytes),
    });
    manifest.artefacts.sort();
    let generation = Generation {
        repository: index.repository.clone(),
        number: index.number,
        digest: index.digest,
        folder: None,
    };
    // From JSON, whose other keys have defaults: only the generation matters here.
    let none = Count::default();
    let libraries = json!({"generation": generation, "local": none, "linked": none, "relocated": none});
    manifest.libraries = Some(serde_json::from_value::<Libraries>(libraries).unwrap());
    let image = staging.commit(&manifest).unwrap();
    (store, image)
}

#[test]
fn what_a_generation_names_stays() {
    let place = Place::new();
    let repository = &place.repository;
    let keep = [library("usr/lib/l", "keep"), folder("usr/share/demo", "data")];
    repository.provide(&keep).unwrap();
    let stray = repository.folder().join("objects/00").join("1".repeat(62));
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, "stray").unwrap();
    let dry = repository.gc(&[], None, true).unwrap();
    assert!(stray.exists());
    assert_eq!((dry.objects.len(), dry.bytes, dry.folders.len()), (1, 5, 0));
    assert_eq!(repository.gc(&[], None, false).unwrap(), dry);
    assert!(!stray.exists());
    assert!(repository.verify(false).unwrap().findings.is_empty());
    assert_eq!(
        repository.gc(&[], None, false).unwrap(),
        hpcvm::sharedlibs::gc::Garbage::default()
    );
}

#[test]
fn removed_things_go_when_no_generation_has_them() {
    let place = Place::new();
    let repository = &place.repository;
    repository
        .provide(&[
            library("usr/lib/a", "a"),
            library("usr/lib/b", "b"),
            folder("d", "data"),
        ])
        .unwrap();
    let error = repository.remove(&["/usr/lib/c".to_owned()]).unwrap_err();
    assert_eq!(error.code(), "HV2514");
    let without = repository
        .remove(&["/usr/lib/a".to_owned(), "demo-data".to_owned()])
        .unwrap();
    assert_eq!(
        (without.number, without.entries.len(), without.folders.len()),
        (2, 1, 0)
    );
    assert!(
        repository.gc(&[], None, false).unwrap().objects.is_empty(),
        "generation 1 has it"
    );
    let garbage = repository.gc(&[], Some(1), false).unwrap();
    assert_eq!(garbage.generations, [1]);
    assert_eq!(
        (garbage.objects.len(), garbage.folders.len()),
        (4, 1),
        "library, file, licence and listing"
    );
    assert!(repository.object_path(Digest::of(b"b")).exists());
    assert!(!repository.object_path(Digest::of(b"a")).exists());
    assert_eq!(repository.generations().unwrap(), [2]);
    assert!(repository.verify(false).unwrap().findings.is_empty());
    // What was removed and is wanted again is added again, under a new number.
    assert_eq!(repository.provide(&[library("usr/lib/a", "a")]).unwrap().number, 3);
}

#[test]
fn what_an_image_names_stays() {
    let place = Place::new();
    let repository = &place.repository;
    let first = repository.provide(&[folder("usr/share/demo", "data")]).unwrap();
    let (store, image) = image_of(&place, &first);
    repository.provide(&[library("usr/lib/a", "a")]).unwrap();
    repository.remove(&["demo-data".to_owned()]).unwrap();
    let garbage = repository.gc(std::slice::from_ref(&store), Some(1), false).unwrap();
    assert_eq!(garbage.generations, [2]);
    assert_eq!(garbage.held.get(&1), Some(&vec![image.reference()]));
    assert_eq!(repository.generations().unwrap(), [1, 3]);
    assert!(repository.verify(false).unwrap().findings.is_empty());

    // Even where its generation is gone, its objects stay.
    fs::remove_file(repository.folder().join("generations/1.json")).unwrap();
    repository.gc(std::slice::from_ref(&store), Some(1), false).unwrap();
    let wanted = hpcvm::sharedlibs::Wanted::folder(first.folders[0].digest);
    assert_eq!(repository.check(&[wanted]), []);

    // Whatever cannot be told makes it stop.
    let list = image.path(LIBRARY_LIST_FILE);
    fs::rename(&list, image.path("away")).unwrap();
    let error = repository.gc(std::slice::from_ref(&store), None, false).unwrap_err();
    assert_eq!(error.code(), "HV2515", "{error}");
    fs::rename(image.path("away"), &list).unwrap();
    fs::remove_file(image.path("manifest.json")).unwrap();
    let error = repository.gc(&[store], None, true).unwrap_err();
    assert_eq!(error.code(), "HV2515", "{error}");
    assert_eq!(repository.gc(&[], None, true).unwrap().folders.len(), 1);
}
