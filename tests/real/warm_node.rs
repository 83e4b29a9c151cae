//! A place with a node of its own, whose jobs start warm.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::harness::{Place, Told};

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

    pub(crate) fn templates(&self) -> Vec<PathBuf> {
        let cache = fs::read_dir(self.place.path("node")).unwrap().next().unwrap().unwrap();
        let entries = fs::read_dir(cache.path().join("templates")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}
