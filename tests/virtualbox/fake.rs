//! What a real `VirtualBox` cannot be made to do: a scripted one that stalls, crashes and lies.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::harness::{IMAGE, Told, told};

/// A service that is ready at once and stays.
const READY: &str = "printf READY >&100; exec 100>&-; exec sleep 1000";

struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    /// `VBoxSVC` and `VBoxHeadless` as shell scripts.
    fn new(service: &str, headless: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "tmp", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, script) in [("VBoxSVC", service), ("VBoxHeadless", headless)] {
            let path = folder.path().join("bin").join(name);
            fs::write(
                &path,
                format!("#!/bin/bash\ncd \"{}\"\n{script}\n", folder.path().display()),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        super::guest::store_image(&folder.path().join("store"), IMAGE);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpcvm"));
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.arg("--store").arg(self.path("store"));
        command.args([
            "run",
            "--hypervisor",
            "virtualbox",
            "--accel",
            "tcg",
            "--no-cwd",
            "--no-scan",
        ]);
        let told = told(command.args(arguments).args([IMAGE, "--", "true"]));
        let left: Vec<_> = fs::read_dir(self.path("tmp"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
        told
    }

    /// How often a program was started that counts itself.
    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }
}

#[track_caller]
fn fails(told: &Told, error: &str, words: &str) {
    assert!(told.code() != 0, "{}", told.stdout);
    assert!(told.stderr.contains(&format!("error[{error}]")), "{}", told.stderr);
    assert!(told.stderr.contains(words), "{}", told.stderr);
}

#[test]
fn a_service_that_crashes_is_tried_again_and_then_named() {
    let fake = Fake::new("echo once >>service; echo no room for me; exit 1", "exit 0");
    let ran = fake.run(&[]);
    fails(&ran, "HV4706", "ended at once");
    fails(&ran, "HV4706", "no room for me");
    assert_eq!(fake.count("service"), 2);
}

#[test]
fn a_service_that_crashes_once_does_no_harm() {
    let service = format!("echo once >>service; [ \"$(wc -l <service)\" -gt 1 ] || exit 1; {READY}");
    let fake = Fake::new(&service, "echo once >>headless; mkdir -p \"$OLDPWD\"; exit 0");
    // The machine itself never comes up, but it was tried.
    fails(&fake.run(&[]), "HV4101", "");
    assert!(fake.count("headless") >= 1);
}

#[test]
fn a_service_that_stalls_is_given_up() {
    let fake = Fake::new("echo once >>service; sleep 1000", "exit 0");
    fails(&fake.run(&[]), "HV4706", "was not ready within 30 s");
    assert_eq!(fake.count("service"), 2);
}

#[test]
fn success_is_not_believed_when_no_machine_ran() {
    let fake = Fake::new(
        READY,
        "echo once >>headless; echo 'Error: failed to start machine. Error message: no such medium'; exit 0",
    );
    let ran = fake.run(&[]);
    fails(&ran, "HV4101", "no such medium");
    let logs = ran.stderr.lines().find_map(|line| line.strip_prefix("  logs: "));
    let logs = Path::new(logs.unwrap_or_else(|| panic!("no logs in {}", ran.stderr)));
    assert!(logs.starts_with(fake.path("home")), "{}", logs.display());
    let kept = fs::read_to_string(logs.join("hypervisor.log")).unwrap();
    assert!(kept.contains("no such medium"), "{kept}");
    // It had done nothing: once more does no harm.
    assert_eq!(fake.count("headless"), 2);
}

#[test]
fn a_machine_that_had_begun_is_not_started_twice() {
    let log = "folder=$(dirname \"$VBOX_USER_HOME\"); mkdir \"$folder/Logs\"; echo begun >\"$folder/Logs/VBox.log\"";
    let fake = Fake::new(
        READY,
        &format!("echo once >>headless; {log}; echo Guru Meditation; exit 0"),
    );
    fails(&fake.run(&[]), "HV4101", "Guru Meditation");
    assert_eq!(fake.count("headless"), 1);
}

#[test]
fn a_machine_that_stalls_is_killed_in_time() {
    let fake = Fake::new(READY, "exec sleep 1000");
    fails(
        &fake.run(&["--boot-timeout", "2s"]),
        "HV4103",
        "did not report within 2 s",
    );
    assert!(!is_there(&fake.path("bin/VBoxHeadless")), "it still runs");
}

/// Whether a process has `path` on its command line.
fn is_there(path: &Path) -> bool {
    let wanted = path.to_str().unwrap().as_bytes();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(wanted.len()).any(|window| window == wanted)
    })
}
