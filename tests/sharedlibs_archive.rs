//! Packages by name, for real, from the Debian mirror that this host's apt uses; dpkg-deb and
//! readelf are the oracles.
//!
//! Package files and lists are kept in `HPCVM_TEST_CACHE`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hpcvm::digest::Digest;
use hpcvm::sharedlibs::Repository;

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The file below `root` with this soname by readelf, and its dynamic section.
fn by_readelf(root: &Path, soname: &str) -> (PathBuf, String) {
    let files = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let mut libraries =
        files.filter(|file| file.file_type().is_file() && file.path().to_string_lossy().contains(".so"));
    let found = libraries.find_map(|file| {
        let dynamic = output(Command::new("readelf").arg("-dnW").arg(file.path()));
        let wanted = format!("Library soname: [{soname}]");
        dynamic.contains(&wanted).then(|| (file.into_path(), dynamic))
    });
    found.expect("the package has the library")
}

#[test]
fn a_package_of_the_archive_arrives_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("libs");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(home.path().join("cache"), PathBuf::from);
    let add = |names: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpcvm"));
        command
            .args(["libs", "-q", "add", "--create", "--json", "--libs"])
            .arg(&folder);
        command.args(names).arg("--cache").arg(&cache).env("HOME", home.path());
        serde_json::from_str::<serde_json::Value>(&output(&mut command)).unwrap()
    };
    // The licence of the first is a link into the second, which has no library.
    let added = add(&["libgomp1", "gcc-12-base"]);
    assert_eq!((&added["generation"], &added["entries-added"]), (&1.into(), &1.into()));
    assert_eq!(add(&["libgomp1", "gcc-12-base"])["new"], false);

    let repository = Repository::open(&folder).unwrap();
    let index = repository.latest().unwrap().unwrap();
    let entry = &index.entries[0];
    let packages = walkdir::WalkDir::new(&cache).into_iter().map(Result::unwrap);
    let mut packages = packages.filter(|file| file.path().extension().is_some_and(|ending| ending == "deb"));
    let field = |deb: &Path, name: &str| output(Command::new("dpkg-deb").arg("--field").arg(deb).arg(name));
    let version = entry.version.as_deref().unwrap();
    let is_it = |deb: &Path| field(deb, "Package").trim() == "libgomp1" && field(deb, "Version").trim() == version;
    let deb = packages.find(|file| is_it(file.path())).unwrap().into_path();

    let unpacked = home.path().join("unpacked");
    output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked));
    let (file, told) = by_readelf(&unpacked, "libgomp.so.1");
    assert_eq!(Digest::of_file(&file).unwrap(), entry.object);
    assert_eq!(
        fs::read(&file).unwrap(),
        fs::read(repository.object_path(entry.object)).unwrap()
    );
    let path = file.strip_prefix(&unpacked).unwrap();
    assert_eq!(Path::new(&entry.path).strip_prefix("/").unwrap(), path);
    assert_eq!(entry.soname.as_deref(), Some("libgomp.so.1"));
    assert!(told.contains(entry.build_id.as_deref().unwrap()));
    for library in &entry.needs {
        assert!(told.contains(&format!("Shared library: [{library}]")), "{library}");
    }
    let versions = output(Command::new("readelf").arg("-VW").arg(&file));
    let defined = versions.split("Version needs section").next().unwrap();
    assert!(entry.provides.len() > 10);
    for version in &entry.provides {
        assert!(defined.contains(&format!("Name: {version}\n")), "{version}");
    }
    let licence = fs::read_to_string(repository.object_path(entry.licence.unwrap())).unwrap();
    assert!(licence.contains("GNU General Public License"));
}
