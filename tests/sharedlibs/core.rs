//! What images rely on: adding, finding, checking.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use hpcvm::diagnostic::Problem as _;
use hpcvm::digest::Digest;
use hpcvm::rootfs::tree::Content;
use hpcvm::sharedlibs::{Addition, Fault, LibraryError, NewLibrary, Provenance, Repository, Wanted};

use super::fixtures::{Place, compile, compiler, damage, epoch, folder, library, path};

#[test]
fn generations_are_cumulative_and_the_oldest_that_fits_is_named() {
    let place = Place::new();
    let repository = &place.repository;
    let first = repository.provide(&[library("usr/lib/liba.so.1", "a")]).unwrap();
    let second = repository.provide(&[library("usr/lib/libb.so.1", "b")]).unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!((first.entries.len(), second.entries.len()), (1, 2));
    assert_eq!(second.previous.map(|previous| previous.digest), Some(first.digest));
    for (bytes, number) in [
        (vec!["a"], 1),
        (vec!["b"], 2),
        (vec!["b", "a"], 2),
        (vec!["c", "a"], 3),
        (vec![], 1),
    ] {
        let additions: Vec<Addition> = bytes.iter().map(|bytes| library("usr/lib/lib.so", bytes)).collect();
        assert_eq!(repository.provide(&additions).unwrap().number, number, "{bytes:?}");
    }
    assert_eq!(repository.generations().unwrap(), [1, 2, 3]);
    assert_eq!(repository.generation(2).unwrap(), second);
    assert_eq!(repository.latest().unwrap().unwrap().number, 3);
    let file = repository.folder().join("generations/2.json");
    assert_eq!(Digest::of_file(&file).unwrap(), second.digest);
}

#[test]
fn objects_and_folders_stand_where_links_lead() {
    let place = Place::new();
    let repository = &place.repository;
    let index = repository
        .provide(&[library("usr/lib/l", "a"), folder("usr/share/demo", "d")])
        .unwrap();
    let digest = Digest::of(b"a").to_string();
    let object = repository.object_path(Digest::of(b"a"));
    assert_eq!(
        object,
        repository
            .folder()
            .join("objects")
            .join(&digest[..2])
            .join(&digest[2..])
    );
    let status = fs::metadata(&object).unwrap();
    assert_eq!(
        (status.permissions().mode() & 0o7777, status.modified().unwrap()),
        (0o444, epoch())
    );

    let data = &index.folders[0];
    assert_eq!((data.path.as_str(), data.files, data.bytes), ("/usr/share/demo", 4, 2));
    let at = repository.folder_path(data.digest);
    let status = |name: &str| fs::symlink_metadata(at.join(name)).unwrap();
    assert_eq!(
        status("data").ino(),
        fs::metadata(repository.object_path(Digest::of(b"d"))).unwrap().ino()
    );
    assert_eq!(status("bin/run").permissions().mode() & 0o7777, 0o555);
    assert_eq!(status("bin").permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_link(at.join("link")).unwrap().to_str(), Some("bin/run"));
    let licence = data.packages[0].licence.unwrap();
    assert_eq!(
        fs::read_to_string(repository.object_path(licence)).unwrap(),
        "licence of demo-data"
    );
    assert_eq!(fs::read_dir(repository.folder().join("incoming")).unwrap().count(), 0);
}

#[test]
fn facts_come_from_the_file() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    for (flag, abi) in [("-m32", "i386"), ("-m64", "x86-64")] {
        let file = compile(&place.home.path().join(abi), flag, "libdemo.so.1", "DEMO_2.4");
        let addition = Addition::Library(NewLibrary {
            path: path("usr/lib/libdemo.so.1.0.1"),
            content: Content::host_file(&file).unwrap(),
            provenance: Provenance::default(),
        });
        let index = place.repository.provide(&[addition]).unwrap();
        let entry = index
            .entries
            .iter()
            .find(|entry| entry.abi.as_deref() == Some(abi))
            .unwrap();
        assert_eq!(entry.soname.as_deref(), Some("libdemo.so.1"));
        assert_eq!(entry.provides, ["DEMO_2.4"]);
        assert_eq!(
            entry.build_id.as_ref().map(String::len),
            Some(40),
            "SHA-1 in hexadecimal"
        );
        assert_eq!(entry.length, fs::metadata(&file).unwrap().len());
        assert_eq!(index.entry(entry.object), Some(entry));
    }
}

/// The operation, the file that is told, and what is told of it.
type Case<'a> = (&'a dyn Fn(), &'a std::path::Path, Fault);

#[test]
fn damage_is_found_and_adding_again_mends_it() {
    let place = Place::new();
    let repository = &place.repository;
    let additions = [library("usr/lib/l", "abc"), folder("usr/share/demo", "data")];
    let index = repository.provide(&additions).unwrap();
    let digest = index.folders[0].digest;
    let wanted = [Wanted::object(Digest::of(b"abc"), Some(3)), Wanted::folder(digest)];
    assert_eq!(repository.check(&wanted), []);
    let (object, at) = (
        repository.object_path(Digest::of(b"abc")),
        repository.folder_path(digest),
    );

    let (run, bin, link) = (at.join("bin/run"), at.join("bin"), at.join("link"));
    let outside = place.home.path();
    let cases: [Case<'_>; 8] = [
        (&|| fs::remove_file(&object).unwrap(), &object, Fault::Missing),
        (&|| damage(&object, false), &object, Fault::Changed),
        (
            &|| fs::write(&object, "ab").unwrap(),
            &object,
            Fault::Length { found: 2, expected: 3 },
        ),
        (&|| damage(&run, false), &run, Fault::Changed),
        (&|| fs::remove_dir_all(&at).unwrap(), &at, Fault::Missing),
        (&|| fs::rename(&link, at.join("gone")).unwrap(), &link, Fault::Missing),
        (
            &|| {
                fs::rename(&bin, outside.join("bin")).unwrap();
                std::os::unix::fs::symlink(outside.join("bin"), &bin).unwrap();
            },
            &bin,
            Fault::Kind { expected: "folder" },
        ),
        (
            &|| damage(&repository.object_path(digest), false),
            &repository.object_path(digest),
            Fault::Changed,
        ),
    ];
    for (number, (operation, path, fault)) in cases.into_iter().enumerate() {
        operation();
        let found = repository.check(&wanted);
        assert_eq!(found.len(), 1, "{number}: {found:?}");
        assert_eq!((found[0].path.as_path(), &found[0].fault), (path, &fault), "{number}");
        let again = repository.provide(&additions).unwrap();
        assert_eq!(again, index, "{number}: no new generation");
        assert_eq!(repository.check(&wanted), [], "{number}");
    }
}

#[test]
fn a_time_that_was_touched_costs_a_hash_and_nothing_else() {
    let place = Place::new();
    place.repository.provide(&[library("usr/lib/l", "abc")]).unwrap();
    let object = place.repository.object_path(Digest::of(b"abc"));
    let touched = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
    fs::File::open(&object).unwrap().set_times(touched).unwrap();
    assert_eq!(place.repository.check(&[Wanted::object(Digest::of(b"abc"), None)]), []);
}

#[test]
fn content_that_changes_meanwhile_is_not_added() {
    let place = Place::new();
    let file = place.home.path().join("lib.so");
    for then in ["changed", "longer than before", ""] {
        fs::write(&file, "content").unwrap();
        let content = Content::host_file(&file).unwrap();
        fs::write(&file, then).unwrap();
        let addition = Addition::Library(NewLibrary {
            path: path("usr/lib/lib.so"),
            content,
            provenance: Provenance::default(),
        });
        let error = place.repository.provide(&[addition]).unwrap_err();
        // A file that became longer is read as far as it was long.
        assert!(matches!(error, LibraryError::Content { .. }), "{then}: {error}");
        assert_eq!(place.repository.generations().unwrap(), [0_u32; 0]);
        assert_eq!(
            fs::read_dir(place.repository.folder().join("objects")).unwrap().count(),
            0
        );
    }
}

#[test]
fn a_damaged_or_foreign_index_is_told() {
    let place = Place::new();
    place.repository.provide(&[library("usr/lib/l", "abc")]).unwrap();
    let file = place.repository.folder().join("generations/1.json");
    let good = fs::read_to_string(&file).unwrap();
    let cases = [
        (good.replace("\"generation\":1", "\"generation\":2"), "HV2502"),
        (good.replace("\"generation\":1", "\"generation\":2,\"new\":3"), "HV2502"),
        (good.replace("\"number\":1", "\"number\":2"), "HV2503"),
        (good.replace("\"site\"", "\"other\""), "HV2503"),
        (good.replace("\"/usr", "\"usr"), "HV2503"),
        (good[..good.len() / 2].to_owned(), "HV2503"),
        (String::new(), "HV2503"),
    ];
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for (text, code) in cases {
        assert_ne!(text, good);
        fs::write(&file, &text).unwrap();
        let error = place.repository.generation(1).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    let error = place.repository.generation(7).unwrap_err();
    assert_eq!(error.code(), "HV2504", "{error}");
}

#[test]
fn others_open_it_by_any_path() {
    let place = Place::new();
    let link = place.home.path().join("link");
    std::os::unix::fs::symlink(place.repository.folder(), &link).unwrap();
    let opened = Repository::open(&link).unwrap();
    assert_eq!(opened.folder(), place.repository.folder());
}
