//! A generation as one file system image; unsquashfs is the oracle.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hpcvm::diagnostic::Problem as _;
use hpcvm::digest::Digest;
use hpcvm::exec::{Host, find_program};
use hpcvm::sharedlibs::export::{TRAILER_LENGTH, Trailer};

use super::fixtures::{Place, damage, folder, library};

fn tools() -> bool {
    ["mksquashfs", "unsquashfs"]
        .iter()
        .all(|tool| find_program(tool.as_ref(), "/usr/bin".as_ref()).is_some())
}

fn host() -> Host {
    Host::new("/usr/bin:/bin".into(), "/".into())
}

#[test]
fn an_export_holds_what_links_lead_to() {
    if !tools() {
        return;
    }
    let place = Place::new();
    let repository = &place.repository;
    repository
        .provide(&[library("usr/lib/a", "a"), folder("usr/share/demo", "data")])
        .unwrap();
    let index = repository.provide(&[library("usr/lib/b", "b")]).unwrap();
    assert_eq!(repository.export_path(2), None);
    let path = repository.export(&host(), 2).unwrap();
    assert_eq!(repository.export_path(2), Some(path.clone()));
    let trailer = Trailer::read(&path).unwrap().unwrap();
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!((trailer.number, trailer.generation), (2, index.digest));
    assert_eq!((trailer.length + TRAILER_LENGTH, length % 4096), (length, 0));
    let bytes = fs::read(&path).unwrap();
    assert_eq!(
        trailer.content,
        Digest::of(&bytes[..usize::try_from(trailer.length).unwrap()])
    );
    assert_eq!(&bytes[..4], b"hsqs");

    let out = place.home.path().join("out");
    let unpacked = Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-dest"])
        .args([&out, &path])
        .output()
        .unwrap();
    assert!(
        unpacked.status.success(),
        "{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    let folders = [repository.folder().join("folders"), out.join("folders")];
    let difference = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args(folders)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&difference.stdout), "");
    let mut objects: Vec<Digest> = index.objects();
    // A listing is of use to its repository only.
    objects.retain(|object| *object != index.folders[0].digest);
    assert_eq!(objects.len(), 4, "two libraries, two licences");
    for object in objects {
        let path = repository.object_path(object);
        let copy = out.join(path.strip_prefix(repository.folder()).unwrap());
        assert_eq!(fs::read(copy).unwrap(), fs::read(path).unwrap());
    }
    let run = out.join(format!("folders/{}/bin/run", index.folders[0].digest));
    let status = fs::metadata(run).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&status.permissions()) & 0o777,
        0o555
    );
}

#[test]
fn the_same_generation_gives_the_same_bytes() {
    if !tools() {
        return;
    }
    let bytes = |later: bool| {
        let place = Place::new();
        place
            .repository
            .provide(&[library("usr/lib/a", "a"), folder("usr/share/demo", "data")])
            .unwrap();
        if later {
            std::thread::sleep(Duration::from_millis(1100));
        }
        fs::read(place.repository.export(&host(), 1).unwrap()).unwrap()
    };
    assert!(bytes(false) == bytes(true));
}

#[test]
fn nothing_damaged_is_exported_and_a_damaged_export_is_not_used() {
    if !tools() {
        return;
    }
    let place = Place::new();
    let repository = &place.repository;
    repository
        .provide(&[library("usr/lib/a", "aaa"), folder("usr/share/demo", "data")])
        .unwrap();
    for object in [Digest::of(b"aaa"), Digest::of(b"data")] {
        let path = repository.object_path(object);
        let whole = fs::read(&path).unwrap();
        damage(&path, true);
        let error = repository.export(&host(), 1).unwrap_err();
        assert_eq!(error.code(), "HV2506", "{error}");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(repository.export_path(1), None);
    let path = repository.export(&host(), 1).unwrap();
    assert_eq!(fs::read_dir(repository.folder().join("incoming")).unwrap().count(), 0);

    damage(&path, true);
    let report = repository.verify(true).unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.path == Path::new("exports/1.squashfs"))
    );
    assert!(!path.exists());
    repository.export(&host(), 1).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(repository.export_path(1), None);
    repository.export(&host(), 1).unwrap();
    assert_eq!(repository.export_path(1), Some(path));
    // Of a repository of the same name, or before the generation was replaced.
    let index = repository.folder().join("generations/1.json");
    let text = fs::read_to_string(&index).unwrap().replace("libdemo1", "libdemo2");
    fs::remove_file(&index).unwrap();
    fs::write(&index, text).unwrap();
    assert_eq!(repository.export_path(1), None);
}
