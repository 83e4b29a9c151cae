//! Users and file systems that do not let a writer write. Needs root, to be somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::fixtures::{Place, compile, compiler, library};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a shell script in mounts of its own, with `$1` as the program and the other arguments.
fn unshared(place: &Place, script: &str, arguments: &[&Path]) -> Option<(i32, String)> {
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_hpcvm"))
        .args(arguments)
        .env_clear()
        .env("HOME", place.home.path())
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .output()
        .ok()?;
    let stderr = String::from_utf8(output.stderr).unwrap();
    // Containers may forbid mounts, even to root.
    let refused = stderr.contains("unshare:") || stderr.contains("mount:");
    (!refused).then(|| (output.status.code().unwrap(), stderr))
}

#[test]
fn others_read_and_do_not_write() {
    if !is_root() || !compiler() {
        return;
    }
    let place = Place::new();
    place.repository.provide(&[library("usr/lib/a", "a")]).unwrap();
    let file = compile(&place.home.path().join("l"), "-m32", "libdemo.so.1", "DEMO_1");
    // The program stands where others may not go.
    let program = place.home.path().join("hpcvm");
    fs::copy(env!("CARGO_BIN_EXE_hpcvm"), &program).unwrap();
    for (path, mode) in [(place.home.path(), 0o755), (&program, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let other = |line: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["libs", "-q", "--libs"])
            .arg(place.repository.folder())
            .args(line)
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    };
    for line in [&["ls"][..], &["show", "/usr/lib/a"], &["verify"]] {
        assert_eq!(other(line), (0, String::new()), "{line:?}");
    }
    let (code, stderr) = other(&["add", file.to_str().unwrap()]);
    assert_eq!(code, 120, "{stderr}");
    let lock = place.repository.folder().join("incoming");
    assert_eq!(
        stderr,
        format!(
            "error[HV2507]: cannot write to the repository: {}: Permission denied (os error 13)\n  \
             help: only the owner of a repository adds to it: ask them, or name your own with --libs\n",
            lock.display()
        )
        .replace(
            "incoming",
            if stderr.contains("incoming") {
                "incoming"
            } else {
                "lock"
            }
        )
    );
    assert_eq!(fs::metadata(place.repository.folder()).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_read_only_file_system_is_read() {
    if !is_root() || !compiler() {
        return;
    }
    let place = Place::new();
    let file = compile(&place.home.path().join("l"), "-m32", "libdemo.so.1", "DEMO_1");
    let script = "mount --bind \"$2\" \"$2\"; mount -o remount,bind,ro \"$2\"
        \"$1\" libs -q --libs \"$2\" ls >/dev/null; \"$1\" libs -q --libs \"$2\" verify >/dev/null
        if test $# -gt 2; then \"$1\" libs -q --libs \"$2\" add \"$3\" >/dev/null; fi";
    let folder = place.repository.folder();
    place.repository.provide(&[library("usr/lib/a", "a")]).unwrap();
    let Some((code, stderr)) = unshared(&place, script, &[folder]) else {
        return;
    };
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (code, stderr) = unshared(&place, script, &[folder, &file]).unwrap();
    assert_eq!(code, 120);
    assert!(
        stderr.starts_with("error[HV2507]") && stderr.contains("Read-only file system"),
        "{stderr}"
    );
    // What is there already needs no writing.
    let arguments = [
        "libs",
        "-q",
        "add",
        "--libs",
        folder.to_str().unwrap(),
        file.to_str().unwrap(),
    ];
    assert!(
        Command::new(env!("CARGO_BIN_EXE_hpcvm"))
            .args(arguments)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(unshared(&place, script, &[folder, &file]), Some((0, String::new())));
}

#[test]
fn a_full_file_system_stays_as_it_was() {
    if !is_root() || !compiler() {
        return;
    }
    let place = Place::new();
    let small = compile(&place.home.path().join("l"), "-m32", "libdemo.so.1", "DEMO_1");
    let large = place.home.path().join("large.so");
    fs::write(&large, [fs::read(&small).unwrap(), vec![1; 2 << 20]].concat()).unwrap();
    let mount = place.home.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$2\"
        \"$1\" libs -q add --create --libs \"$2/libs\" \"$3\" >/dev/null
        status=0; \"$1\" libs -q --libs \"$2/libs\" add \"$4\" || status=$?
        \"$1\" libs -q --libs \"$2/libs\" verify >/dev/null
        test -z \"$(ls \"$2/libs/incoming\")\"; test \"$(ls \"$2/libs/generations\")\" = 1.json
        exit $status";
    let Some((code, stderr)) = unshared(&place, script, &[&mount, &small, &large]) else {
        return;
    };
    assert_eq!(code, 122, "{stderr}");
    assert!(stderr.starts_with("error[HV2508]: cannot write "), "{stderr}");
    let help = "No space left on device (os error 28)\n  help: free some space there: hpcvm libs gc --dry-run tells \
                what is not needed; nothing was added\n";
    assert!(stderr.ends_with(help), "{stderr}");
}
