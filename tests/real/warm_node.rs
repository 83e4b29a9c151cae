//! A place with a node of its own, whose jobs start warm.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hpcvm::exec::Host;
use hpcvm::hypervisor::qemu_version::too_old_to_save;

use super::harness::{Place, Told, skip};

/// Whether this host's QEMU can save machines; says so for the tests that must be left out otherwise.
pub(crate) fn can_save_or_skip(test: &str) -> bool {
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    let old = too_old_to_save(&host, "qemu-system-i386");
    if let Some(version) = &old {
        skip(
            test,
            &format!("needs QEMU 8.2 or later to save machines, this is {version}"),
        );
    }
    old.is_none()
}

/// A place and its node.
pub(crate) struct Node {
    pub(crate) place: Place,
    image: String,
    options: Vec<String>,
}

impl Node {
    /// Runs `image`, which `place` has.
    pub(crate) fn new(place: Place, image: &str) -> Self {
        let cache = place.path("node");
        fs::create_dir(&cache).unwrap();
        place.hand_over();
        let options = ["--start", "warm", "--node-cache", cache.to_str().unwrap()];
        Self {
            options: options.map(str::to_owned).to_vec(),
            image: image.to_owned(),
            place,
        }
    }

    pub(crate) fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.options
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect()
    }

    pub(crate) fn run(&self, more: &[&str], script: &str) -> Told {
        self.command(more, &["sh", "-c", script])
    }

    pub(crate) fn command(&self, more: &[&str], command: &[&str]) -> Told {
        let words = [&["run"], &self.options(more)[..], &[self.image.as_str(), "--"], command].concat();
        self.place.hpcvm(words)
    }

    /// Runs a job and tells how it started: the moments of its timeline.
    pub(crate) fn phases(&self, more: &[&str], script: &str) -> (Told, BTreeSet<String>) {
        self.phases_of(more, &["sh", "-c", script])
    }

    pub(crate) fn phases_of(&self, more: &[&str], command: &[&str]) -> (Told, BTreeSet<String>) {
        let report = self.place.work("report.json");
        let more = [more, &["--report", report.to_str().unwrap()]].concat();
        let told = self.command(&more, command);
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        let marks = report["timeline"].as_array().unwrap();
        let phases = marks.iter().map(|mark| mark["phase"].as_str().unwrap().to_owned());
        (told, phases.collect())
    }

    #[track_caller]
    pub(crate) fn starts_warm(&self, more: &[&str], script: &str) -> Told {
        self.command_starts_warm(more, &["sh", "-c", script])
    }

    #[track_caller]
    pub(crate) fn command_starts_warm(&self, more: &[&str], command: &[&str]) -> Told {
        let (told, phases) = self.phases_of(more, command);
        assert!(
            phases.contains("restored") && !phases.contains("guest-ready"),
            "{phases:?} {}",
            told.err()
        );
        told
    }

    /// A `PATH` on which QEMU does what `case` says for some command lines, and its own for all others.
    pub(crate) fn path_with_hypervisor(&self, case: &str) -> String {
        let real = "/usr/bin/qemu-system-i386";
        let script = format!("#!/bin/sh\ncase \"$*\" in {case} esac\nexec {real} \"$@\"\n");
        let folder = self.place.path("bin");
        fs::create_dir(&folder).unwrap();
        let stub = folder.join("qemu-system-i386");
        fs::write(&stub, script).unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.display())
    }

    pub(crate) fn templates(&self) -> Vec<PathBuf> {
        let cache = fs::read_dir(self.place.path("node")).unwrap().next().unwrap().unwrap();
        let entries = fs::read_dir(cache.path().join("templates")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Changes a sealed file as a defect would that nobody notices: its record goes with it.
pub(crate) fn rewrite(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    seal(&File::open(&path).unwrap());
    let record = folder.join("template.json");
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    content["state-length"] = bytes.len().into();
    content["state-crc32"] = crc32fast::hash(bytes).into();
    fs::write(&record, content.to_string())
        .or_else(|_| {
            fs::remove_file(&record)?;
            fs::write(&record, content.to_string())
        })
        .unwrap();
}

pub(crate) fn seal(file: &File) {
    let time = UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(time).unwrap();
}
