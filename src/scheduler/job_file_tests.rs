use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::super::job_vm::{IdentitySpec, LimitsSpec, StartKind, Warmth};
use super::*;
use crate::units::Bytes;

pub(crate) fn job_file() -> JobFile {
    JobFile {
        version: VERSION,
        scheduler: Kind::Slurm,
        name: "sum".to_owned(),
        tasks: "1-8%2".parse().ok(),
        image: ImageReference {
            name: "minimal-i386".to_owned(),
            digest: Digest::of(b"image"),
            folder: JobText::from("/store/images/x"),
        },
        folder: JobText::from("/home/u/work"),
        vms_per_slot: 4,
        retries: 2,
        stage: Stage::Auto,
        node_scratch: JobText::from("/var/tmp"),
        site_templates: None,
        node_cache_limit: None,
        slot_status: SlotStatus::FirstFailure,
        timing: None,
        vm: VmSpec {
            hypervisor: None,
            cpus: 1,
            memory: Bytes::mebibytes(256),
            start: StartKind::Direct,
            warmth: Warmth::Cold,
            accelerator: None,
            command: vec![JobText::from("sh"), JobText::from("-c"), JobText::from("echo $HOME")],
            environment: vec![(JobText::from("LANG"), JobText::from("C.UTF-8"))],
            folder: Some(JobText::from("/home/u/work")),
            identity: IdentitySpec {
                uid: 1001,
                gid: 1001,
                groups: vec![1001],
                user: "job".to_owned(),
                home: "/home/job".to_owned(),
            },
            umask: 0o022,
            hostname: "minimal-i386".to_owned(),
            shares: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            scratch: None,
            libraries: None,
            user_network: false,
            limits: LimitsSpec {
                boot: 180_000,
                job: None,
                grace: 10_000,
                power_off: 20_000,
            },
            console: None,
            keep: false,
        },
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_job_file_is_written_for_the_user_alone_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.json");
    job_file().write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(JobFile::read(&path).unwrap(), job_file());
    for mode in [0o640, 0o604, 0o620, 0o602] {
        set_mode(&path, mode);
        let error = JobFile::read(&path).unwrap_err();
        assert_eq!(error.code(), "HV5024", "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(JobFile::read(&path).unwrap_err().code(), "HV5020");
    assert_eq!(JobFile::read(folder.path()).unwrap_err().code(), "HV5021");
}

#[test]
fn a_job_file_of_someone_else_is_not_read() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.json");
    job_file().write(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let error = JobFile::read(&path).unwrap_err();
    assert_eq!(error.code(), "HV5023");
    assert!(
        error.to_string().contains("belongs to user 65534 and this is user 0"),
        "{error}"
    );
}

#[test]
fn versions_and_damage_are_told_apart() {
    let sound = serde_json::to_string(&job_file()).unwrap();
    for (text, code) in [
        (sound.replace("\"job-file\":1", "\"job-file\":2"), "HV5022"),
        (
            sound
                .replace("\"job-file\":1", "\"job-file\":2")
                .replace("\"cpus\"", "\"cores\""),
            "HV5022",
        ),
        (sound.replace("\"cpus\"", "\"cores\""), "HV5021"),
        (sound.replace("\"vms-per-slot\":4", "\"vms-per-slot\":0"), "HV5021"),
        (sound[..sound.len() - 9].to_owned(), "HV5021"),
        ("{}".to_owned(), "HV5021"),
        (String::new(), "HV5021"),
        ("[".repeat(100_000), "HV5021"),
    ] {
        let error = JobFile::from_bytes(text.as_bytes(), Path::new("job.json")).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}

/// The generated schema; `HPCVM_BLESS=1` writes it.
#[test]
fn the_committed_schema_is_the_generated_one_and_fits() {
    let settings = schemars::generate::SchemaSettings::draft07();
    let schema = settings.into_generator().into_root_schema_for::<JobFile>();
    let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/job.schema.json");
    if std::env::var_os("HPCVM_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == generated,
        "schemas/job.schema.json is old: HPCVM_BLESS=1 cargo test job_file"
    );
    let validator = jsonschema::validator_for(&serde_json::from_str(&generated).unwrap()).unwrap();
    let mut file = job_file();
    file.timing = serde_json::from_value(serde_json::json!({
        "address": "tcp:head:4100",
        "job": "0".repeat(32),
        "token": format!("1001:{}", "0".repeat(64)),
    }))
    .ok();
    file.vm.command.push(JobText(OsString::from_vec(vec![0xff])));
    let json = serde_json::to_value(&file).unwrap();
    assert!(file.timing.is_some() && validator.is_valid(&json), "{json:#}");
    for (pointer, wrong) in [
        ("/image/digest", serde_json::json!("abc")),
        ("/timing/token", serde_json::json!("1001")),
        ("/vm/command/0", serde_json::json!({"bytes": "0"})),
        ("/scheduler", serde_json::json!("none")),
    ] {
        let mut damaged = json.clone();
        *damaged.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&damaged), "{pointer}");
    }
}

proptest! {
    #[test]
    fn any_command_and_environment_come_back(
        command in prop::collection::vec(prop::collection::vec(1_u8..=255, 0..30), 1..5),
        variables in prop::collection::vec((prop::collection::vec(1_u8..=255, 0..9), prop::collection::vec(1_u8..=255, 0..30)), 0..4),
    ) {
        let text = |bytes: Vec<u8>| JobText(OsString::from_vec(bytes));
        let mut file = job_file();
        file.vm.command = command.into_iter().map(text).collect();
        file.vm.environment = variables.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        let bytes = serde_json::to_vec(&file).unwrap();
        prop_assert_eq!(JobFile::from_bytes(&bytes, Path::new("job.json")).unwrap(), file);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(JobFile::from_bytes(&bytes, Path::new("job.json")).is_err());
    }
}
