//! Reading a repository whole, and mending it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hpcvm::digest::Digest;
use hpcvm::sharedlibs::verify::{Action, Report};

use super::fixtures::{Place, damage, folder, library};

/// Path and action of each finding.
fn findings(report: &Report) -> Vec<(&Path, Action)> {
    let findings = report.findings.iter();
    findings
        .map(|finding| (finding.path.as_path(), finding.action))
        .collect()
}

fn below<'a>(place: &Place, path: &'a Path) -> &'a Path {
    path.strip_prefix(place.repository.folder()).unwrap()
}

#[test]
fn a_quiet_change_is_found_taken_away_and_restored() {
    let place = Place::new();
    let repository = &place.repository;
    let additions = [library("usr/lib/l", "abc"), library("usr/lib/m", "mmm")];
    let index = repository.provide(&additions).unwrap();
    assert!(repository.verify(false).unwrap().is_sound());
    let object = repository.object_path(Digest::of(b"abc"));
    damage(&object, true);

    let report = repository.verify(false).unwrap();
    assert_eq!(findings(&report), [(below(&place, &object), Action::None)]);
    assert_eq!(report.findings[0].restored_by, ["libdemo1=1"]);
    assert!(object.exists() && !report.is_sound());

    let report = repository.verify(true).unwrap();
    assert_eq!(findings(&report), [(below(&place, &object), Action::Quarantined)]);
    assert!(!object.exists() && !report.is_sound());
    let report = repository.verify(true).unwrap();
    assert_eq!(report.findings[0].fault, "is missing");

    assert_eq!(repository.provide(&additions).unwrap(), index);
    let report = repository.verify(false).unwrap();
    assert_eq!((report.findings.len(), report.objects), (0, 3));
}

#[test]
fn a_folder_is_made_again_from_sound_objects() {
    let place = Place::new();
    let repository = &place.repository;
    let additions = [folder("usr/share/demo", "data")];
    let digest = repository.provide(&additions).unwrap().folders[0].digest;
    let at = repository.folder_path(digest);
    let operations: [&dyn Fn(); 4] = [
        &|| damage(&at.join("bin/run"), true),
        &|| fs::remove_dir_all(&at).unwrap(),
        &|| fs::write(at.join("bin/more"), "more").unwrap(),
        &|| fs::set_permissions(at.join("bin/run"), fs::Permissions::from_mode(0o444)).unwrap(),
    ];
    for (number, operation) in operations.into_iter().enumerate() {
        operation();
        let report = repository.verify(true).unwrap();
        let actions: Vec<Action> = report.findings.iter().map(|finding| finding.action).collect();
        assert_eq!(actions, [Action::Mended], "{number}: {:?}", report.findings);
        assert!(repository.verify(false).unwrap().findings.is_empty(), "{number}");
    }
    // One file with its object: both are damaged, and nothing here can mend them.
    damage(&at.join("data"), true);
    let report = repository.verify(true).unwrap();
    let actions: Vec<Action> = report.findings.iter().map(|finding| finding.action).collect();
    assert_eq!(actions, [Action::Quarantined, Action::Quarantined]);
    assert_eq!(report.findings[0].restored_by, ["/usr/share/demo", "demo-data=1"]);
    repository.provide(&additions).unwrap();
    assert!(repository.verify(false).unwrap().findings.is_empty());
}

#[test]
fn modes_times_and_leftovers_are_put_right() {
    let place = Place::new();
    let repository = &place.repository;
    repository.provide(&[library("usr/lib/l", "abc")]).unwrap();
    let object = repository.object_path(Digest::of(b"abc"));
    fs::set_permissions(&object, fs::Permissions::from_mode(0o666)).unwrap();
    let leftover = repository.folder().join("incoming/writer-old");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("part"), "half").unwrap();
    let expected = [&leftover, &object];
    for (repair, action) in [(false, Action::None), (true, Action::Mended)] {
        let report = repository.verify(repair).unwrap();
        let expected: Vec<(&Path, Action)> = expected.iter().map(|path| (below(&place, path), action)).collect();
        assert_eq!(findings(&report), expected);
        assert_eq!(report.is_sound(), repair);
    }
    assert!(!leftover.exists());
    assert_eq!(fs::metadata(&object).unwrap().permissions().mode() & 0o777, 0o444);
}

#[test]
fn a_damaged_generation_keeps_its_number() {
    let place = Place::new();
    let repository = &place.repository;
    for bytes in ["a", "b", "c"] {
        repository.provide(&[library("usr/lib/l", bytes)]).unwrap();
    }
    let file = |number| repository.folder().join(format!("generations/{number}.json"));
    damage(&file(3), false);
    // Still an index, but not the one that the next was made from.
    let second = fs::read_to_string(file(2)).unwrap().replace("libdemo1", "libdemo2");
    fs::remove_file(file(2)).unwrap();
    fs::write(file(2), second).unwrap();
    let report = repository.verify(true).unwrap();
    assert_eq!(findings(&report), [(below(&place, &file(3)), Action::Quarantined)]);
    let next = repository.provide(&[library("usr/lib/l", "d")]).unwrap();
    assert_eq!((next.number, next.previous.unwrap().number), (4, 2));
    assert_eq!(repository.generations().unwrap(), [1, 2, 4]);
    let first = fs::read_to_string(file(1)).unwrap().replace("libdemo1", "libdemo3");
    fs::remove_file(file(1)).unwrap();
    fs::write(file(1), first).unwrap();
    let report = repository.verify(false).unwrap();
    assert_eq!(
        findings(&report),
        [(below(&place, &file(1)), Action::None)],
        "the chain is broken"
    );
}
