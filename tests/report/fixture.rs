//! An image of a scientist's guest: its manifest and lists as a build writes them, without its disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hpcvm::digest::Digest;
use hpcvm::image::file_list::{FileList, ListedFile, ListedKind};
use hpcvm::image::library_list::{LIBRARY_LIST_VERSION, LibraryList, LinkedFolder, ListedLibrary, Reason, Verdict};
use hpcvm::image::{Manifest, StoredImage};
use hpcvm::rootfs::tree::Origin;
use serde_json::{Value, json};

/// What would act if anything of it were written as it is.
pub(crate) const HOSTILE: &str = r#"</p><script>alert('x')</script><img src=x onerror="alert(1)">&amp;"#;

/// Package, kibibytes that stay, kibibytes that are linked.
const PACKAGES: [(&str, u64, u64); 26] = [
    ("libc6", 4_020, 0),
    ("coreutils", 7_200, 0),
    ("python3.11-minimal", 6_840, 0),
    ("libpython3.11-stdlib", 240, 0),
    ("bash", 1_420, 0),
    ("octave", 2_180, 18_200),
    ("libopenblas0-pthread", 38, 27_400),
    ("python3-numpy", 310, 9_720),
    ("python3-scipy", 520, 31_840),
    ("libfftw3-double3", 12, 1_180),
    ("libfftw3-single3", 12, 1_240),
    ("libgfortran5", 20, 2_830),
    ("libstdc++6", 25, 2_210),
    ("libgcc-s1", 150, 0),
    ("libquadmath0", 14, 280),
    ("libicu72", 40, 36_900),
    ("libsqlite3-0", 10, 1_560),
    ("libssl3", 60, 3_280),
    ("libcrypt1", 8, 190),
    ("libhdf5-103-1", 30, 3_990),
    ("libzstd1", 735, 0),
    ("zlib1g", 112, 0),
    ("tar", 651, 0),
    ("grep", 215, 0),
    ("sed", 138, 0),
    ("mawk", 188, 0),
];

/// A folder with the image, as `hpcvm image show FOLDER` takes it.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// The guest with its libraries in a repository.
    pub(crate) fn science() -> Self {
        Self::with(manifest(), Some(&libraries()))
    }

    /// A guest whose libraries were not weighed.
    pub(crate) fn plain() -> Self {
        let mut manifest = manifest();
        manifest.as_object_mut().unwrap().remove("libraries");
        Self::with(manifest, None)
    }

    /// A guest whose every free text is [`HOSTILE`].
    pub(crate) fn hostile() -> Self {
        let mut manifest = manifest();
        for pointer in [
            "/description",
            "/hpcvm",
            "/suite",
            "/resolution/0/name",
            "/resolution/0/version",
            "/kernel/command-line",
            "/kernel/release",
            "/services-removed/0/name",
            "/services-removed/0/kind",
            "/tools/0/version",
            "/recipe/sources/0/file",
            "/steps/0/name",
            "/packages/0/package",
            "/run/user",
            "/run/environment/OMP_NUM_THREADS",
            "/validation/0/name",
            "/validation/0/run/0",
            "/validation/0/stdout",
            "/libraries/generation/repository",
            "/libraries/generation/folder",
        ] {
            *manifest.pointer_mut(pointer).unwrap() = HOSTILE.into();
        }
        let mut list = libraries();
        for library in &mut list.entries {
            library.path = Some(format!("/{HOSTILE}\u{202e}\\xff"));
            library.soname = Some(HOSTILE.to_owned());
            library.package = Some(HOSTILE.to_owned());
            library.detail = Some(HOSTILE.to_owned());
            library.chain.fill(HOSTILE.to_owned());
            library.needed_by.fill(HOSTILE.to_owned());
        }
        HOSTILE.clone_into(&mut list.folders[0].path);
        Self::with(manifest, Some(&list))
    }

    fn with(mut manifest: Value, libraries: Option<&LibraryList>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut lists = vec![("files.json", files().to_bytes())];
        lists.extend(libraries.map(|list| ("libraries.json", list.to_bytes())));
        let artefacts = manifest["artefacts"].as_array_mut().unwrap();
        for (name, bytes) in lists {
            artefacts.push(json!({"name": name, "length": bytes.len(), "digest": Digest::of(&bytes)}));
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        artefacts.sort_by_key(|artefact| artefact["name"].as_str().unwrap().to_owned());
        let path = folder.path().join("manifest.json");
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let manifest = Manifest::from_bytes(&bytes, &path).unwrap();
        fs::write(&path, manifest.to_bytes()).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn image(&self) -> StoredImage {
        StoredImage::open(self.path()).unwrap()
    }

    /// `hpcvm image show FOLDER --report FILE`
    pub(crate) fn report(&self, file: &str) -> Output {
        hpcvm(&["image", "show", self.path().to_str().unwrap(), "--report", file])
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        let output = self.report("-");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn hpcvm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hpcvm"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .unwrap()
}

const KIB: u64 = 1024;

fn manifest() -> Value {
    let digest = Digest::of(b"");
    let resolution: Vec<Value> = PACKAGES
        .iter()
        .map(|(name, ..)| json!({"name": name, "version": "1.2-3+deb12u1", "architecture": "i386", "digest": Digest::of(name.as_bytes())}))
        .collect();
    let mut packages: Vec<Value> = PACKAGES
        .iter()
        .map(|(name, kept, _)| json!({"package": name, "files": kept / 60 + 2, "bytes": kept * KIB + 17}))
        .collect();
    packages.insert(0, json!({"package": "(overlays)", "files": 1, "bytes": 19_284}));
    let step = |name: &str, entries: u64, kib: u64| json!({"name": name, "entries": entries, "bytes": kib * KIB});
    let rule = |rule: &str, files: u64, kib: u64| json!({"rule": rule, "files": files, "bytes": kib * KIB});
    let by_package: Vec<Value> = PACKAGES
        .iter()
        .filter(|(.., linked)| *linked > 0)
        .map(|(name, _, linked)| {
            let (none, linked) = (
                json!({"files": 0, "bytes": 0}),
                json!({"files": 1, "bytes": linked * KIB}),
            );
            json!({"package": name, "local": none, "linked": linked, "purged": none, "relocated": none})
        })
        .collect();
    json!({
        "manifest": 1, "hpcvm": "0.1.0", "name": "science-i386",
        "description": "Python with NumPy and SciPy, Octave, FFTW and OpenBLAS, their libraries in the repository",
        "architecture": "i386", "suite": "bookworm",
        "recipe": {"digest": digest, "sources": [
            {"file": "science-i386.yaml", "digest": digest}, {"file": "minimal-i386.yaml", "digest": digest}]},
        "resolution": resolution,
        "kernel": {"package": "linux-image-6.1.0-50-686", "version": "6.1.176-1", "release": "6.1.0-50-686",
            "wrap": "lz4", "initrd": "hpcvm", "command-line": "console=ttyS0 quiet panic=-1"},
        "init": "job-runner",
        "root": {"kind": "read-only", "compression": "zstd", "length": 11_800_000, "digest": digest},
        "disk": {"data-offset": 2_097_152, "boot": {"offset": 2_097_152, "length": 10_485_760},
            "root": {"offset": 12_582_912, "length": 11_800_000}, "signature": 7},
        "artefacts": [
            {"name": "image.vdi", "length": 25_165_824, "digest": digest},
            {"name": "initrd", "length": 902_656, "digest": digest},
            {"name": "kernel", "length": 8_356_464, "digest": digest}],
        "file-list": "files.json",
        "packages": packages,
        "services-removed": [
            {"name": "cron", "kind": "sysv", "package": "cron"},
            {"name": "dpkg-db-backup", "kind": "systemd", "package": "dpkg"},
            {"name": "lost", "kind": "systemd"}],
        "purge": [rule("documentation", 1_934, 8_100), rule("locales", 2_310, 61_400), rule("logs", 0, 0),
            rule("python-extras", 4_120, 48_200), rule("development", 890, 21_300)],
        "tools": [{"name": "mksquashfs", "version": "mksquashfs version 4.5.1 (2022/03/17)"}],
        "steps": [step("bootstrap", 20_655, 402_000), step("services", 20_641, 401_940), step("purge", 11_387, 262_940),
            step("libraries", 7_210, 25_270), step("overlays", 7_213, 25_289)],
        "run": {"memory": 536_870_912_u64, "cpus": 1, "user": "job", "environment": {"OMP_NUM_THREADS": "1"}},
        "validation": [
            {"name": "NumPy computes", "run": ["/usr/bin/python3", "-c", "import numpy; print(numpy.dot([1, 2], [3, 4]))"],
                "stdout": "11\n", "status": 0},
            {"name": "Octave is there", "run": ["octave-cli", "--eval", "exit(3)"], "status": 3}],
        "libraries": {
            "generation": {"repository": "site-libs", "number": 7, "digest": Digest::of(b"7"), "folder": "/srv/hpcvm/libs"},
            "local": {"files": 9, "bytes": 3_500_000}, "linked": {"files": 13, "bytes": 101_000_000},
            "relocated": {"files": 2_900, "bytes": 53_000_000},
            "by-package": by_package}
    })
}

fn files() -> FileList {
    let mut entries = vec![entry("/", ListedKind::Directory, None, Origin::Bootstrap)];
    for (index, (package, kept, _)) in PACKAGES.iter().enumerate() {
        let origin = || Origin::Package((*package).into());
        let licence = format!("/usr/share/doc/{package}/copyright");
        // Every fifth package shares a licence with the first.
        if index % 5 == 4 {
            let mut link = entry(
                &format!("/usr/share/doc/{package}"),
                ListedKind::Symlink,
                None,
                origin(),
            );
            link.target = Some(PACKAGES[0].0.to_owned());
            entries.push(link);
        } else {
            entries.push(entry(&licence, ListedKind::File, Some(3_000), origin()));
        }
        let program = format!("/usr/lib/{package}/program \\xff & <co>");
        entries.push(entry(&program, ListedKind::File, Some(kept * KIB), origin()));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    FileList { files: 1, entries }
}

fn entry(path: &str, kind: ListedKind, length: Option<u64>, origin: Origin) -> ListedFile {
    ListedFile {
        path: path.to_owned(),
        kind,
        mode: "0644".to_owned(),
        uid: 0,
        gid: 0,
        length,
        digest: length.map(|_| Digest::of(path.as_bytes())),
        target: None,
        device: None,
        origin,
    }
}

fn libraries() -> LibraryList {
    let library = |name: &str, verdict, reason, kib: u64, needed_by: &[&str]| ListedLibrary {
        path: Some(format!("/usr/lib/i386-linux-gnu/{name}.1.2.3")),
        soname: Some(format!("{name}.1")),
        length: kib * KIB,
        package: Some(name.trim_end_matches(".so").to_owned()),
        verdict,
        reason,
        detail: None,
        chain: vec![
            needed_by.first().unwrap_or(&"/bin/sh").to_string(),
            "/usr/lib/i386-linux-gnu/libbetween.so.2".to_owned(),
            format!("/usr/lib/i386-linux-gnu/{name}.1.2.3"),
        ],
        needed_by: needed_by.iter().map(ToString::to_string).collect(),
        object: (verdict == Verdict::Linked).then(|| Digest::of(name.as_bytes())),
    };
    let many: Vec<String> = (0..12)
        .map(|index| format!("/usr/bin/octave-tool-{index:02}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut entries = vec![
        library("libc.so", Verdict::Local, Reason::BootCritical, 2_170, &many),
        library("libm.so", Verdict::Local, Reason::Kept, 1_030, &["/usr/bin/python3.11"]),
        library("libpam.so", Verdict::Purged, Reason::PurgeRule, 61, &[]),
    ];
    entries[1].detail = Some("/usr/lib/i386-linux-gnu/libm.so*".to_owned());
    entries[2].detail = Some("package-manager".to_owned());
    entries[2].chain.clear();
    for (package, _, linked) in PACKAGES.iter().filter(|(.., linked)| *linked > 0) {
        let reason = if *linked > 30_000 {
            Reason::InFolder
        } else {
            Reason::NotLocal
        };
        entries.push(library(
            &format!("{package}.so"),
            Verdict::Linked,
            reason,
            *linked,
            &many[..4],
        ));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut missing = library(
        "libcuda.so",
        Verdict::Missing,
        Reason::NotFound,
        0,
        &["/usr/lib/octave/gpu.oct"],
    );
    (missing.path, missing.package) = (None, None);
    entries.insert(0, missing);
    let folder = |path: &str, kib: u64| LinkedFolder {
        path: path.to_owned(),
        object: Digest::of(path.as_bytes()),
        files: kib / 18,
        bytes: kib * KIB,
    };
    LibraryList {
        libraries: LIBRARY_LIST_VERSION,
        entries,
        folders: vec![
            folder("/usr/lib/python3/dist-packages/scipy", 38_100),
            folder("/usr/share/octave", 14_200),
        ],
    }
}
