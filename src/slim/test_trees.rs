//! Small roots of real ELF files, made by the host's compiler, which needs no library for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

pub(super) const I386: &str = "-m32";
pub(super) const AMD64: &str = "-m64";

/// A folder of the host that is a root.
#[derive(Debug)]
pub(super) struct Root {
    folder: tempfile::TempDir,
    machine: &'static str,
}

/// Whether this host has what the tests need; says so where it has not.
pub(super) fn has(tools: &[&str]) -> bool {
    let missing = tools
        .iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        eprintln!("skipped: {tool} is not installed");
    }
    missing.is_none()
}

pub(super) fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

impl Root {
    pub(super) fn new(machine: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, machine }
    }

    /// A root with a loader, a C library, a shell and tar, on a merged /usr.
    pub(super) fn bootable() -> Self {
        Self::bootable_for(I386)
    }

    /// The same for another machine; folders keep their names.
    pub(super) fn bootable_for(machine: &'static str) -> Self {
        let root = Self::new(machine);
        for name in ["bin", "lib"] {
            fs::create_dir_all(root.on_host(&format!("usr/{name}"))).unwrap();
            root.link(&format!("usr/{name}"), name);
        }
        root.library("usr/lib/i386-linux-gnu/ld-linux.so.2", "ld-linux.so.2", &[]);
        root.link("i386-linux-gnu/ld-linux.so.2", "usr/lib/ld-linux.so.2");
        root.library("usr/lib/i386-linux-gnu/libc.so.6", "libc.so.6", &[]);
        root.library(
            "usr/lib/i386-linux-gnu/libacl.so.1.1",
            "libacl.so.1",
            &["usr/lib/i386-linux-gnu/libc.so.6"],
        );
        root.link("libacl.so.1.1", "usr/lib/i386-linux-gnu/libacl.so.1");
        root.program("usr/bin/dash", &["usr/lib/i386-linux-gnu/libc.so.6"], &[]);
        root.link("dash", "usr/bin/sh");
        root.program("usr/bin/tar", &["usr/lib/i386-linux-gnu/libacl.so.1.1"], &[]);
        root.file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
        root.file(
            "etc/ld.so.conf.d/i386.conf",
            "/usr/local/lib\n/lib/i386-linux-gnu\n/usr/lib/i386-linux-gnu\n",
        );
        root
    }

    pub(super) fn on_host(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.on_host(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        fs::write(self.place(path), text).unwrap();
    }

    pub(super) fn link(&self, target: &str, path: &str) {
        symlink(target, self.place(path)).unwrap();
    }

    pub(super) fn hard_link(&self, target: &str, path: &str) {
        fs::hard_link(self.on_host(target), self.place(path)).unwrap();
    }

    pub(super) fn copy(&self, from: &str, path: &str) {
        fs::copy(self.on_host(from), self.place(path)).unwrap();
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.on_host(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A library of this soname, none where it is empty, that needs those files of the root.
    pub(super) fn library(&self, path: &str, soname: &str, needs: &[&str]) {
        let name = format!("-Wl,-soname,{soname}");
        let soname = Some(name.as_str()).filter(|_| !soname.is_empty());
        let arguments: Vec<&str> = ["-shared"].into_iter().chain(soname).collect();
        // A symbol of its own, so that no two have the same content.
        let symbol: String = path
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        self.compile(path, &format!("int {symbol};"), &arguments, needs);
    }

    pub(super) fn program(&self, path: &str, needs: &[&str], flags: &[&str]) {
        let start = ["-pie", "-Wl,--dynamic-linker=/lib/ld-linux.so.2"];
        let flags: Vec<&str> = start.into_iter().chain(flags.iter().copied()).collect();
        self.compile(path, "void _start(void) {}", &flags, needs);
    }

    fn compile(&self, path: &str, source: &str, flags: &[&str], needs: &[&str]) {
        let code = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
        fs::write(code.path(), source).unwrap();
        let made = Command::new("gcc")
            .args([self.machine, "-nostdlib", "-fPIC", "-Wl,--no-as-needed"])
            .args(["-Wl,--unresolved-symbols=ignore-all", "-Wl,--build-id=sha1", "-o"])
            .args([&self.place(path), code.path()])
            .args(flags)
            .args(needs.iter().map(|need| self.on_host(need)))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The tree of the folder: what stands below it belongs to the package that `package` says.
    pub(super) fn tree(&self, package: &dyn Fn(&str) -> Option<&'static str>) -> Tree {
        tree_of(self.folder.path(), package)
    }
}

/// The folder `root` of the host as a tree.
pub(super) fn tree_of(root: &Path, package: &dyn Fn(&str) -> Option<&'static str>) -> Tree {
    let mut tree = Tree::default();
    let mut inodes: BTreeMap<(u64, u64), TreePath> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(root).unwrap();
        let path = TreePath::new(name.as_os_str().as_bytes()).unwrap();
        let status = entry.path().symlink_metadata().unwrap();
        let kind = if status.is_dir() {
            Kind::Directory
        } else if status.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            Kind::Symlink(target.as_os_str().as_bytes().to_vec())
        } else if let Some(first) = inodes.get(&(status.dev(), status.ino())) {
            Kind::HardLink(first.clone())
        } else {
            inodes.insert((status.dev(), status.ino()), path.clone());
            Kind::File(Content::host_file(entry.path()).unwrap())
        };
        let origin = package(&path.to_string()).map_or(Origin::Bootstrap, |name| Origin::Package(name.into()));
        tree.insert(path, Entry::new(kind, status.mode() & 0o7777, 7, origin));
    }
    tree
}
