//! Lock files: what is written comes back, and what is not one is refused.

use super::*;

fn package(name: &str, version: &str) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "i386".to_owned(),
        sha256: Digest::of(name.as_bytes()),
        size: 3,
        filename: format!("pool/main/{name}_{version}_i386.deb"),
        essential: false,
        pocket: None,
    }
}

fn recipe(packages: &str) -> Recipe {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.yaml");
    let text = format!(
        "recipe: 1\nname: r\nbase: {{debian: bookworm, architecture: i386}}\npackages: [{packages}]\n\
         kernel: {{package: linux-image-686}}\n"
    );
    fs::write(&path, text).unwrap();
    let loaded = crate::recipe::load(&path);
    loaded.recipe.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn lock(versions: &[(&str, &str)]) -> Lock {
    let packages = versions.iter().map(|(name, version)| package(name, version)).collect();
    let resolution = Resolution {
        version: resolve::FORMAT,
        archive: Archive {
            suite: "bookworm".to_owned(),
            components: vec!["main".to_owned()],
            pockets: Vec::new(),
            architecture: crate::architecture::Architecture::I386,
        },
        epoch: 1_783_764_997,
        packages,
        kernel: package("linux-image-6.1.0-50-686", "6.1.176-1"),
    };
    Lock::new(&recipe("dash"), resolution)
}

#[test]
fn a_lock_is_written_a_package_a_line_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_of(&folder.path().join("minimal-i386.yaml"));
    assert!(path.ends_with("minimal-i386.lock.json"));
    assert!(Lock::read(&path).unwrap().is_none());
    let written = lock(&[("dash", "0.5.12-2"), ("libc6", "1:2.36-9+deb12u14")]);
    written.write(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text.lines().filter(|line| line.contains("\"name\":\"libc6\"")).count(),
        1
    );
    let read = Lock::read(&path).unwrap().unwrap();
    assert_eq!(read, written);
    let resolution = read.resolution(&recipe("dash"), &path).unwrap();
    assert_eq!((resolution.epoch, resolution.packages.len()), (1_783_764_997, 2));
}

#[test]
fn a_lock_of_other_wishes_stops_a_build() {
    let error = lock(&[])
        .resolution(&recipe("dash, sed"), Path::new("r.lock.json"))
        .unwrap_err();
    assert_eq!(error.code(), "HV1604");
    assert_eq!(error.to_string(), "r.lock.json is not of the packages that r asks for");
}

#[test]
fn what_is_no_lock_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.lock.json");
    let good = lock(&[("dash", "0.5.12-2")]).text();
    for (damage, code) in [
        (good.replace("\"lock\": 1", "\"lock\": 2, \"more\": 1"), "HV1603"),
        (good.replace("\"lock\": 1", "\"lock\": 1, \"more\": 1"), "HV1602"),
        (good[..good.len() / 2].to_owned(), "HV1602"),
        (good.replace("pool/main/dash", "pool/../dash"), "HV1602"),
        (good.replace("\"dash\"", "\"../dash\""), "HV1602"),
        (String::new(), "HV1602"),
    ] {
        fs::write(&path, &damage).unwrap();
        assert_eq!(Lock::read(&path).unwrap_err().code(), code, "{damage}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(Lock::read(&path).unwrap_err().code(), "HV1601");
}

#[test]
fn changes_are_told_by_name() {
    let before = lock(&[("dash", "1"), ("gone", "1"), ("same", "1")]);
    let now = lock(&[("dash", "2"), ("new", "1"), ("same", "1")]);
    let told: Vec<_> = now
        .changes(&before)
        .into_iter()
        .map(|change| (change.name, change.before, change.now))
        .collect();
    let one = || Some("1".to_owned());
    let expected = [
        ("dash".to_owned(), one(), Some("2".to_owned())),
        ("gone".to_owned(), one(), None),
        ("new".to_owned(), None, one()),
    ];
    assert_eq!(told, expected);
    assert_eq!(now.changes(&now), []);
}

/// The generated schema; `HPCVM_BLESS=1` writes it.
#[test]
fn the_committed_schema_is_the_generated_one_and_fits() {
    let settings = schemars::generate::SchemaSettings::draft07();
    let schema = settings.into_generator().into_root_schema_for::<Lock>();
    let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/lock.schema.json");
    if std::env::var_os("HPCVM_BLESS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == generated,
        "schemas/lock.schema.json is old: HPCVM_BLESS=1 cargo test lock"
    );
    let validator = jsonschema::validator_for(&serde_json::from_str(&generated).unwrap()).unwrap();
    let text = lock(&[("dash", "1")]).text();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(validator.is_valid(&json), "{text}");
    json["packages"][0]["sha256"] = "abc".into();
    assert!(!validator.is_valid(&json));
}
