//! Bootstrap `extract`: packages are unpacked and nothing of them is run.
//!
//! Needs no rights: the packages' archives are indexed, not unpacked, so that owners and modes
//! are never asked of the host. What maintainer scripts would have made and a job needs is made
//! here (see [`furnish`]); diversions and alternatives are not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::RootfsError;
use super::installed::{STATUS, status_stanza};
use super::layout;
use super::pool::Pool;
use super::resolve::Package;
use super::tarball;
use super::tree::{Content, Entry, Kind, Origin, Tree, TreePath};
use crate::digest::Digest;
use crate::durable;
use crate::exec::{Invocation, Runner};

/// The tree of `packages`, in their order. Each package's archive is expanded once, in parallel,
/// to a tar in `archives`, which the tree's contents then stand in.
pub fn extract(
    runner: &dyn Runner,
    packages: &[Package],
    pool: &Pool,
    archives: &Path,
    suite: &str,
    epoch: u64,
) -> Result<Tree, RootfsError> {
    durable::create_private_folder(archives)?;
    let unpacked = packages
        .par_iter()
        .map(|package| unpacked(runner, package, &pool.path_of(&package.sha256), archives))
        .collect::<Result<Vec<Unpacked>, RootfsError>>()?;
    let merged = layout::is_merged(suite);
    let mut tree = skeleton(merged, epoch);
    let mut status = String::new();
    for package in unpacked {
        for (path, entry) in package.entries {
            lay(&mut tree, path, entry, merged);
        }
        status.push_str(&status_stanza(&package.control));
    }
    tarball::check_links(&tree)?;
    furnish(&mut tree, epoch);
    put_file(&mut tree, STATUS, status.as_bytes(), epoch);
    Ok(tree)
}

/// A package's files and control data.
struct Unpacked {
    entries: Vec<(TreePath, Entry)>,
    control: String,
}

fn unpacked(runner: &dyn Runner, package: &Package, deb: &Path, archives: &Path) -> Result<Unpacked, RootfsError> {
    let archive = archive_of(archives, &package.sha256);
    let origin = Origin::Package(package.name.as_str().into());
    if !archive.exists() {
        expand(runner, deb, &archive)?;
    }
    let entries = tarball::entries(&archive, &origin).or_else(|_| {
        // Damaged since it was written: the package itself still has it.
        expand(runner, deb, &archive)?;
        tarball::entries(&archive, &origin)
    })?;
    let control = runner.run(&Invocation::new("dpkg-deb").arg("--field").arg(deb))?.text();
    Ok(Unpacked { entries, control })
}

/// Where the expanded archive of the package with this digest is kept.
fn archive_of(archives: &Path, digest: &Digest) -> PathBuf {
    archives.join(format!("{digest}.tar"))
}

/// Writes the data archive of a package file, uncompressed, to `archive`.
fn expand(runner: &dyn Runner, deb: &Path, archive: &Path) -> Result<(), RootfsError> {
    let command = Invocation::new("dpkg-deb").arg("--fsys-tarfile").arg(deb);
    durable::write_with(archive, |writer| {
        let mut copy = |stdout: &mut dyn io::Read| io::copy(stdout, writer).map(|_| ());
        runner.drain(&command, &mut copy)?;
        Ok(())
    })
}

/// The folders every root has, and the links of a merged one.
fn skeleton(merged: bool, epoch: u64) -> Tree {
    let mut tree = Tree::default();
    let entry = |kind, mode| Entry::new(kind, mode, epoch, Origin::Bootstrap);
    tree.insert(TreePath::root(), entry(Kind::Directory, 0o755));
    let folders = [
        "boot",
        "dev",
        "etc",
        "home",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "tmp",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/sbin",
        "usr/share",
        "var",
        "var/lib",
        "var/log",
        "var/tmp",
    ];
    for name in folders {
        let mode = match name {
            "root" => 0o700,
            "tmp" | "var/tmp" => 0o1777,
            _ => 0o755,
        };
        tree.insert(fixed(name), entry(Kind::Directory, mode));
    }
    if merged {
        for alias in ["bin", "sbin", "lib"] {
            let target = Kind::Symlink(format!("usr/{alias}").into_bytes());
            tree.insert(fixed(alias), entry(target, 0o777));
        }
    }
    tree
}

/// Lays one entry of a package over the tree, as dpkg would: below links that stand for folders.
fn lay(tree: &mut Tree, path: TreePath, mut entry: Entry, merged: bool) {
    let is_folder = matches!(entry.kind, Kind::Directory);
    if merged && is_alias(&path) && is_folder {
        // /lib64 and the like are made when a package first needs them.
        let target = Kind::Symlink([b"usr/", path.as_bytes()].concat());
        let link = Entry::new(target, 0o777, entry.mtime, Origin::Bootstrap);
        if tree.get(&path).is_none() {
            tree.insert(path, link);
        }
        return;
    }
    let placed = |tree: &Tree, path: TreePath| {
        let path = if merged { layout::merged(path) } else { path };
        layout::placed(tree, &path)
    };
    if let Kind::HardLink(target) = entry.kind {
        entry.kind = Kind::HardLink(placed(tree, target));
    }
    let path = placed(tree, path);
    let there = tree.get(&path).map(|entry| &entry.kind);
    match there {
        // The first package decides a shared folder's mode; the root's is hpcvm's own.
        Some(Kind::Directory) if is_folder => {}
        Some(Kind::Symlink(_)) if is_folder && is_directory(tree, &path) => {}
        _ => tree.insert(path, entry),
    }
}

fn is_alias(path: &TreePath) -> bool {
    layout::ALIASES.iter().any(|alias| alias.as_bytes() == path.as_bytes())
}

fn is_directory(tree: &Tree, path: &TreePath) -> bool {
    let target = tree.resolve(path).and_then(|target| tree.get(&target));
    matches!(target, Some(entry) if entry.kind == Kind::Directory)
}

/// Accounts for a tree without base-passwd: ids as in Debian's own master files.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

/// Groups for a tree without base-passwd.
const GROUP: &str = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n";

/// Makes what is missing of the files that maintainer scripts would have made.
fn furnish(tree: &mut Tree, epoch: u64) {
    // (file, where packages keep its first version, its text if no package has one)
    let made = [
        ("etc/passwd", "usr/share/base-passwd/passwd.master", PASSWD),
        ("etc/group", "usr/share/base-passwd/group.master", GROUP),
        (
            "etc/nsswitch.conf",
            "usr/share/libc-bin/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        (
            "etc/ld.so.conf",
            "usr/share/libc-bin/ld.so.conf",
            "include /etc/ld.so.conf.d/*.conf\n",
        ),
        (
            "etc/profile",
            "usr/share/base-files/profile",
            "export PATH=/usr/local/bin:/usr/bin:/bin\n",
        ),
        ("etc/shells", "usr/share/debianutils/shells", "/bin/sh\n"),
        (
            "etc/hosts",
            "",
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
        ),
    ];
    for (file, master, text) in made {
        if tree.get(&fixed(file)).is_some() {
            continue;
        }
        match tree.get(&fixed(master)).map(|entry| entry.kind.clone()) {
            Some(kind @ Kind::File(_)) => {
                tree.insert(fixed(file), Entry::new(kind, 0o644, epoch, Origin::Bootstrap));
            }
            _ => put_file(tree, file, text.as_bytes(), epoch),
        }
    }
    let links = [
        ("etc/mtab", "../proc/self/mounts"),
        ("var/run", "/run"),
        ("var/lock", "/run/lock"),
    ];
    for (path, target) in links {
        put_link(tree, path, target, epoch);
    }
    // update-alternatives would choose by priority: gawk, mawk, original-awk.
    let awks = ["gawk", "mawk", "original-awk"];
    let awk = awks
        .iter()
        .find(|awk| tree.get(&fixed(&format!("usr/bin/{awk}"))).is_some());
    if let Some(awk) = awk {
        put_link(tree, "usr/bin/awk", awk, epoch);
    }
}

fn put_link(tree: &mut Tree, path: &str, target: &str, epoch: u64) {
    if tree.get(&fixed(path)).is_none() {
        let kind = Kind::Symlink(target.as_bytes().to_vec());
        tree.insert(fixed(path), Entry::new(kind, 0o777, epoch, Origin::Bootstrap));
    }
}

fn put_file(tree: &mut Tree, path: &str, bytes: &[u8], epoch: u64) {
    let kind = Kind::File(Content::inline(bytes));
    tree.insert(fixed(path), Entry::new(kind, 0o644, epoch, Origin::Bootstrap));
}

/// A path written in this program.
fn fixed(path: &str) -> TreePath {
    TreePath::new(path.as_bytes()).expect("paths in the program text are valid")
}

/// Removes the expanded archives that `index` names: they are made again from their packages.
pub(super) fn forget(archives: &[PathBuf]) {
    for archive in archives {
        // One that cannot be removed is found damaged again.
        let _ = fs::remove_file(archive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind) -> Entry {
        Entry::new(kind, 0o755, 0, Origin::Package("demo".into()))
    }

    fn file(text: &str) -> Entry {
        entry(Kind::File(Content::inline(text.as_bytes())))
    }

    fn shown(tree: &Tree, path: &str) -> Option<u64> {
        tree.get(&fixed(path)).map(Entry::length)
    }

    #[test]
    fn a_merged_tree_has_one_place_for_each_file() {
        let mut tree = skeleton(true, 0);
        for (path, entry) in [
            ("bin", entry(Kind::Directory)),
            ("bin/sh", file("12")),
            ("usr/bin/sh", file("123")),
            ("lib64", entry(Kind::Directory)),
            ("lib64/ld.so", file("1")),
            ("bin/bash", entry(Kind::HardLink(fixed("bin/sh")))),
        ] {
            lay(&mut tree, fixed(path), entry, true);
        }
        assert_eq!(shown(&tree, "usr/bin/sh"), Some(3), "the later package wins");
        assert_eq!(shown(&tree, "usr/lib64/ld.so"), Some(1));
        assert_eq!(
            tree.get(&fixed("lib64")).unwrap().kind,
            Kind::Symlink(b"usr/lib64".to_vec())
        );
        assert_eq!(
            tree.get(&fixed("usr/bin/bash")).unwrap().kind,
            Kind::HardLink(fixed("usr/bin/sh"))
        );
        assert_eq!(shown(&tree, "bin/sh"), None);
    }

    #[test]
    fn an_unmerged_tree_stays_so() {
        let mut tree = skeleton(false, 0);
        lay(&mut tree, fixed("bin"), entry(Kind::Directory), false);
        lay(&mut tree, fixed("bin/sh"), file("12"), false);
        assert_eq!(shown(&tree, "bin/sh"), Some(2));
    }

    #[test]
    fn folders_do_not_replace_links_to_folders() {
        let mut tree = skeleton(true, 0);
        put_link(&mut tree, "usr/share/a", "b", 0);
        lay(&mut tree, fixed("usr/share/b/x"), file(""), true);
        lay(&mut tree, fixed("usr/share/a"), entry(Kind::Directory), true);
        lay(&mut tree, fixed("usr/share/a/y"), file("123"), true);
        assert_eq!(shown(&tree, "usr/share/b/y"), Some(3));
        assert!(matches!(
            tree.get(&fixed("usr/share/a")).unwrap().kind,
            Kind::Symlink(_)
        ));
    }

    #[test]
    fn master_files_become_accounts() {
        let mut tree = skeleton(true, 0);
        tree.insert(fixed("usr/share/base-passwd/passwd.master"), file("master"));
        furnish(&mut tree, 5);
        assert_eq!(shown(&tree, "etc/passwd"), Some(6));
        assert_eq!(shown(&tree, "etc/group"), Some(GROUP.len() as u64));
        assert_eq!(tree.get(&fixed("etc/passwd")).unwrap().mode, 0o644);
    }
}
