//! Other programs agree with what the manifest says of the disk.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::harness::{Place, skip, tool};
use super::images::{MINIMAL, folder, manifest, minimal, place_with, test_recipe};

/// Copies the range that the manifest gives for a partition into a file of its own.
fn cut(place: &Place, image: &str, part: &str) -> PathBuf {
    let extent = &manifest(place, image)["disk"][part];
    let (offset, length) = (extent["offset"].as_u64().unwrap(), extent["length"].as_u64().unwrap());
    let mut disk = File::open(folder(place, image).join("image.vdi")).unwrap();
    disk.seek(SeekFrom::Start(offset)).unwrap();
    let path = place.path(part);
    std::io::copy(&mut disk.take(length), &mut File::create(&path).unwrap()).unwrap();
    path
}

/// The disk as QEMU's own VDI driver reads it.
fn raw(place: &Place, image: &str) -> PathBuf {
    let raw = place.path("raw");
    let disk = folder(place, image).join("image.vdi");
    let words = ["convert", "-f", "vdi", "-O", "raw"].map(AsRef::as_ref);
    tool("qemu-img", words.into_iter().chain([disk.as_os_str(), raw.as_os_str()]));
    raw
}

fn words<'a>(options: &'a [&'a str], path: &'a Path) -> impl Iterator<Item = &'a std::ffi::OsStr> {
    options.iter().map(AsRef::as_ref).chain([path.as_os_str()])
}

#[test]
fn qemu_img_and_the_manifest_agree_on_the_disk() {
    let place = minimal();
    let disk = folder(&place, MINIMAL).join("image.vdi");
    tool("qemu-img", words(&["check", "-f", "vdi"], &disk));
    let raw = raw(&place, MINIMAL);
    let first = manifest(&place, MINIMAL)["disk"]["data-offset"].as_u64().unwrap();
    let content = fs::read(disk).unwrap();
    assert!(
        content[usize::try_from(first).unwrap()..] == fs::read(raw).unwrap(),
        "the data differs"
    );
}

#[test]
fn fsck_finds_the_boot_partition_sound() {
    let place = minimal();
    let boot = cut(&place, MINIMAL, "boot");
    tool("fsck.vfat", words(&["-n", "-v"], &boot));
    let listed = tool("mdir", words(&["-a", "-b", "-i"], &boot));
    for name in ["kernel", "initrd", "ldlinux.sys", "syslinux.cfg"] {
        assert!(listed.to_lowercase().contains(name), "{name}: {listed}");
    }
}

#[test]
fn unsquashfs_reads_every_file_that_the_list_names() {
    let place = minimal();
    let root = cut(&place, MINIMAL, "root");
    let listed = tool("unsquashfs", words(&["-ll", "-no-progress"], &root));
    let list = fs::read(folder(&place, MINIMAL).join("files.json")).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let entries = list["entries"].as_array().unwrap();
    for entry in entries {
        let path = entry["path"].as_str().unwrap();
        assert!(listed.contains(&format!("squashfs-root{path}")), "{path}");
    }
    assert!(entries.len() > 300);
    let unpacked = place.path("unpacked");
    let options = ["-no-progress", "-no-xattrs", "-quiet", "-d", unpacked.to_str().unwrap()];
    if rustix::process::getuid().is_root() {
        tool("unsquashfs", words(&options, &root));
        assert!(unpacked.join("usr/bin/dash").is_file());
    }
}

#[test]
fn e2fsck_finds_a_writable_root_sound() {
    let place = place_with(&test_recipe("writable-i386"));
    let root = cut(&place, "writable-i386", "root");
    tool("e2fsck", words(&["-f", "-n"], &root));
    let disk = folder(&place, "writable-i386").join("image.vdi");
    tool("qemu-img", words(&["check", "-f", "vdi"], &disk));
}

#[test]
fn the_partition_table_is_read_by_others() {
    let place = minimal();
    let raw = raw(&place, MINIMAL);
    let manifest = manifest(&place, MINIMAL);
    let disk = &manifest["disk"];
    let mut table = [0; 512];
    File::open(&raw).unwrap().read_exact(&mut table).unwrap();
    assert_eq!(table[510..], [0x55, 0xaa]);
    let number = |at: usize| u64::from(u32::from_le_bytes(table[at..at + 4].try_into().unwrap()));
    assert_eq!(number(440), disk["signature"].as_u64().unwrap());
    for (index, part) in ["boot", "root"].into_iter().enumerate() {
        let at = 446 + 16 * index;
        let start = disk[part]["offset"].as_u64().unwrap() - disk["data-offset"].as_u64().unwrap();
        assert_eq!(number(at + 8) * 512, start, "{part}");
        assert!(
            number(at + 12) * 512 >= disk[part]["length"].as_u64().unwrap(),
            "{part}"
        );
    }
    let mut found = std::env::split_paths("/usr/sbin:/sbin").map(|folder| folder.join("sfdisk"));
    let Some(sfdisk) = found.find(|program| program.exists()) else {
        skip(
            "the_partition_table_is_read_by_others, by sfdisk",
            "sfdisk is not installed",
        );
        return;
    };
    let dumped = tool(sfdisk.to_str().unwrap(), words(&["--dump"], &raw));
    assert!(dumped.contains("label: dos") && dumped.contains("bootable"), "{dumped}");
    std::io::stdout().write_all(dumped.as_bytes()).unwrap();
}
