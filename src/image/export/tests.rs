use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::*;
use crate::diagnostic::Problem as _;
use crate::exec::{Host, Scripted};
use crate::image::manifest::tests::manifest;
use crate::image::vdi::write_fixed;
use crate::units::MIB;

/// Bytes of the test's disk.
const SIZE: u64 = 3 * MIB;

fn host() -> Host {
    Host::new("/usr/bin:/bin".into(), "/".into())
}

/// A disk with something at both ends and a hole.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(SIZE).unwrap()];
    for (index, byte) in (0_u8..=255).cycle().take(300_000).enumerate() {
        disk[index] = byte;
        disk[2 << 20 | index] = byte ^ 0x55;
    }
    *disk.last_mut().unwrap() = 1;
    disk
}

/// An image of it in `folder`.
fn image(folder: &Path) -> StoredImage {
    let mut file = std::fs::File::create_new(folder.join(DISK_FILE)).unwrap();
    write_fixed(&mut &disk()[..], SIZE, &mut file).unwrap();
    let bytes = fs::read(folder.join(DISK_FILE)).unwrap();
    StoredImage {
        digest: Digest::of(b"image"),
        folder: folder.to_owned(),
        manifest: manifest("minimal", &[(DISK_FILE, &bytes)]),
    }
}

fn export_to(folder: &Path, format: ExportFormat) -> (PathBuf, Exported) {
    let target = folder.join(format!("out.{format}"));
    let exported = export(&host(), &image(tempfile::tempdir().unwrap().path()), format, &target).unwrap();
    (target, exported)
}

fn qemu_img(arguments: &[&str]) {
    host().run(&Invocation::new("qemu-img").args(arguments)).unwrap();
}

#[test]
fn every_disk_format_has_the_disk_and_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("expected");
    fs::write(&raw, disk()).unwrap();
    for format in [
        ExportFormat::Vdi,
        ExportFormat::Raw,
        ExportFormat::Qcow2,
        ExportFormat::Vmdk,
    ] {
        let (file, exported) = export_to(folder.path(), format);
        assert_eq!(exported.digest, Digest::of_file(&file).unwrap(), "{format}");
        assert_eq!(exported.length, fs::metadata(&file).unwrap().len(), "{format}");
        let name = file.to_str().unwrap();
        if format != ExportFormat::Raw {
            qemu_img(&["check", "-q", "-f", format.extension(), name]);
        }
        qemu_img(&[
            "compare",
            "-q",
            "-f",
            format.extension(),
            "-F",
            "raw",
            name,
            raw.to_str().unwrap(),
        ]);
        assert_eq!(export_to(folder.path(), format).1, exported, "{format}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 5, "the exports and the expected disk, nothing else");
}

#[test]
fn vdi_is_the_file_of_the_store_and_zeros_are_holes() {
    let folder = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    let image = image(source.path());
    for format in [ExportFormat::Vdi, ExportFormat::Raw] {
        let target = folder.path().join("out");
        export(&host(), &image, format, &target).unwrap();
        let metadata = fs::metadata(&target).unwrap();
        assert!(
            metadata.blocks() * 512 < metadata.len() / 2,
            "{} sectors for {format}",
            metadata.blocks()
        );
        if format == ExportFormat::Vdi {
            assert!(fs::read(&target).unwrap() == fs::read(image.path(DISK_FILE)).unwrap());
        }
    }
}

#[test]
fn an_ova_begins_with_the_description_and_its_digests_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let (file, exported) = export_to(folder.path(), ExportFormat::Ova);
    assert_eq!(export_to(folder.path(), ExportFormat::Ova).1, exported);
    let mut archive = tar::Archive::new(std::fs::File::open(&file).unwrap());
    let (mut order, mut contents) = (Vec::new(), BTreeMap::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert!(entry.header().as_ustar().is_some());
        assert_eq!(entry.header().mtime().unwrap(), 0);
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        order.push(name.clone());
        contents.insert(name, content);
    }
    assert_eq!(order, ["hpcvm.ovf", "hpcvm-disk.vmdk", "hpcvm.mf"]);
    let digests = String::from_utf8_lossy(&contents["hpcvm.mf"]);
    let expected = order[..2]
        .iter()
        .map(|name| format!("SHA256({name})= {}", Digest::of(&contents[name])));
    assert!(digests.lines().eq(expected), "{digests}");
    let ovf = std::str::from_utf8(&contents["hpcvm.ovf"]).unwrap();
    let length = contents["hpcvm-disk.vmdk"].len();
    assert!(ovf.contains(&format!("ovf:size=\"{length}\"")), "{ovf}");
    assert!(ovf.contains(&format!("ovf:capacity=\"{SIZE}\"")), "{ovf}");
    let (vmdk, _) = export_to(folder.path(), ExportFormat::Vmdk);
    assert!(fs::read(vmdk).unwrap() == contents["hpcvm-disk.vmdk"]);
}

/// Each failure leaves what was there and nothing else.
#[test]
fn failures_say_why_and_write_nothing() {
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = folder.path().join("out");
    fs::write(&target, b"old").unwrap();
    let image = image(source.path());
    let nowhere = Host::new("/nonexistent".into(), "/".into());
    let silent = Scripted::answering([Scripted::says("")]);
    let in_folder = export(&nowhere, &image, ExportFormat::Raw, folder.path()).unwrap_err();
    let no_tool = export(&nowhere, &image, ExportFormat::Qcow2, &target).unwrap_err();
    let no_result = export(&silent, &image, ExportFormat::Vmdk, &target).unwrap_err();
    let mut bytes = fs::read(image.path(DISK_FILE)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(image.path(DISK_FILE), bytes).unwrap();
    let damaged = export(&nowhere, &image, ExportFormat::Vdi, &target).unwrap_err();
    fs::remove_file(image.path(DISK_FILE)).unwrap();
    let gone = export(&nowhere, &image, ExportFormat::Vdi, &target).unwrap_err();
    let parts = [in_folder, no_tool, no_result, damaged, gone];
    let told: Vec<String> = parts
        .iter()
        .map(|error| format!("{}: {error} / {}", error.code(), error.help().unwrap_or_default()))
        .collect();
    let mut text = told.join("\n").replace(folder.path().to_str().unwrap(), "FOLDER");
    text = text.replace(source.path().to_str().unwrap(), "STORE");
    insta::assert_snapshot!(without_random_names(&text), @"
    HV2802: FOLDER is a folder / name a file in it: --output FOLDER/FILE
    HV1001: qemu-img is not installed / install it: apt-get install qemu-utils
    HV2801: cannot read FOLDER/.hpcvm-X/hpcvm-disk.vmdk: No such file or directory (os error 2) / 
    HV1202: STORE/image.vdi is damaged: its digest is not the one in the manifest / build the image again, or fetch it again
    HV2801: cannot read STORE/image.vdi: No such file or directory (os error 2) /
    ");
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Scratch folders have names of twelve random characters.
fn without_random_names(text: &str) -> String {
    let mut parts = text.split(".hpcvm-");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + ".hpcvm-X" + part.get(12..).unwrap_or_default()
    })
}
