//! The program from outside: what it prints where, and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A home of its own with a store in it.
struct Place {
    home: tempfile::TempDir,
}

/// Exit code, standard output, standard error.
type Told = (i32, String, String);

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    fn hpcvm(&self, line: &str) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_hpcvm"))
            .args(line.split(' '))
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn store(&self) -> hpcvm::image::Store {
        hpcvm::image::Store::open(&self.home.path().join(".local/share/hpcvm"))
    }

    /// Puts the example image into the store; returns its folder there.
    fn with_example(&self) -> PathBuf {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/image");
        let image = hpcvm::image::StoredImage::open(&example).unwrap();
        let staging = self.store().begin().unwrap();
        for artefact in &image.manifest.artefacts {
            fs::copy(image.path(&artefact.name), staging.path(&artefact.name)).unwrap();
        }
        staging.commit(&image.manifest).unwrap().folder
    }
}

#[test]
fn images_are_listed_shown_and_verified() {
    let place = Place::new();
    let (code, stdout, stderr) = place.hpcvm("image ls");
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.starts_with("no images in "), "{stderr}");

    let folder = place.with_example();
    let (code, stdout, _) = place.hpcvm("image ls");
    assert_eq!(code, 0);
    assert!(stdout.lines().nth(1).unwrap().starts_with("example  "), "{stdout}");

    let (_, stdout, _) = place.hpcvm("image ls --json");
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(rows[0]["name"], "example");

    let (code, stdout, _) = place.hpcvm("image show example --json");
    assert_eq!(code, 0);
    assert_eq!(stdout, fs::read_to_string(folder.join("manifest.json")).unwrap());

    assert_eq!(place.hpcvm("image verify example").0, 0);
    fs::remove_file(folder.join("kernel")).unwrap();
    let (code, stdout, _) = place.hpcvm("image verify example");
    assert_eq!(code, 1);
    assert!(stdout.ends_with("kernel: is missing\n"), "{stdout}");
    let (code, stdout, _) = place.hpcvm("image verify example --json");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["differences"][0]["file"]), (1, &"kernel".into()));
}

#[test]
fn an_image_is_exported_whole_or_not_at_all() {
    let place = Place::new();
    let folder = place.with_example();
    let target = place.home.path().join("out");
    let line = |format: &str| {
        format!(
            "--json image export example --format {format} --output {}",
            target.display()
        )
    };
    let (code, stdout, stderr) = place.hpcvm(&line("vdi"));
    assert_eq!(code, 0, "{stderr}");
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let disk = fs::read(folder.join("image.vdi")).unwrap();
    assert_eq!(fs::read(&target).unwrap(), disk);
    assert_eq!(told["length"], disk.len());
    assert_eq!(told["sha256"], hpcvm::digest::Digest::of(&disk).to_string());
    assert_eq!(told["format"], "vdi");

    // The example's disk is none: what has to look into it says so.
    let (code, _, stderr) = place.hpcvm(&line("raw"));
    assert_ne!(code, 0);
    assert!(stderr.contains("HV3002"), "{stderr}");
    assert_eq!(fs::read(&target).unwrap(), disk, "the older file is still there");
    let (_, _, stderr) = place.hpcvm(&format!(
        "image export example --format vdi --output {}",
        place.home.path().display()
    ));
    assert!(stderr.contains("HV2802"), "{stderr}");
}

#[test]
fn errors_go_to_standard_error_with_their_exit_code() {
    let place = Place::new();
    place.with_example();
    let (code, stdout, stderr) = place.hpcvm("image show exampel");
    assert_eq!((code, stdout.as_str()), (121, ""));
    let store = place.store().root().display().to_string();
    assert_eq!(
        stderr,
        format!("error[HV1101]: there is no image 'exampel' in {store}\n  help: there is: example\n")
    );
    let (code, stdout, stderr) = place.hpcvm("--json image show exampel");
    assert_eq!((code, stdout.as_str()), (121, ""));
    let object: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(object["error"]["code"], "HV1101");
    assert_eq!(object["error"]["exit-code"], 121);

    assert_eq!(place.hpcvm("image shw").0, 2);
    assert_eq!(place.hpcvm("--version").0, 0);
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let place = Place::new();
    assert!(place.hpcvm("--color always image show x").2.contains("\x1b[1;31merror"));
    assert!(!place.hpcvm("image show x").2.contains('\x1b'));
}

#[test]
fn completions_and_manual_pages_are_written() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = place.hpcvm(&format!("completions {shell}"));
        assert!(code == 0 && stdout.contains("doctor"), "{shell}");
    }
    assert!(place.hpcvm("man").1.contains(".TH hpcvm 1"));
    let folder = place.home.path().join("man/man1");
    assert_eq!(place.hpcvm(&format!("man --output {}", folder.display())).0, 0);
    let mut pages: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in ["hpcvm.1", "hpcvm-image.1", "hpcvm-image-verify.1", "hpcvm-doctor.1"] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
}

#[test]
fn doctor_reports_in_json() {
    let place = Place::new();
    let (code, stdout, stderr) = place.hpcvm("doctor --for run --json");
    assert!(matches!(code, 0 | 1), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let subjects: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["subject"].as_str().unwrap())
        .collect();
    assert!(subjects.contains(&"i386 guests, tcg"), "{subjects:?}");
    assert!(!subjects.contains(&"mmdebstrap"), "{subjects:?}");
}
