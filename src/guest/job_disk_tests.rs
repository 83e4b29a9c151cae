use proptest::prelude::*;

use super::*;

fn example() -> JobDescription {
    JobDescription {
        clock: (1_795_000_000, 5),
        hostname: "vm-1".into(),
        seed: vec![9; 64],
        identity: Identity {
            uid: 1234,
            gid: 99,
            groups: vec![4, 24],
            user: "job".into(),
            home: "/home/job".into(),
        },
        command: vec![
            "sh".into(),
            "-c".into(),
            OsString::from_vec(b"echo 'a b'\n\xff $x".to_vec()),
        ],
        environment: vec![("A".into(), "b=c".into()), ("EMPTY".into(), "".into())],
        folder: "/work/a b".into(),
        umask: 0o27,
        shares: vec![SharedFolder {
            tag: "s0".into(),
            path: "/work/a b".into(),
            read_only: true,
        }],
        input: Some(InputArchive {
            offset: 1 << 20,
            length: 10240,
        }),
        outputs: vec!["out".into()],
        network: Some(NetworkSettings {
            address: [10, 0, 2, 15].into(),
            netmask: [255, 255, 255, 0].into(),
            gateway: [10, 0, 2, 2].into(),
            nameserver: [10, 0, 2, 3].into(),
            hardware: [2, 0, 0, 1, 2, 3],
        }),
        scratch: Some("/scratch".into()),
        libraries: Some(LibraryMount {
            source: LibrarySource::Folder("hpcvm-libs".into()),
            generation: 3,
            digest: Digest::of(b"index"),
            path: "/usr/lib/hpcvm/libs".into(),
        }),
        spool: Some(Spool {
            after: 1000,
            offset: 64 << 30,
            room: 32 << 30,
        }),
    }
}

#[test]
fn a_description_survives_the_disk() {
    let mut disk = example().encode().unwrap();
    disk.resize(1 << 20, 0);
    assert_eq!(JobDescription::decode(&disk), Ok(example()));
}

#[test]
fn libraries_come_from_a_folder_or_a_disk() {
    let mut job = example();
    job.libraries.as_mut().unwrap().source = LibrarySource::Disk;
    let disk = job.encode().unwrap();
    assert_eq!(JobDescription::decode(&disk), Ok(job.clone()));
    job.libraries = None;
    assert_eq!(JobDescription::decode(&job.encode().unwrap()), Ok(job));
}

#[test]
fn what_a_guest_could_not_take_is_refused() {
    let empty = JobDescription {
        command: vec![],
        ..example()
    };
    assert_eq!(empty.encode(), Err(JobDiskError::NoCommand));
    let nul = JobDescription {
        command: vec!["a\0b".into()],
        ..example()
    };
    assert_eq!(nul.encode(), Err(JobDiskError::Nul("a\0b".into())));
    let long = JobDescription {
        command: vec!["x".repeat(MAX_BODY).into()],
        ..example()
    };
    assert!(matches!(long.encode(), Err(JobDiskError::TooLong(_))));
    let many = JobDescription {
        command: vec!["x".into(); 16384],
        ..example()
    };
    let refused = JobDiskError::TooMany {
        what: "arguments",
        count: 16384,
        limit: 16383,
    };
    assert_eq!(many.encode(), Err(refused));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let disk = example().encode().unwrap();
    for bit in (0..disk.len() * 8).filter(|bit| !(20 * 8..24 * 8).contains(bit)) {
        let mut damaged = disk.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(JobDescription::decode(&damaged).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bodies_are_errors_or_descriptions(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut disk = MAGIC.to_vec();
        for number in [VERSION, u32::try_from(body.len()).unwrap(), crc32fast::hash(&body), 0] {
            disk.extend_from_slice(&number.to_le_bytes());
        }
        disk.extend(body);
        let _ = JobDescription::decode(&disk);
    }

    #[test]
    fn any_command_and_environment_survive(
        command in prop::collection::vec(prop::collection::vec(1..=255u8, 0..40), 1..8),
        values in prop::collection::vec(prop::collection::vec(1..=255u8, 0..40), 0..8),
    ) {
        let job = JobDescription {
            command: command.into_iter().map(OsString::from_vec).collect(),
            environment: values.into_iter().map(|value| ("V".into(), OsString::from_vec(value))).collect(),
            ..example()
        };
        prop_assert_eq!(JobDescription::decode(&job.encode().unwrap()), Ok(job));
    }
}
