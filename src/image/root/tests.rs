use std::ffi::OsStr;
use std::path::Path;

use super::*;
use crate::exec::{Completed, Host, Invocation, Runner};
use crate::recipe::Compression;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Place, Tree, TreePath};
use crate::units::{Bytes, MIB};

const EPOCH: u64 = 1_700_000_000;

fn host() -> Host {
    Host::new("/usr/bin:/bin".into(), "/".into())
}

fn run(program: &str, arguments: &[&OsStr]) -> Completed {
    host().run(&Invocation::new(program).args(arguments)).unwrap()
}

fn path(name: &[u8]) -> TreePath {
    TreePath::new(name).unwrap()
}

fn put(tree: &mut Tree, name: &[u8], kind: Kind, mode: u32, (uid, gid): (u32, u32), mtime: u64) {
    let entry = Entry {
        uid,
        gid,
        ..Entry::new(kind, mode, mtime, Origin::Recipe)
    };
    tree.insert(path(name), entry);
}

fn text(text: &str) -> Kind {
    Kind::File(Content::inline(text.as_bytes()))
}

/// Everything a tree can hold, with names that are hard to quote.
fn sample() -> Tree {
    let mut tree = Tree::default();
    let root = (0, 0);
    put(&mut tree, b"", Kind::Directory, 0o755, root, EPOCH - 9);
    put(&mut tree, b"bin/su", text("setuid"), 0o4755, root, EPOCH - 1);
    put(
        &mut tree,
        b"bin/aaa",
        Kind::HardLink(path(b"bin/su")),
        0o4755,
        root,
        EPOCH - 1,
    );
    put(
        &mut tree,
        b"home/job",
        Kind::Directory,
        0o700,
        (70_000, 80_000),
        EPOCH - 2,
    );
    put(
        &mut tree,
        b"home/job/\xff new\nline\"q'",
        text("odd"),
        0o640,
        (70_000, 80_000),
        EPOCH - 3,
    );
    put(&mut tree, b"tmp", Kind::Directory, 0o1777, root, EPOCH - 4);
    put(&mut tree, b"dev/null", Kind::CharDevice(1, 3), 0o666, root, EPOCH - 5);
    put(
        &mut tree,
        b"dev/a \"disk",
        Kind::BlockDevice(259, 300),
        0o660,
        (0, 6),
        EPOCH - 5,
    );
    put(&mut tree, b"run/pipe", Kind::Fifo, 0o600, (1, 2), EPOCH - 6);
    put(
        &mut tree,
        b"lib",
        Kind::Symlink(b"usr/lib".to_vec()),
        0o777,
        root,
        EPOCH - 7,
    );
    put(
        &mut tree,
        b"link",
        Kind::Symlink([b'x'; 200].to_vec()),
        0o777,
        root,
        EPOCH - 7,
    );
    put(&mut tree, &[b'n'; 255], text("long"), 0o644, root, 0);
    let deep = [&[b'd'; 200][..], b"/", &[b'e'; 200], b"/file"].concat();
    put(&mut tree, &deep, text("deep"), 0o644, root, EPOCH);
    tree
}

fn squashfs(tree: &Tree, compression: Compression, processors: usize, target: &Path) -> Result<RootImage, RootError> {
    let options = Squashfs {
        compression,
        epoch: EPOCH,
        processors,
    };
    write_squashfs(&host(), tree, options, target)
}

fn ext4(tree: &Tree, target: &Path) -> Result<RootImage, RootError> {
    let options = Ext4 {
        free_space: Bytes(8 * MIB),
        epoch: EPOCH,
    };
    write_ext4(&host(), tree, options, target)
}

#[test]
fn an_archive_holds_what_the_tree_holds() {
    let mut bytes = Vec::new();
    write_tar(&sample(), &mut bytes).unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let name = path(&entry.path_bytes());
        let tree = sample();
        let expected = tree.get(&name).unwrap();
        let header = entry.header();
        assert_eq!(header.mode().unwrap(), expected.mode, "{name}");
        assert_eq!(header.uid().unwrap(), u64::from(expected.uid), "{name}");
        assert_eq!(header.mtime().unwrap(), expected.mtime, "{name}");
        assert_eq!(entry.size(), expected.length(), "{name}");
        names.push(name);
    }
    assert_eq!(names.len(), sample().len() - 1, "all but the root folder");
    assert_eq!(names.last(), Some(&path(b"bin/aaa")), "hard links come last");
}

#[test]
fn a_file_that_became_shorter_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, b"long enough").unwrap();
    let mut tree = sample();
    let content = Content::host_file(&file).unwrap();
    put(&mut tree, b"usr/data", Kind::File(content), 0o644, (0, 0), 0);
    std::fs::write(&file, b"short").unwrap();
    let target = folder.path().join("root");
    for result in [squashfs(&tree, Compression::Zstd, 1, &target), ext4(&tree, &target)] {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("cannot read the content of /usr/data"), "{error}");
        assert!(!target.exists());
    }
}

#[test]
fn squashfs_is_the_tree_whoever_builds_it() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root.squashfs");
    for compression in [Compression::Zstd, Compression::Lz4, Compression::Xz] {
        let one = squashfs(&sample(), compression, 1, &target).unwrap();
        assert_eq!(one.length % 4096, 0);
        let two = squashfs(&sample(), compression, 2, &target).unwrap();
        assert_eq!(one.digest, two.digest, "{compression:?}");
    }
    let listing = run("unsquashfs", &["-lln".as_ref(), target.as_os_str()]).stdout;
    let listing = String::from_utf8_lossy(&listing);
    for line in [
        "drwxr-xr-x 0/0                     565 2023-11-14 22:13 squashfs-root\n",
        "-rwsr-xr-x 0/0                       6 2023-11-14 22:13 squashfs-root/bin/aaa\n",
        // unsquashfs splits the number after eight bits, the kernel does not: 0x11032c is 259, 300.
        "brw-rw---- 0/6                 4355, 44 2023-11-14 22:13 squashfs-root/dev/a \"disk\n",
        "crw-rw-rw- 0/0                   1,  3 2023-11-14 22:13 squashfs-root/dev/null\n",
        "drwx------ 70000/80000              36 2023-11-14 22:13 squashfs-root/home/job\n",
        "prw------- 1/2                       0 2023-11-14 22:13 squashfs-root/run/pipe\n",
        "drwxrwxrwt 0/0 ",
    ] {
        assert!(listing.contains(line), "{line} in\n{listing}");
    }
    let odd = "home/job/\u{fffd} new\nline\"q'";
    assert!(listing.contains(odd), "{listing}");
}

#[test]
fn squashfs_gives_the_root_folder_its_owner_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root.squashfs");
    let mut tree = sample();
    // Enough inodes to fill several blocks, in steps that put the root's at many places of one.
    for step in 0..40 {
        for number in 0..10 {
            let name = format!("usr/{step}/{number}");
            put(&mut tree, name.as_bytes(), text("x"), 0o644, (step, number), 0);
        }
        let root = tree.get_mut(&TreePath::root()).unwrap();
        (root.uid, root.gid, root.mtime) = (4_000_000_000, step, 86_400);
        squashfs(&tree, Compression::Lz4, 1, &target).unwrap();
        let listing = run("unsquashfs", &["-lln".as_ref(), target.as_os_str()]).text();
        let expected = format!("drwxr-xr-x 4000000000/{step} ");
        assert!(listing.starts_with(&expected), "{step}: {listing}");
        assert!(listing.contains(" 1970-01-02 00:00 squashfs-root\n"), "{listing}");
    }
}

/// Says what debugfs knows of a file, in one line of words.
fn stat(image: &Path, name: &str) -> String {
    let request = format!("stat {name}");
    let said = run("debugfs", &["-R".as_ref(), request.as_ref(), image.as_os_str()]);
    said.text().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn ext4_is_the_tree_whoever_builds_it() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root.ext4");
    let one = ext4(&sample(), &target).unwrap();
    run("e2fsck", &["-fn".as_ref(), target.as_os_str()]);
    for (name, expected) in [
        ("/", "Type: directory Mode: 0755"),
        ("/bin/su", "Type: regular Mode: 04755"),
        ("/bin/aaa", "Links: 2"),
        ("/home/job", "User: 70000 Group: 80000"),
        ("/tmp", "Type: directory Mode: 01777"),
        ("/dev/null", "Type: character special Mode: 0666"),
        ("/dev/null", "Device major/minor number: 01:03 (hex 01:03)"),
        ("\"/dev/a \"\"disk\"", "Device major/minor number: 259:300"),
        ("\"/dev/a \"\"disk\"", "User: 0 Group: 6"),
        ("/run/pipe", "Type: FIFO Mode: 0600"),
        ("/lib", "Fast link dest: \"usr/lib\""),
        ("/link", "Type: symlink Mode: 0777"),
    ] {
        let stat = stat(&target, name);
        assert!(stat.contains(expected), "{name}: {expected} in {stat}");
    }
    let times = stat(&target, "/dev/null");
    assert_eq!(times.matches("0x6553f0fb:00000000").count(), 4, "{times}");
    let listing = run(
        "debugfs",
        &["-R".as_ref(), "ls -p /home/job".as_ref(), target.as_os_str()],
    )
    .stdout;
    let odd = b"/100640/70000/80000/\xff new\nline\"q'/3/";
    assert!(listing.windows(odd.len()).any(|window| window == odd));
    let linked = run("debugfs", &["-R".as_ref(), "cat /bin/aaa".as_ref(), target.as_os_str()]);
    assert_eq!(linked.text(), "setuid");
    let two = ext4(&sample(), &folder.path().join("again.ext4")).unwrap();
    assert_eq!(one.digest, two.digest);
}

#[test]
fn ext4_has_the_free_space_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root.ext4");
    let mut tree = sample();
    let zeros_and_ones: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] | 1).collect();
    put(
        &mut tree,
        b"usr/big",
        Kind::File(Content::inline(zeros_and_ones)),
        0o644,
        (0, 0),
        0,
    );
    for number in 0..500 {
        let name = format!("usr/share/{number:0200}");
        put(&mut tree, name.as_bytes(), text("x"), 0o644, (0, 0), 0);
    }
    ext4(&tree, &target).unwrap();
    let said = run(
        "debugfs",
        &["-R".as_ref(), "show_super_stats -h".as_ref(), target.as_os_str()],
    )
    .text();
    let line = said.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
    let free = line.trim().parse::<u64>().unwrap() * 4096;
    assert!((8 * MIB..11 * MIB).contains(&free), "{free}");
}

#[test]
fn a_device_that_cannot_be_named_to_debugfs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = sample();
    put(&mut tree, b"dev/new\nline", Kind::CharDevice(1, 3), 0o600, (0, 0), 0);
    let result = ext4(&tree, &folder.path().join("root"));
    assert!(matches!(result, Err(RootError::DeviceName(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn missing_content_is_found_before_a_tool_complains() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = sample();
    let mut gone = Content::inline(*b"gone");
    gone.place = Place::HostFile("/nonexistent/file".into());
    put(&mut tree, b"usr/gone", Kind::File(gone), 0o644, (0, 0), 0);
    let result = squashfs(&tree, Compression::Lz4, 1, &folder.path().join("root"));
    assert!(matches!(result, Err(RootError::Content { .. })));
}
