use std::fs;
use std::process::Command;

use super::super::test_trees::{AMD64, I386, Root, has, tree_of};
use super::*;
use crate::elf::ld_cache::Cache;

/// What `ldconfig` writes for the root in `folder`, without its extensions' generator.
fn by_ldconfig(folder: &Path) -> Vec<u8> {
    let file = folder.join("cache-of-ldconfig");
    let ran = Command::new("/sbin/ldconfig")
        .args(["-X", "-C", "/cache-of-ldconfig", "-r"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let cache = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    cache
}

/// A cache up to its extensions, and the names of levels in these.
fn parts(cache: &[u8]) -> (&[u8], Vec<u32>) {
    let word = |at: usize| u32::from_le_bytes(cache[at..at + 4].try_into().unwrap());
    let number = |at: usize| usize::try_from(word(at)).unwrap();
    let extension = number(32);
    let sections = (0..number(extension + 4)).map(|index| extension + 8 + index * 16);
    let levels = sections.filter(|section| number(*section) == 1).flat_map(|section| {
        let (start, length) = (number(section + 8), number(section + 12));
        (start..start + length).step_by(4).map(word).collect::<Vec<_>>()
    });
    (&cache[..extension], levels.collect())
}

/// The lines of a cache, for a reader.
fn told(cache: &[u8]) -> Vec<String> {
    let number = |at: usize| u32::from_le_bytes(cache[at..at + 4].try_into().unwrap());
    let text = |at: usize| {
        let rest = &cache[number(at) as usize..];
        String::from_utf8_lossy(&rest[..rest.iter().position(|&byte| byte == 0).unwrap()]).into_owned()
    };
    let rows = (0..number(20) as usize).map(|index| HEADER + index * ENTRY);
    let row = |at: usize| {
        let (flags, level) = (number(at), (number(at + 20), number(at + 16)));
        format!("{} -> {} {flags:#x} {level:?}", text(at + 4), text(at + 8))
    };
    rows.map(row).collect()
}

#[track_caller]
fn assert_as_ldconfig(tree: &Tree, folder: &Path) {
    let (ours, theirs) = (cache(tree).unwrap(), by_ldconfig(folder));
    let (our_lines, their_lines) = (told(&ours), told(&theirs));
    let first = our_lines.iter().zip(&their_lines).find(|(a, b)| a != b);
    assert_eq!(first, None, "{} and {} lines", our_lines.len(), their_lines.len());
    assert_eq!(our_lines, their_lines);
    assert!(parts(&ours) == parts(&theirs), "the strings are not in the same order");
    assert!(Cache::parse(&ours).is_some());
}

/// Folders that are configured, twice, by links, and not at all; names of every kind.
fn various(machine: &'static str) -> Root {
    let root = Root::new(machine);
    let library = |path: &str, soname: &str| root.library(path, soname, &[]);
    root.file("etc/ld.so.conf", "include ld.so.conf.d/*.conf\n/opt/last\n");
    root.file("etc/ld.so.conf.d/a.conf", "/usr/local/lib/\n/opt/none\n");
    root.file(
        "etc/ld.so.conf.d/b.conf",
        "/lib/multi\n/usr/lib/multi # again\n/usr/lib/deep\n",
    );
    root.link("usr/lib", "lib");
    library("usr/lib/multi/libc.so.6", "libc.so.6");
    library("usr/lib/multi/libz.so.1.2.13", "libz.so.1");
    root.link("libz.so.1.2.13", "usr/lib/multi/libz.so.1");
    root.link("libz.so.1", "usr/lib/multi/libz.so");
    // Two versions of one soname: the newer wins, by numbers.
    library("usr/lib/multi/libx.so.1.9", "libx.so.1");
    library("usr/lib/multi/libx.so.1.10", "libx.so.1");
    root.link("libx.so.1.10", "usr/lib/multi/libx.so.1");
    library("usr/lib/multi/libplugin.so", "");
    library("usr/lib/multi/other.so", "other.so");
    root.file("usr/lib/multi/libtext.so", "GROUP ( libc.so.6 )\n");
    root.link("nowhere", "usr/lib/multi/libgone.so.1");
    root.library("usr/lib/libneeds.so.1", "libneeds.so.1", &["usr/lib/multi/libc.so.6"]);
    library("usr/lib/ld-linux.so.2", "ld-linux.so.2");
    library("usr/local/lib/libz.so.1", "libz.so.1");
    library("usr/lib/deep/imp/libblas.so.3", "libblas.so.3");
    root.link("imp/libblas.so.3", "usr/lib/deep/libblas.so.3");
    root.link("libblas.so.3", "usr/lib/deep/libalias.so.3");
    library("opt/last/libz.so.1", "libz.so.1");
    library("opt/last/libz10.so.1", "libz10.so.1");
    library("opt/last/libz9.so.1", "libz9.so.1");
    root
}

#[test]
fn the_cache_is_what_ldconfig_writes() {
    if !has(&["gcc", "/sbin/ldconfig"]) {
        return;
    }
    for machine in [I386, AMD64] {
        let root = various(machine);
        let tree = root.tree(&|_| None);
        assert!(lines(&tree).unwrap().0.len() > 10);
        assert_as_ldconfig(&tree, &root.on_host(""));
    }
}

#[test]
fn folders_for_processors_are_in_the_cache() {
    if !has(&["gcc", "/sbin/ldconfig"]) {
        return;
    }
    let root = various(AMD64);
    for (level, name) in [
        ("x86-64-v3", "libz.so.1"),
        ("x86-64-v2", "libz.so.1"),
        ("x86-64-v3", "libnew.so.2"),
    ] {
        let path = format!("usr/lib/multi/glibc-hwcaps/{level}/{name}");
        root.library(&path, name, &["usr/lib/multi/libc.so.6"]);
    }
    fs::create_dir_all(root.on_host("usr/lib/multi/glibc-hwcaps/x86-64-v4")).unwrap();
    assert_as_ldconfig(&root.tree(&|_| None), &root.on_host(""));
}

#[test]
fn older_folders_for_processors_of_i386_are_in_the_cache() {
    if !has(&["gcc", "/sbin/ldconfig"]) {
        return;
    }
    let root = various(I386);
    for (folder, name) in [
        ("sse2", "libz.so.1"),
        ("sse2", "libnew.so.2"),
        ("i686", "libz.so.1"),
        ("i686/sse2", "libz.so.1"),
        ("other", "libz.so.1"),
    ] {
        let path = format!("usr/lib/multi/{folder}/{name}");
        root.library(&path, name, &["usr/lib/multi/libc.so.6"]);
    }
    let tree = root.tree(&|_| None);
    assert_eq!(
        lines(&tree)
            .unwrap()
            .0
            .iter()
            .filter(|line| line.capabilities > 0)
            .count(),
        4
    );
    assert_as_ldconfig(&tree, &root.on_host(""));
}

/// A real system of some hundred libraries: the smaller ones of this host.
#[test]
fn the_cache_of_this_host_is_what_ldconfig_writes() {
    let source = Path::new("/usr/lib/x86_64-linux-gnu");
    if !has(&["/sbin/ldconfig"]) || !source.is_dir() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target.join(entry.file_name())).unwrap();
        } else if kind.is_file()
            && is_library_name(entry.file_name().as_bytes())
            && entry.metadata().unwrap().len() < 100_000
        {
            fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
        }
    }
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(
        folder.path().join("etc/ld.so.conf"),
        "/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("usr/lib", folder.path().join("lib")).unwrap();
    assert_as_ldconfig(&tree_of(folder.path(), &|_| None), folder.path());
}

#[test]
fn a_cache_is_only_written_where_the_loader_would_miss_something() {
    if !has(&["gcc"]) {
        return;
    }
    let root = Root::bootable();
    let mut tree = root.tree(&|_| None);
    let before = tree.clone();
    assert!(!write_where_needed(&mut tree, 7).unwrap());
    assert!(tree == before);
    root.library("usr/local/lib/libmine.so.1", "libmine.so.1", &[]);
    let mut tree = root.tree(&|_| None);
    assert!(write_where_needed(&mut tree, 7).unwrap());
    // The cache that is there leads to it now.
    assert!(!write_where_needed(&mut tree, 7).unwrap());
}

#[test]
fn names_are_in_glibcs_order() {
    for (less, greater) in [
        ("libz.so.1", "libz.so.2"),
        ("libz.so.9", "libz.so.10"),
        ("libz", "libz.so"),
        ("libz.so", "libz1.so"),
        ("libz.so.1.2", "libz.so.1.2.3"),
    ] {
        assert_eq!(
            compare(less.as_bytes(), greater.as_bytes()),
            Ordering::Less,
            "{less} {greater}"
        );
        assert_eq!(
            compare(greater.as_bytes(), less.as_bytes()),
            Ordering::Greater,
            "{less} {greater}"
        );
    }
    assert_eq!(compare(b"libz.so.01", b"libz.so.1"), Ordering::Equal);
}
