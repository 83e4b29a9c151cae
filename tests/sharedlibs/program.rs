//! `hpcvm libs` from outside.

use std::fs;
use std::path::Path;

use super::fixtures::{Place, command, compile, compiler, damage, deb, hpcvm, library};

#[test]
fn errors_tell_what_to_do() {
    let place = Place::new();
    let folder = place.repository.folder().display().to_string();
    let outside = place.home.path().join("none").display().to_string();
    let cases: [(&[&str], i32, String); 6] = [
        (
            &["ls", "--libs", &outside],
            120,
            format!(
                "error[HV2501]: there is no shared library repository in {outside}\n  help: name its folder with --libs \
                 or HPCVM_LIBS, or make one: hpcvm libs add --create --libs {outside} ...\n"
            ),
        ),
        (
            &["ls"],
            120,
            "error[HV2504]: the repository site has no generation 1; it has none\n  \
             help: add something first: hpcvm libs add\n"
                .to_owned(),
        ),
        (
            &["remove", "libz.so.1"],
            120,
            "error[HV2504]: the repository site has no generation 1; it has none\n  \
             help: add something first: hpcvm libs add\n"
                .to_owned(),
        ),
        (
            &["add", "./none.deb"],
            122,
            "error[HV2509]: cannot read ./none.deb: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["add", "--folder", "usr/share", "/"],
            120,
            "error[HV2512]: usr/share cannot be in a folder of a repository: it is no absolute path\n  \
             help: leave it out of the folder, or keep the folder in the image\n"
                .to_owned(),
        ),
        (
            &["add", "--create", "--libs", "/usr/bin", "/"],
            120,
            "error[HV2510]: /usr/bin holds something else: no repository is made in it\n  \
             help: name an empty folder, or one that does not exist yet\n"
                .to_owned(),
        ),
    ];
    for (line, code, expected) in cases {
        let (found, stdout, stderr) = hpcvm(&place, line);
        assert_eq!((found, stdout.as_str(), stderr), (code, "", expected), "{line:?}");
    }
    fs::remove_file(place.repository.folder().join("repository.json")).unwrap();
    fs::write(
        place.repository.folder().join("repository.json"),
        "{\"repository\":9,\"name\":\"x\"}",
    )
    .unwrap();
    let (code, _, stderr) = hpcvm(&place, &["ls"]);
    assert_eq!(
        (code, stderr),
        (
            122,
            format!(
                "error[HV2502]: {folder}/repository.json is of version 9 of its format; this hpcvm knows version 1\n  \
                 help: use the hpcvm that wrote it, or a newer one\n"
            )
        )
    );
}

#[test]
fn the_repository_is_named_or_the_sites() {
    let place = Place::new();
    place.repository.provide(&[library("usr/lib/l", "abc")]).unwrap();
    let list = || command(&place, &["ls"]).env_remove("HPCVM_LIBS").output().unwrap();
    let site = place.home.path().join(".config/hpcvm/site.yaml");
    if !Path::new("/etc/hpcvm/site.yaml").exists() {
        let expected = "error[HV2516]: no shared library repository is named\n  help: name its folder with --libs or \
                        HPCVM_LIBS, or as `libraries:` in /etc/hpcvm/site.yaml\n";
        assert_eq!(String::from_utf8(list().stderr).unwrap(), expected);
    }
    fs::create_dir_all(site.parent().unwrap()).unwrap();
    fs::write(&site, format!("libraries: {}\n", place.repository.folder().display())).unwrap();
    let listed = list();
    assert!(listed.status.success(), "{listed:?}");
    assert!(String::from_utf8(listed.stdout).unwrap().contains("/usr/lib/l"));
}

#[test]
fn damage_is_told_with_its_remedy() {
    let place = Place::new();
    place
        .repository
        .provide(&[library("usr/lib/libdemo.so.1.0", "abc")])
        .unwrap();
    let folder = place.repository.folder();
    let object = place.repository.object_path(hpcvm::digest::Digest::of(b"abc"));
    damage(&object, true);
    let at = object.strip_prefix(folder).unwrap().display().to_string();
    let (code, stdout, stderr) = hpcvm(&place, &["verify"]);
    let expected = format!(
        "{at} has other bytes than were added\n  restored by adding again: libdemo1=1\n\
         site: damaged: 2 objects of 22 B, 0 folders, 1 generations, 0 exports\n"
    );
    assert_eq!((code, stdout, stderr), (1, expected, String::new()));
    let (code, stdout, _) = hpcvm(&place, &["verify", "--repair", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &report["report"]["findings"][0]["action"]),
        (1, &"quarantined".into())
    );

    let index = folder.join("generations/1.json");
    damage(&index, false);
    let (code, _, stderr) = hpcvm(&place, &["ls"]);
    let expected = format!(
        "error[HV2503]: {} is damaged: expected value at line 1 column 1\n  \
         help: see what is sound and what restores the rest: hpcvm libs verify --repair\n",
        index.display()
    );
    assert_eq!((code, stderr), (122, expected));
}

#[test]
fn a_package_is_added_listed_shown_removed_and_swept() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let bytes = fs::read(compile(&place.home.path().join("b"), "-m32", "libdemo.so.1", "DEMO_1")).unwrap();
    let files: [(&str, &[u8]); 3] = [
        ("usr/lib/i386-linux-gnu/libdemo.so.1.0", &bytes),
        ("usr/share/doc/libdemo1/copyright", b"free"),
        ("usr/share/demo/data", b"data"),
    ];
    let deb = deb(place.home.path(), "libdemo1", &files, &[]);
    let deb = deb.to_str().unwrap();
    let (code, stdout, stderr) = hpcvm(&place, &["add", "--folder", "/usr/share/demo", deb, "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let added: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    for (key, value) in [
        ("generation", 1),
        ("entries-added", 2),
        ("objects-written", 4),
        ("folders-written", 1),
    ] {
        assert_eq!(added[key], value, "{added}");
    }
    let (_, stdout, _) = hpcvm(&place, &["add", "--folder", "/usr/share/demo", deb]);
    assert!(
        stdout.starts_with("generation 1 of site: 1 libraries and 1 folders of "),
        "{stdout}"
    );
    assert!(stdout.ends_with("; unchanged, 0 B written\n"), "{stdout}");

    let (_, stdout, _) = hpcvm(&place, &["ls"]);
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..4], ["libdemo.so.1", "i386", "libdemo1", "1.0-2"]);
    assert_eq!(rows[2][..3], ["/usr/share/demo/", "-", "libdemo1"]);
    let (_, stdout, _) = hpcvm(&place, &["ls", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(listed["entries"][0]["provides"][0], "DEMO_1");
    let object = listed["entries"][0]["object"].as_str().unwrap();

    for name in [
        "libdemo.so.1",
        "libdemo1",
        "/usr/lib/i386-linux-gnu/libdemo.so.1.0",
        &object[..12],
    ] {
        let (code, stdout, _) = hpcvm(&place, &["show", name]);
        assert!(
            code == 0 && stdout.contains(object) && stdout.contains("licence"),
            "{name}: {stdout}"
        );
    }
    let (code, _, stderr) = hpcvm(&place, &["show", "libdemo.so.2"]);
    assert_eq!(code, 120);
    assert!(stderr.ends_with("help: there is: libdemo.so.1, libdemo1\n"), "{stderr}");

    let (_, stdout, _) = hpcvm(&place, &["remove", "libdemo.so.1"]);
    assert_eq!(stdout, "generation 2 of site: 0 libraries and 1 folders of 4 B\n");
    let (_, stdout, _) = hpcvm(&place, &["ls", "--generations"]);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    let (code, stdout, stderr) = hpcvm(&place, &["gc", "--keep-generations", "1", "--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.starts_with("would remove 1 objects, 0 folders, 1 generations, 0 exports, 0 quarantined"),
        "{stdout}"
    );
    let (_, stdout, _) = hpcvm(&place, &["gc", "--keep-generations", "1", "--json"]);
    let swept: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(swept["removed"]["objects"][0], object);
    assert_eq!(hpcvm(&place, &["verify"]).0, 0);
}
