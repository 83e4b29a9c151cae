//! `shared-libs/` does what its README says.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::fixtures::{Place, compiler};

#[test]
fn the_example_makes_a_repository() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("shared-libs");
    let target = place.home.path().join("example");
    let made = Command::new("sh")
        .arg(example.join("make-example"))
        .arg(&target)
        .env_clear()
        .env("HOME", place.home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("HPCVM", env!("CARGO_BIN_EXE_hpcvm"))
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8(made.stdout).unwrap(),
        String::from_utf8(made.stderr).unwrap(),
    );
    assert!(made.status.success(), "{stdout}{stderr}");
    let repository = hpcvm::sharedlibs::Repository::open(&target.join("repository")).unwrap();
    assert_eq!(repository.name(), "example");
    let index = repository.latest().unwrap().unwrap();
    assert_eq!((index.number, index.entries.len(), index.folders.len()), (2, 2, 1));
    assert!(repository.verify(false).unwrap().findings.is_empty());
    // What the README shows is what the program says.
    let readme = fs::read_to_string(example.join("README.md")).unwrap();
    let listed: Vec<&str> = stdout.lines().filter(|line| line.contains("i386")).collect();
    assert_eq!(listed.len(), 2, "{stdout}");
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        assert!(readme.contains(name), "{name} is not in the README");
    }
}
