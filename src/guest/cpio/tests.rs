use proptest::prelude::*;

use super::*;
use crate::exec::{Host, Invocation, Runner};

fn sample() -> Vec<CpioEntry> {
    vec![
        CpioEntry::new("dev", CpioKind::Directory, 0o755),
        CpioEntry::new("dev/console", CpioKind::CharDevice(5, 1), 0o600),
        CpioEntry::new("dev/vda", CpioKind::BlockDevice(254, 0), 0o660),
        CpioEntry {
            mtime: 1_700_000_000,
            uid: 7,
            gid: 8,
            ..CpioEntry::new("init", CpioKind::File(b"#!/bin/sh\n".to_vec()), 0o4755)
        },
        CpioEntry::new("bin", CpioKind::Symlink(b"usr/bin".to_vec()), 0o777),
        CpioEntry::new("pipe", CpioKind::Fifo, 0o622),
    ]
}

fn archive(entries: &[CpioEntry]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for entry in entries {
        writer.append(entry).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<CpioEntry>, CpioError> {
    CpioReader::new(bytes, 1 << 20).collect()
}

#[test]
fn entries_survive() {
    let bytes = archive(&sample());
    assert_eq!(bytes.len() % 512, 0);
    assert_eq!(read(&bytes).unwrap(), sample());
    assert_eq!(archive(&sample()), bytes);
}

#[test]
fn cpio_lists_what_was_written() {
    let bytes = archive(&sample());
    let listed = Host::new("/usr/bin:/bin".into(), "/".into())
        .feed(
            &Invocation::new("cpio").args(["-itv", "--numeric-uid-gid", "--quiet"]),
            &mut |stdin| stdin.write_all(&bytes),
        )
        .unwrap()
        .text();
    insta::assert_snapshot!(listed, @r"
    drwxr-xr-x   2 0        0               0 Jan  1  1970 dev
    crw-------   1 0        0          5,   1 Jan  1  1970 dev/console
    brw-rw----   1 0        0        254,   0 Jan  1  1970 dev/vda
    -rwsr-xr-x   1 7        8              10 Nov 14  2023 init
    lrwxrwxrwx   1 0        0               7 Jan  1  1970 bin -> usr/bin
    prw--w--w-   1 0        0               0 Jan  1  1970 pipe
    ");
}

#[test]
fn names_the_kernel_would_not_unpack_are_refused() {
    for name in ["", "/init", "a\0b", "TRAILER!!!", &"n".repeat(4096)] {
        let entry = CpioEntry::new(name, CpioKind::Directory, 0o755);
        let result = CpioWriter::new(Vec::new()).append(&entry);
        assert!(matches!(result, Err(CpioError::Name(_))), "{name}");
    }
}

#[test]
fn damage_is_found() {
    let good = archive(&sample());
    for (at, byte, says) in [
        (0, b'1', "at byte 0: no entry"),
        (20, b'g', "at byte 0: its header"),
        (20, b'+', "at byte 0: its header"),
        (18, b'0', "unknown mode 755"),
        (94, b'f', "at byte 0: its header"),
        (113, b'x', "cannot be the name"),
        (54, b'1', "no more than 1048576"),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        let error = read(&bad).expect_err(says).to_string();
        assert!(error.contains(says), "{at}: {error}");
    }
    let end = good.windows(10).position(|window| window == TRAILER).unwrap();
    for length in 0..end {
        assert!(matches!(read(&good[..length]), Err(CpioError::Cut(_))), "{length}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes).is_err());
        // Far enough into the reader to meet its numbers.
        let head = [&b"070701"[..], &bytes].concat();
        prop_assert!(read(&head).is_err());
    }

    #[test]
    fn random_damage_never_panics(at in 0_usize..600, byte in any::<u8>()) {
        let mut bytes = archive(&sample());
        bytes[at] = byte;
        prop_assert!(CpioReader::new(&bytes[..], 1 << 20).count() <= 7);
    }

    #[test]
    fn files_of_any_content_survive(
        files in proptest::collection::vec(("[a-z]{1,20}", proptest::collection::vec(any::<u8>(), 0..100)), 0..5),
    ) {
        let entries: Vec<_> = files
            .into_iter()
            .map(|(name, content)| CpioEntry::new(&name, CpioKind::File(content), 0o644))
            .collect();
        prop_assert_eq!(read(&archive(&entries)).unwrap(), entries);
    }
}
