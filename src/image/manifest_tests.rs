//! Tests of the manifest, and a small manifest for other tests.

use std::path::Path;

use super::*;
use crate::image::store::{DISK_FILE, INITRD_FILE, KERNEL_FILE};

/// A manifest of an image with these artefacts.
pub(crate) fn manifest(name: &str, artefacts: &[(&str, &[u8])]) -> Manifest {
    let mut artefacts: Vec<Artefact> = artefacts
        .iter()
        .map(|(name, bytes)| Artefact {
            name: (*name).to_owned(),
            length: bytes.len() as u64,
            digest: Digest::of(bytes),
        })
        .collect();
    artefacts.sort();
    let digest = Digest::of(b"");
    Manifest {
        manifest: MANIFEST_VERSION,
        hpcvm: "0.1.0".to_owned(),
        name: name.to_owned(),
        description: "a guest for tests".to_owned(),
        architecture: Architecture::I386,
        suite: "bookworm".to_owned(),
        recipe: RecipeIdentity {
            digest,
            sources: vec![Source {
                file: "test.yaml".to_owned(),
                digest,
            }],
        },
        resolution: vec![Package {
            name: "libc6".to_owned(),
            version: "2.36-9+deb12u10".to_owned(),
            architecture: "i386".to_owned(),
            digest,
        }],
        kernel: Kernel {
            package: "linux-image-6.1.0-50-686".to_owned(),
            version: "6.1.176-1".to_owned(),
            release: "6.1.0-50-686".to_owned(),
            wrap: Wrap::Lz4,
            initrd: Initrd::Hpcvm,
            command_line: "console=ttyS0 quiet".to_owned(),
        },
        init: Init::JobRunner,
        root: Root {
            kind: RootKind::ReadOnly,
            compression: Some(Compression::Zstd),
            length: 2,
            digest,
        },
        disk: DiskLayout {
            data_offset: 1,
            boot: Extent { offset: 1, length: 1 },
            root: Extent { offset: 2, length: 2 },
            signature: 0x6870_6376,
        },
        artefacts,
        file_list: "files.json".to_owned(),
        packages: vec![PackageSize {
            package: "libc6".to_owned(),
            files: 4,
            bytes: 2_345_678,
        }],
        services_removed: vec![Service {
            name: "cron".to_owned(),
            kind: "init-script".to_owned(),
            package: Some("cron".to_owned()),
        }],
        purge: vec![PurgeSaving {
            rule: PurgeRule::Manuals,
            files: 120,
            bytes: 345_678,
        }],
        tools: vec![Tool {
            name: "sqfstar".to_owned(),
            version: "4.5.1".to_owned(),
        }],
        steps: vec![StepSize {
            name: "bootstrap".to_owned(),
            entries: 5000,
            bytes: 123_456_789,
        }],
        run: RunDefaults {
            memory: 256 << 20,
            cpus: 1,
            user: "job".to_owned(),
            environment: BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
        },
        warm: Some(crate::recipe::Warm {
            touch: vec!["ls".into()],
            preload: crate::recipe::Preload {
                python3: vec!["numpy".into()],
                programs: vec!["/usr/bin/perl".into()],
            },
        }),
        validation: vec![Validation {
            name: "adds".to_owned(),
            run: vec!["expr".to_owned(), "1".to_owned(), "+".to_owned(), "1".to_owned()],
            stdout: Some("2\n".to_owned()),
            status: 0,
        }],
        libraries: None,
    }
}

/// The artefacts of [`manifest`] that suffice for an image.
pub(crate) const ARTEFACTS: [(&str, &[u8]); 4] = [
    (DISK_FILE, b"disk"),
    (KERNEL_FILE, b"kernel bytes"),
    (INITRD_FILE, b"initrd bytes"),
    ("files.json", b"{\"files\":1,\"entries\":[]}\n"),
];

fn read(bytes: &[u8]) -> Result<Manifest, String> {
    Manifest::from_bytes(bytes, Path::new("m.json")).map_err(|error| error.to_string())
}

#[test]
fn a_manifest_survives_its_file() {
    let written = manifest("test", &ARTEFACTS);
    let bytes = written.to_bytes();
    let reread = read(&bytes).unwrap();
    assert_eq!(reread, written);
    assert_eq!(reread.to_bytes(), bytes);
    assert_eq!(written.digest(), Digest::of(&bytes));
}

#[test]
fn damaged_and_foreign_manifests_are_told_apart() {
    let text = String::from_utf8(manifest("test", &ARTEFACTS).to_bytes()).unwrap();
    for (from, to, expected) in [
        ("\"manifest\": 1", "\"manifest\": 2", "has version 2 of its format"),
        ("\"manifest\": 1", "\"manifest\": \"x\"", "does not say which version"),
        ("\"suite\"", "\"suit\"", "unknown field `suit`"),
        ("\"kernel\",", "\"../kernel\",", "'../kernel' cannot be the name"),
        ("\"initrd\",\n", "\"kernel\",\n", "'kernel' is listed twice"),
        ("\"offset\": 2", "\"offset\": 3", "root partition does not lie within"),
        (
            "\"offset\": 2",
            "\"offset\": 18446744073709551615",
            "root partition does not",
        ),
        (
            "\"file-list\": \"files.json\"",
            "\"file-list\": \"f\"",
            "'f' is not among",
        ),
        ("}\n", "", "EOF while parsing"),
    ] {
        let damaged = if to.is_empty() {
            text[..text.len() / 2].to_owned()
        } else {
            text.replacen(from, to, 1)
        };
        assert_ne!(damaged, text, "{from}");
        let error = read(damaged.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

/// Manifests as they were before programs could be held.
#[test]
fn what_waits_may_be_interpreters_only() {
    let text = r#"{"python3":["numpy"]}"#;
    let preload: crate::recipe::Preload = serde_json::from_str(text).unwrap();
    assert_eq!(preload.programs, [""; 0]);
    assert_eq!(serde_json::to_string(&preload).unwrap(), text);
}

/// The generated schema; `HPCVM_BLESS=1` writes it.
#[test]
fn the_committed_schema_is_the_generated_one() {
    let settings = schemars::generate::SchemaSettings::draft07();
    let schema = settings.into_generator().into_root_schema_for::<Manifest>();
    let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/manifest.schema.json");
    if std::env::var_os("HPCVM_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == generated,
        "schemas/manifest.schema.json is old: HPCVM_BLESS=1 cargo test manifest"
    );
}

#[test]
fn a_manifest_fits_its_schema() {
    let schema = include_str!("../../schemas/manifest.schema.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let mut json = serde_json::to_value(manifest("test", &ARTEFACTS)).unwrap();
    assert!(validator.is_valid(&json));
    json["root"]["digest"] = "abc".into();
    assert!(!validator.is_valid(&json));
}

/// The example image in `tests/data/image`, whose format later versions must read; `HPCVM_BLESS=1`
/// writes it.
#[test]
fn the_example_image_is_read_and_written_as_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/image");
    let example = manifest("example", &ARTEFACTS);
    if std::env::var_os("HPCVM_BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in ARTEFACTS {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join(MANIFEST_FILE), example.to_bytes()).unwrap();
    }
    let image = crate::image::StoredImage::open(&folder).unwrap();
    assert_eq!(image.manifest, example);
    assert_eq!(image.digest, example.digest());
    assert_eq!(crate::image::verify::verify(&image), []);
}
