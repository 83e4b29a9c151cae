//! Repositories and tiny ELF files made for a test.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use hpcvm::rootfs::tree::{Content, TreePath};
use hpcvm::sharedlibs::{Addition, FolderItem, NewFolder, NewLibrary, Provenance, Repository};

/// A repository in a folder of its own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) home: tempfile::TempDir,
    pub(crate) repository: Repository,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
        Self { home, repository }
    }
}

/// The time that files of a repository have.
pub(crate) fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1)
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

/// The package `name` in version 1, with a licence.
pub(crate) fn package(name: &str) -> Provenance {
    Provenance {
        package: Some(name.to_owned()),
        version: Some("1".to_owned()),
        licence: Some(Content::inline(format!("licence of {name}").into_bytes())),
    }
}

/// A library that is no ELF file: only its bytes matter.
pub(crate) fn library(at: &str, bytes: &str) -> Addition {
    Addition::Library(NewLibrary {
        path: path(at),
        content: Content::inline(bytes.as_bytes()),
        provenance: package("libdemo1"),
    })
}

/// A folder with a file, a program, a folder and a link.
pub(crate) fn folder(at: &str, bytes: &str) -> Addition {
    let file = |bytes: &str, executable| FolderItem::File {
        content: Content::inline(bytes.as_bytes()),
        executable,
    };
    Addition::Folder(NewFolder {
        path: path(at),
        items: vec![
            (path("bin"), FolderItem::Folder),
            (path("bin/run"), file(bytes, true)),
            (path("data"), file(bytes, false)),
            (path("link"), FolderItem::Link(b"bin/run".to_vec())),
        ],
        provenance: vec![package("demo-data")],
    })
}

/// Overwrites the start of a file of a repository; `quietly` keeps its time.
pub(crate) fn damage(path: &Path, quietly: bool) {
    use std::os::unix::fs::FileExt as _;
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"#", 0).unwrap();
    if quietly {
        file.set_times(FileTimes::new().set_modified(epoch())).unwrap();
    }
    fs::set_permissions(path, mode).unwrap();
}

/// Runs `hpcvm libs` on this repository folder; exit code, standard output, standard error.
pub(crate) fn hpcvm(place: &Place, line: &[&str]) -> (i32, String, String) {
    let output = command(place, line).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The command that [`hpcvm`] runs.
pub(crate) fn command(place: &Place, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hpcvm"));
    command
        .args(["libs", "-q"])
        .args(line)
        .env_clear()
        .env("HOME", place.home.path())
        .env("HPCVM_LIBS", place.repository.folder())
        // What killed writers leave there goes with the test.
        .env("TMPDIR", place.home.path())
        .env("PATH", "/usr/bin:/bin");
    command
}

/// A package file with these files, of mode 0644, and links.
pub(crate) fn deb(folder: &Path, name: &str, files: &[(&str, &[u8])], links: &[(&str, &str)]) -> PathBuf {
    let root = folder.join(format!("{name}-root"));
    let control = format!(
        "Package: {name}\nVersion: 1.0-2\nArchitecture: i386\nMaintainer: nobody <nobody@example.org>\nDescription: test\n"
    );
    let all = files.iter().copied().chain([("DEBIAN/control", control.as_bytes())]);
    for (path, bytes) in all {
        let target = root.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, bytes).unwrap();
    }
    for (path, target) in links {
        let link = root.join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    let output = folder.join(format!("{name}.deb"));
    let made = Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group"])
        .args([&root, &output])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::remove_dir_all(root).unwrap();
    output
}

/// Whether 32-bit and 64-bit libraries can be compiled.
pub(crate) fn compiler() -> bool {
    Command::new("cc").arg("--version").output().is_ok()
}

/// A shared library with this soname, version and text in it.
pub(crate) fn compile(folder: &Path, flag: &str, soname: &str, version: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let output = folder.join(format!("{soname}.0.1"));
    let (script, source) = (folder.join("map"), folder.join("source.c"));
    fs::write(&script, format!("{version} {{ global: demo; local: *; }};")).unwrap();
    fs::write(&source, "int demo(void) { return 1; }").unwrap();
    let made = Command::new("cc")
        .args([flag, "-nostdlib", "-shared", "-fPIC", "-Wl,--build-id=sha1"])
        .args([
            format!("-Wl,-soname,{soname}"),
            format!("-Wl,--version-script={}", script.display()),
        ])
        .arg("-o")
        .args([&output, &source])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::remove_file(script).unwrap();
    fs::remove_file(source).unwrap();
    output
}
