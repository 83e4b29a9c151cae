use std::ffi::OsStr;

use super::test_trees::{Root, has, path};
use super::*;
use crate::diagnostic::Problem as _;
use crate::image::library_list::{LibraryList, Reason, Verdict};
use crate::recipe::{Init, Libraries, LocalLibraries};
use crate::rootfs::tree::{Kind, Tree};
use crate::sharedlibs::{MOUNT_POINT, Repository};

const LIB: &str = "usr/lib/i386-linux-gnu";

fn lib(name: &str) -> String {
    format!("{LIB}/{name}")
}

fn wishes() -> Libraries {
    Libraries {
        local: LocalLibraries::BootCritical,
        repository: None,
        repository_folder: None,
        linked_packages: Vec::new(),
        keep: Vec::new(),
        relocate: Vec::new(),
    }
}

/// Links `tree` with a repository of its own.
fn linked(tree: &mut Tree, wishes: &Libraries) -> Result<Linked, SlimError> {
    let home = tempfile::tempdir().unwrap();
    let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
    linked_from(tree, wishes, Some(&repository), &[])
}

fn linked_from(
    tree: &mut Tree,
    wishes: &Libraries,
    repository: Option<&Repository>,
    purged: &[Purged],
) -> Result<Linked, SlimError> {
    link(
        tree,
        &Request {
            wishes,
            init: Init::JobRunner,
            library_path: OsStr::new(""),
            repository: repository.map(Repository::folder),
            suite: "bookworm",
            architecture: crate::architecture::Architecture::I386,
            version: &|name| Some(format!("{name}-1")),
            purged,
            epoch: 7,
        },
    )
}

/// An application with a plug-in, on the bootable root.
fn application() -> Root {
    let root = Root::bootable();
    let libc = lib("libc.so.6");
    root.library(&lib("libz.so.1.2"), "libz.so.1", &[&libc]);
    root.link("libz.so.1.2", &lib("libz.so.1"));
    root.hard_link(&lib("libz.so.1.2"), &lib("libz-again.so"));
    root.library(&lib("libm.so.6"), "libm.so.6", &[&libc]);
    root.program("usr/bin/app", &[&lib("libz.so.1.2"), &lib("libm.so.6")], &[]);
    root.library(&lib("libextra.so.0"), "libextra.so.0", &[&libc]);
    root.library("usr/lib/app/plugin.so", "", &[&lib("libextra.so.0")]);
    root.library(&lib("libblas.so.3"), "libblas.so.3", &[&libc]);
    root.program("usr/bin/solve", &[&lib("libblas.so.3")], &[]);
    root.file("usr/share/app/data", "data");
    root
}

fn package(path: &str) -> Option<&'static str> {
    match path {
        _ if path.contains("libblas") => Some("libblas3"),
        _ if path.contains("libz") => Some("zlib1g"),
        _ => None,
    }
}

fn decided(list: &LibraryList, name: &str) -> (Verdict, Reason) {
    let entry = list.entries.iter().find(|entry| {
        entry
            .path
            .as_ref()
            .is_some_and(|path| path.ends_with(&format!("/{name}")))
            || entry.soname.as_deref() == Some(name)
    });
    let entry = entry.unwrap_or_else(|| panic!("{name} is not told of"));
    (entry.verdict, entry.reason)
}

#[test]
fn a_policy_decides_what_stays() {
    if !has(&["gcc"]) {
        return;
    }
    let root = application();
    let tree = root.tree(&package);
    let local = |reason| (Verdict::Local, reason);
    let gone = |reason| (Verdict::Linked, reason);
    use Reason::{BootCritical, Kept, LinkedPackage, Needed, NotLocal, Policy};
    let cases = [
        (
            LocalLibraries::BootCritical,
            [
                gone(NotLocal),
                local(Kept),
                gone(NotLocal),
                gone(NotLocal),
                gone(LinkedPackage),
            ],
        ),
        (
            LocalLibraries::Needed,
            [
                local(Needed),
                local(Kept),
                gone(NotLocal),
                gone(NotLocal),
                gone(LinkedPackage),
            ],
        ),
        (
            LocalLibraries::All,
            [
                local(Policy),
                local(Kept),
                local(Policy),
                local(Policy),
                gone(LinkedPackage),
            ],
        ),
    ];
    for (policy, expected) in cases {
        let wishes = Libraries {
            local: policy,
            linked_packages: vec!["libblas3".to_owned()],
            keep: vec!["/lib/i386-linux-gnu/libm.so*".to_owned()],
            ..wishes()
        };
        let mut tree = tree.clone();
        let done = linked(&mut tree, &wishes).unwrap();
        let list = &done.list;
        let names = ["libz.so.1", "libm.so.6", "libextra.so.0", "plugin.so", "libblas.so.3"];
        assert_eq!(names.map(|name| decided(list, name)), expected, "{policy:?}");
        for name in ["ld-linux.so.2", "libc.so.6", "libacl.so.1.1"] {
            assert_eq!(decided(list, name), local(BootCritical), "{name} {policy:?}");
        }
        let sums = done.libraries.unwrap();
        let counted: u64 = sums.by_reason.iter().map(|row| row.count.files).sum();
        assert_eq!(counted, list.entries.len() as u64);
        assert_eq!(
            sums.before.bytes - sums.after.bytes + cache_length(&tree),
            sums.linked.bytes
        );
    }
}

fn cache_length(tree: &Tree) -> u64 {
    tree.get(&path("etc/ld.so.cache")).unwrap().length()
}

#[test]
fn links_stand_where_files_stood() {
    if !has(&["gcc"]) {
        return;
    }
    let root = application();
    let before = root.tree(&package);
    let mut tree = before.clone();
    let done = linked(&mut tree, &wishes()).unwrap();
    let Kind::File(content) = &before.get(&path(&lib("libz-again.so"))).unwrap().kind else {
        panic!("the first name is the file");
    };
    let digits = content.digest.to_string();
    let target = Kind::Symlink(format!("{MOUNT_POINT}/objects/{}/{}", &digits[..2], &digits[2..]).into_bytes());
    for name in ["libz-again.so", "libz.so.1.2"] {
        assert_eq!(tree.get(&path(&lib(name))).unwrap().kind, target, "{name}");
    }
    // The link that a soname needs, and every program, are what they were.
    for name in [lib("libz.so.1"), "usr/bin/app".to_owned(), lib("libc.so.6")] {
        assert_eq!(tree.get(&path(&name)), before.get(&path(&name)), "{name}");
    }
    assert_eq!(tree.get(&path(MOUNT_POINT)).unwrap().kind, Kind::Directory);
    let entry = done
        .list
        .entries
        .iter()
        .find(|entry| entry.object == Some(content.digest))
        .unwrap();
    assert_eq!(entry.chain, ["/usr/bin/app", "/usr/lib/i386-linux-gnu/libz-again.so"]);
    assert_eq!(
        (entry.needed_by.as_slice(), entry.package.as_deref()),
        (&["/usr/bin/app".to_owned()][..], Some("zlib1g"))
    );
    let libc = done
        .list
        .entries
        .iter()
        .find(|entry| entry.soname.as_deref() == Some("libc.so.6"))
        .unwrap();
    assert_eq!(libc.chain, ["/usr/bin/dash", "/usr/lib/i386-linux-gnu/libc.so.6"]);
    assert!(
        libc.needed_by.contains(&"/usr/lib/app/plugin.so".to_owned()),
        "{:?}",
        libc.needed_by
    );
}

#[test]
fn what_links_nothing_changes_nothing() {
    if !has(&["gcc"]) {
        return;
    }
    let root = Root::bootable();
    let before = root.tree(&package);
    let mut tree = before.clone();
    let done = linked_from(&mut tree, &wishes(), None, &[]).unwrap();
    assert!(tree == before && done.libraries.is_none());
    assert_eq!(done.list.entries.len(), 3);
    let root = application();
    let mut tree = root.tree(&package);
    let error = linked_from(&mut tree, &wishes(), None, &[]).unwrap_err();
    assert_eq!(error.code(), "HV2602");
}

#[test]
fn the_same_tree_gives_the_same_generation() {
    if !has(&["gcc"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
    let root = application();
    let tree = root.tree(&package);
    let once = |tree: &Tree| {
        let mut tree = tree.clone();
        let done = linked_from(&mut tree, &wishes(), Some(&repository), &[]).unwrap();
        (tree, done.libraries.unwrap(), done.list.to_bytes())
    };
    assert!(once(&tree) == once(&tree));
    assert_eq!(repository.generations().unwrap(), [1]);
}

#[test]
fn a_folder_becomes_one_link() {
    if !has(&["gcc"]) {
        return;
    }
    let root = application();
    root.link("../app/data", "usr/share/other/link");
    root.link("../other/text", "usr/share/app/out");
    root.file("usr/share/other/text", "text");
    // A program that finds its libraries beside itself, and is started through a link.
    root.library("usr/share/app/lib/libown.so.1", "libown.so.1", &[&lib("libc.so.6")]);
    root.program(
        "usr/share/app/bin/tool",
        &["usr/share/app/lib/libown.so.1"],
        &["-Wl,-rpath,$ORIGIN/../lib"],
    );
    root.link("../share/app/bin/tool", "usr/bin/tool");
    let wishes = Libraries {
        relocate: vec!["/usr/share/app".to_owned()],
        ..wishes()
    };
    let mut tree = root.tree(&package);
    let done = linked(&mut tree, &wishes).unwrap();
    let folder = &done.list.folders[0];
    let target = Kind::Symlink(format!("{MOUNT_POINT}/folders/{}", folder.object).into_bytes());
    assert_eq!(tree.get(&path("usr/share/app")).unwrap().kind, target);
    assert!(tree.get(&path("usr/share/app/data")).is_none());
    assert_eq!(decided(&done.list, "libown.so.1"), (Verdict::Linked, Reason::InFolder));
    assert_eq!(folder.files, 6);
    assert_eq!(done.libraries.unwrap().relocated.files, 1);
}

type Change = (&'static str, fn(&Root), Libraries, &'static str, &'static str);

#[test]
fn what_would_not_be_the_same_is_refused() {
    if !has(&["gcc"]) {
        return;
    }
    let relocate = |folder: &str| Libraries {
        relocate: vec![folder.to_owned()],
        ..wishes()
    };
    let cases: [Change; 8] = [
        (
            "no such folder",
            |_| (),
            relocate("/usr/share/none"),
            "HV2605",
            "/usr/share/none",
        ),
        (
            "boot-critical",
            |_| (),
            relocate("/usr/lib/i386-linux-gnu"),
            "HV2603",
            "/usr/bin/dash -> ",
        ),
        (
            "kept",
            |root| root.library("usr/share/app/libkept.so", "libkept.so", &[]),
            Libraries {
                keep: vec!["/usr/share/app/*.so".to_owned()],
                ..relocate("/usr/share/app")
            },
            "HV2604",
            "libraries: keep",
        ),
        (
            "set-id",
            |root| root.mode("usr/share/app/data", 0o4755),
            relocate("/usr/share/app"),
            "HV2604",
            "set-id",
        ),
        (
            "private",
            |root| root.mode("usr/share/app/data", 0o640),
            relocate("/usr/share/app"),
            "HV2604",
            "everybody to read",
        ),
        (
            "a program that looks beside its folder",
            |root| {
                root.library("usr/share/own/libown.so.1", "libown.so.1", &[]);
                root.program(
                    "usr/share/app/tool",
                    &["usr/share/own/libown.so.1"],
                    &["-Wl,-rpath,$ORIGIN/../own"],
                );
            },
            relocate("/usr/share/app"),
            "HV2606",
            "libown.so.1 is nothing now, it was /usr/share/app/../own/libown.so.1",
        ),
        (
            "a path through the folder and up again",
            |root| root.link("app/../text", "usr/share/around"),
            relocate("/usr/share/app"),
            "",
            "",
        ),
        (
            "the same, and something is there",
            |root| {
                root.file("usr/share/text", "text");
                root.link("app/../text", "usr/share/around");
            },
            relocate("/usr/share/app"),
            "HV2607",
            "/usr/share/around: it would lead to nothing",
        ),
    ];
    for (what, change, wishes, code, text) in cases {
        let root = application();
        change(&root);
        let before = root.tree(&package);
        let mut tree = before.clone();
        match linked(&mut tree, &wishes) {
            Ok(_) => assert_eq!(code, "", "{what}"),
            Err(error) => {
                assert_eq!(
                    (error.code(), error.to_string().contains(text)),
                    (code, true),
                    "{what}: {error}"
                );
                assert!(error.help().is_some() && tree == before, "{what}");
            }
        }
    }
}

/// Two files of one content and no soname, each needed by its own path: before, `ld.so` loads
/// both; linked, they would be one object, and it would load that once.
#[test]
fn two_files_of_one_content_do_not_become_one() {
    if !has(&["gcc"]) {
        return;
    }
    let root = application();
    root.library("usr/lib/one/libpair.so", "", &[]);
    root.library("usr/lib/app/libown.so", "libown.so", &[]);
    root.library("usr/lib/app/libpwn.so", "libpwn.so", &[]);
    root.program(
        "usr/bin/both",
        &["usr/lib/app/libown.so", "usr/lib/app/libpwn.so"],
        &["-Wl,-rpath,/usr/lib/app"],
    );
    for name in ["libown.so", "libpwn.so"] {
        std::fs::remove_file(root.on_host(&format!("usr/lib/app/{name}"))).unwrap();
        root.copy("usr/lib/one/libpair.so", &format!("usr/lib/app/{name}"));
    }
    let before = root.tree(&package);
    let mut tree = before.clone();
    let error = linked(&mut tree, &wishes()).unwrap_err();
    assert_eq!(error.code(), "HV2606", "{error}");
    let text = error.to_string();
    assert!(text.contains("/usr/bin/both") && text.contains("libpwn.so"), "{text}");
    assert!(tree == before);
    let keep = Libraries {
        keep: vec!["/usr/lib/app/libpwn.so".to_owned()],
        ..wishes()
    };
    linked(&mut tree, &keep).unwrap();
}

#[test]
fn purged_and_missing_libraries_are_told_of() {
    if !has(&["gcc"]) {
        return;
    }
    let root = application();
    root.library(&lib("libnever.so.1"), "libnever.so.1", &[]);
    root.program("usr/bin/late", &[&lib("libnever.so.1")], &[]);
    std::fs::remove_file(root.on_host(&lib("libnever.so.1"))).unwrap();
    let mut tree = root.tree(&package);
    let census = Census::of(&tree).unwrap();
    tree.remove(&path(&lib("libblas.so.3")));
    let purged = Purged::since(&census, &tree, "development");
    let home = tempfile::tempdir().unwrap();
    let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
    let list = linked_from(&mut tree, &wishes(), Some(&repository), &purged)
        .unwrap()
        .list;
    assert_eq!(decided(&list, "libblas.so.3"), (Verdict::Purged, Reason::PurgeRule));
    assert_eq!(decided(&list, "libnever.so.1"), (Verdict::Missing, Reason::NotFound));
    let entry = |name: &str| {
        list.entries
            .iter()
            .find(|entry| entry.soname.as_deref() == Some(name))
            .unwrap()
    };
    assert_eq!(entry("libblas.so.3").detail.as_deref(), Some("development"));
    assert_eq!(entry("libblas.so.3").needed_by, ["/usr/bin/solve"]);
    assert_eq!(entry("libnever.so.1").chain, ["/usr/bin/late"]);
    assert!(
        list.entries
            .is_sorted_by_key(|entry| (entry.path.clone(), entry.soname.clone()))
    );
}
