//! Libraries found in packages, trees and files.

use std::fs;
use std::path::Path;
use std::process::Command;

use hpcvm::exec::Host;
use hpcvm::sharedlibs::sources::{Gathering, Source};
use hpcvm::sharedlibs::{Addition, Index, LibraryError, Provenance};

use super::fixtures::{Place, compile, compiler, deb, path};

fn add(place: &Place, sources: &[&Path], folders: &[&str], at: Option<&str>) -> Result<Index, LibraryError> {
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    let scratch = tempfile::tempdir().unwrap();
    let folders: Vec<_> = folders.iter().map(|folder| path(folder)).collect();
    let gathering = Gathering {
        runner: &host,
        scratch: scratch.path(),
        folders: &folders,
        at: at.map(path),
        provenance: Provenance::default(),
    };
    let sources: Result<Vec<Source>, LibraryError> = sources.iter().map(|path| Source::at(path)).collect();
    let additions: Vec<Addition> = gathering.gather(&sources?)?;
    Ok(place.repository.add(&additions)?.index)
}

/// Path, package, version and licence of each library.
fn told(place: &Place, index: &Index) -> Vec<String> {
    let told = index.entries.iter().map(|entry| {
        let word = |word: &Option<String>| word.clone().unwrap_or("-".into());
        let licence = entry
            .licence
            .map(|licence| fs::read_to_string(place.repository.object_path(licence)).unwrap());
        let (package, version) = (word(&entry.package), word(&entry.version));
        format!("{} {package} {version} {}", entry.path, word(&licence))
    });
    told.collect()
}

#[test]
fn packages_bring_libraries_with_their_licences() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let home = place.home.path();
    let library = fs::read(compile(&home.join("b"), "-m32", "libdemo.so.1", "DEMO_1")).unwrap();
    // In /lib, as packages before the merge have it; the licence stands in another package.
    let files: [(&str, &[u8]); 4] = [
        ("lib/i386-linux-gnu/libdemo.so.1.0", &library),
        ("usr/lib/i386-linux-gnu/plugins/p.so", &library),
        ("usr/lib/debug/.build-id/d.debug", &library),
        ("usr/share/text", b"text"),
    ];
    let links = [
        ("usr/share/doc/libdemo1", "demo-base"),
        ("lib/i386-linux-gnu/libdemo.so.1", "libdemo.so.1.0"),
    ];
    let demo = deb(home, "libdemo1", &files, &links);
    let base = deb(
        home,
        "demo-base",
        &[("usr/share/doc/demo-base/copyright", b"free")],
        &[],
    );
    let index = add(&place, &[&demo, &base], &[], None).unwrap();
    assert_eq!(
        told(&place, &index),
        [
            "/usr/lib/i386-linux-gnu/libdemo.so.1.0 libdemo1 1.0-2 free",
            "/usr/lib/i386-linux-gnu/plugins/p.so libdemo1 1.0-2 free",
        ]
    );
    let without = add(&place, &[&demo], &[], None).unwrap();
    assert_eq!(without.number, 2, "no licence is another entry");
    let error = add(&place, &[&base], &[], None).unwrap_err();
    assert!(matches!(error, LibraryError::Nothing { .. }), "{error}");
}

#[test]
fn trees_bring_libraries_and_folders_by_their_package_database() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let tree = place.home.path().join("tree");
    let library = compile(&tree.join("usr/lib"), "-m64", "libdemo.so.1", "DEMO_1");
    fs::copy(&library, tree.join("usr/lib/own.so")).unwrap();
    fs::copy("/bin/true", tree.join("usr/lib/program")).unwrap();
    let files = [
        (
            "var/lib/dpkg/status",
            "Package: libdemo1\nStatus: install ok installed\nVersion: 3\nArchitecture: amd64\n",
        ),
        (
            "var/lib/dpkg/info/libdemo1:amd64.list",
            "/.\n/usr/lib/libdemo.so.1.0.1\n/usr/share/demo/a\n",
        ),
        ("usr/share/doc/libdemo1/copyright", "free"),
        ("usr/share/demo/a", "a"),
        ("usr/share/demo/b/c", "c"),
        ("usr/share/other", "not read"),
    ];
    for (name, text) in files {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    std::os::unix::fs::symlink("../../../../etc/demo", tree.join("usr/share/demo/b/etc")).unwrap();
    let archive = place.home.path().join("tree.tar");
    let tar = ["--owner=0", "--group=0", "-cf"];
    assert!(
        Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .args(tar)
            .arg(&archive)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );

    let from_folder = add(&place, &[&tree], &["usr/share/demo"], None).unwrap();
    let expected = ["/usr/lib/libdemo.so.1.0.1 libdemo1 3 free", "/usr/lib/own.so - - -"];
    assert_eq!(told(&place, &from_folder), expected);
    let folder = &from_folder.folders[0];
    assert_eq!((folder.files, folder.bytes, folder.packages.len()), (4, 2, 1));
    let link = place.repository.folder_path(folder.digest).join("b/etc");
    assert_eq!(
        fs::read_link(link).unwrap(),
        Path::new("/etc/demo"),
        "it led out of the folder"
    );

    let from_archive = add(&place, &[&archive], &["usr/share/demo"], None).unwrap();
    assert_eq!(from_archive, from_folder, "no new generation");

    let moved = add(&place, &[&tree], &["opt/x/usr/share/demo"], Some("opt/x")).unwrap();
    assert!(told(&place, &moved).contains(&"/opt/x/usr/lib/own.so - - -".to_owned()));
}

#[test]
fn single_libraries_stand_where_they_are_or_where_it_is_said() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let file = compile(&place.home.path().join("l"), "-m32", "libdemo.so.1", "DEMO_1");
    let index = add(&place, &[&file], &[], None).unwrap();
    assert_eq!(index.entries[0].path, file.to_str().unwrap());
    let index = add(&place, &[&file], &[], Some("usr/lib")).unwrap();
    assert!(
        index
            .entries
            .iter()
            .any(|entry| entry.path == "/usr/lib/libdemo.so.1.0.1")
    );
    assert_eq!(index.entries.len(), 2, "one object at two paths");
}

/// Whether an error is the one expected.
type Check = fn(&LibraryError) -> bool;

#[test]
fn sources_without_anything_are_refused() {
    let place = Place::new();
    let home = place.home.path();
    fs::create_dir(home.join("empty")).unwrap();
    fs::write(home.join("text"), "neither package nor archive").unwrap();
    fs::write(home.join("cut.deb"), "!<arch>\ndebian-binary").unwrap();
    let cases: [(&str, &[&str], Check); 5] = [
        ("empty", &[], |error| matches!(error, LibraryError::Nothing { .. })),
        ("empty", &["usr/share/demo"], |error| {
            matches!(error, LibraryError::Item { .. })
        }),
        ("text", &[], |error| matches!(error, LibraryError::Packages(_))),
        ("cut.deb", &[], |error| matches!(error, LibraryError::Program(_))),
        ("none", &[], |error| matches!(error, LibraryError::Read { .. })),
    ];
    for (name, folders, fits) in cases {
        let error = add(&place, &[&home.join(name)], folders, None).unwrap_err();
        assert!(fits(&error), "{name}: {error:?}");
    }
    assert_eq!(place.repository.generations().unwrap(), [0_u32; 0]);
}

#[test]
fn folders_that_a_repository_cannot_hold_are_refused() {
    let place = Place::new();
    let tree = place.home.path().join("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("d/pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let error = add(&place, &[&tree], &["d"], None).unwrap_err();
    assert!(error.to_string().contains("/d/pipe"), "{error}");
}
