use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::exec::{Host, Invocation, Runner};
use crate::image::vdi::write_fixed;
use crate::units::MIB;

/// A disk of three and a half blocks with something at both ends of it, and a hole.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 7 * 512 * 1024];
    disk[..5].copy_from_slice(b"start");
    disk[2 << 20..][..6].copy_from_slice(b"middle");
    let end = disk.len() - 3;
    disk[end..].copy_from_slice(b"end");
    disk
}

fn vdi(disk: &[u8]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    write_fixed(&mut &*disk, disk.len() as u64, &mut out).unwrap();
    out.into_inner()
}

fn read_back(file: Vec<u8>) -> Result<Vec<u8>, VdiError> {
    let mut content = Vec::new();
    DiskReader::open(Cursor::new(file))?.read_to_end(&mut content)?;
    Ok(content)
}

fn qemu_img(arguments: &[&str]) {
    Host::new("/usr/bin:/bin".into(), "/".into())
        .run(&Invocation::new("qemu-img").args(arguments))
        .unwrap();
}

fn in_folder(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn what_is_written_is_read() {
    let disk = disk();
    let reader = DiskReader::open(Cursor::new(vdi(&disk))).unwrap();
    let header = reader.header();
    assert_eq!((header.blocks, header.allocated), (4, 4));
    assert_eq!(reader.raw_offset(), Some(MIB));
    assert!(header.comment.starts_with("hpcvm disk sha256:"), "{}", header.comment);
    assert_ne!(header.created, header.modified);
    assert_eq!(read_back(vdi(&disk)).unwrap(), disk);
    assert_eq!(vdi(&disk), vdi(&disk));
}

#[test]
fn qemu_img_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, raw) = (in_folder(folder.path(), "a.vdi"), in_folder(folder.path(), "a.raw"));
    for disk in [disk(), vec![7; 512], vec![0; 5 << 20]] {
        fs::write(&raw, &disk).unwrap();
        fs::write(&ours, vdi(&disk)).unwrap();
        qemu_img(&["check", "-q", "-f", "vdi", &ours]);
        qemu_img(&["compare", "-q", "-f", "vdi", "-F", "raw", &ours, &raw]);
    }
}

#[test]
fn what_qemu_img_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, theirs) = (in_folder(folder.path(), "a.raw"), in_folder(folder.path(), "a.vdi"));
    let disk = disk();
    fs::write(&raw, &disk).unwrap();
    for (options, in_one_piece) in [("static=off", false), ("static=on", true)] {
        qemu_img(&["convert", "-f", "raw", "-O", "vdi", "-o", options, &raw, &theirs]);
        let mut reader = DiskReader::open(File::open(&theirs).unwrap()).unwrap();
        assert_eq!(reader.raw_offset().is_some(), in_one_piece, "{options}");
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert!(content == disk, "{options}");
    }
}

#[test]
fn reads_begin_anywhere() {
    let disk = disk();
    let mut reader = DiskReader::open(Cursor::new(vdi(&disk))).unwrap();
    for (to, position) in [
        (SeekFrom::Start(MIB - 1), MIB - 1),
        (SeekFrom::End(-3), 7 * 512 * 1024 - 3),
        (SeekFrom::Start(1 << 40), 1 << 40),
    ] {
        assert_eq!(reader.seek(to).unwrap(), position);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        let expected = usize::try_from(position).ok().and_then(|from| disk.get(from..));
        assert_eq!(rest, expected.unwrap_or_default());
    }
    assert!(reader.seek(SeekFrom::End(i64::MIN)).is_err());
}

/// Bytes put into a good file, and what its reader must say. Most of these pass `qemu-img check`
/// or `VirtualBox`; none may pass here.
#[test]
fn every_lie_is_found() {
    let past_end: &[u8] = &u32::to_le_bytes(4);
    let cases: &[(&str, usize, &[u8], &str)] = &[
        ("signature", 0x40, &[0], "no VDI"),
        ("version 1.0", 0x44, &[0], "version 1.0"),
        ("version 2.1", 0x46, &[2], "version 2.1"),
        ("short header", 0x48, &[0x7f, 1], "383 bytes"),
        ("header over the map", 0x48, &[0xff, 1], "overlap"),
        ("type 0", 0x4c, &[0], "type 0"),
        ("differencing", 0x4c, &[4], "type 4"),
        ("map before the end of the header", 0x154, &[0, 1], "overlap"),
        ("map not at a sector", 0x154, &[1, 2], "not aligned"),
        (
            "map past the end",
            0x154,
            &[0, 0, 0, 0x7f, 0, 2, 0, 0x7f],
            "block map ends",
        ),
        ("data in the map", 0x158, &[0, 2, 0, 0], "overlap"),
        ("sector size", 0x168, &[0, 16], "sectors of 4096"),
        ("empty disk", 0x170, &[0; 8], "disk has 0 bytes"),
        ("disk larger than its blocks", 0x174, &[1], "its blocks hold 4194304"),
        ("disk ends in a sector", 0x170, &[1], "its blocks hold"),
        ("block size", 0x178, &[0, 0, 0x20, 0], "blocks of 2097152"),
        ("block extra", 0x17c, &[1], "with 1 before"),
        ("no blocks", 0x180, &[0], "no blocks"),
        ("too many blocks", 0x180, &[0, 0, 0, 0x40], "overlap"),
        ("count too small", 0x184, &[3], "counts 3"),
        ("count too large", 0x184, &[5], "counts 5"),
        ("nil creation UUID", 0x188, &[0; 16], "nil UUID"),
        ("nil modification UUID", 0x198, &[0; 16], "nil UUID"),
        ("child", 0x1a8, &[1], "differencing"),
        ("place past the blocks", 0x204, past_end, "block 1 at place 4 of 4"),
        (
            "shared place",
            0x20c,
            &[0],
            "block 3 at place 0, where another block is",
        ),
        ("block missing from the count", 0x200, &[0xff; 4], "its map 3"),
    ];
    let good = vdi(&disk());
    for (name, offset, bytes, says) in cases {
        let mut bad = good.clone();
        bad[*offset..offset + bytes.len()].copy_from_slice(bytes);
        let error = read_back(bad).expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn cut_files_are_found() {
    use crate::diagnostic::Problem as _;
    let good = vdi(&disk());
    for (length, says) in [
        (0, "within its header"),
        (511, "within its header"),
        (512, "block map ends at 528"),
        (527, "block map ends at 528"),
        (528, "block 0"),
        (good.len() - 1, "block 3"),
    ] {
        let error = read_back(good[..length].to_vec()).expect_err(says);
        assert!(error.to_string().contains(says), "{length}: {error}");
        assert!(error.help().is_some());
    }
    let mut longer = good;
    longer.extend([1; 100]);
    assert!(read_back(longer).is_ok(), "what follows the last block does not matter");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sparse_disks_survive(
        sectors in 1_usize..9000,
        spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut disk = vec![0; sectors * 512];
        for (index, byte) in spots {
            let at = index.index(disk.len());
            disk[at] = byte;
        }
        prop_assert!(read_back(vdi(&disk)).unwrap() == disk);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(read_back(bytes).is_err());
    }

    #[test]
    fn random_damage_never_panics(at in 0x40_usize..0x220, bytes in any::<[u8; 4]>()) {
        let mut file = vdi(&vec![3; 1 << 20]);
        file[at..at + 4].copy_from_slice(&bytes);
        // Whether it is found depends on the place; that it ends is what matters.
        let read = read_back(file);
        prop_assert!(read.is_err() || read.is_ok_and(|content| content.len() <= 1 << 20));
    }
}
