//! What the real `VirtualBox` makes of the disks written here: base and differencing VDIs, and every export.
//!
//! `ci/virtualbox/install` unpacks it from Debian's packages; where that cannot be had, these tests are skipped and say
//! so.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hpcvm::exec::Host;
use hpcvm::image::DISK_FILE;
use hpcvm::image::export::{ExportFormat, export};
use hpcvm::image::uuid::Uuid;
use hpcvm::image::vdi::{Header, write_differencing, write_fixed};

#[path = "virtualbox/guest/mod.rs"]
mod guest;

/// What `ci/virtualbox/install` ends with where it cannot be had.
const NOT_TO_BE_HAD: i32 = 77;

/// Runs a shell script, with errors ending it, where `VirtualBox` is installed, in `folder`, which is its home, too.
/// `None` where there is no `VirtualBox`.
fn in_virtualbox(test: &str, folder: &Path, script: &str) -> Option<String> {
    let ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/virtualbox");
    let install = Command::new(ci.join("install")).output().unwrap();
    let said = String::from_utf8_lossy(&install.stderr);
    if install.status.code() == Some(NOT_TO_BE_HAD) {
        skip(test, said.trim());
        return None;
    }
    assert!(install.status.success(), "{said}");
    // Its processes meet in a folder that is named by this.
    let meeting = folder.file_name().unwrap().to_string_lossy().replace('.', "");
    let ran = Command::new(ci.join("exec"))
        .args(["sh", "-ec"])
        .arg(script)
        .current_dir(folder)
        .env("HOME", folder)
        .env("VBOX_USER_HOME", folder)
        .env("VBOX_IPC_SOCKETID", &meeting)
        .output()
        .unwrap();
    let _ = fs::remove_dir_all(format!("/tmp/.vbox-{meeting}-ipc"));
    let [stdout, stderr] = [&ran.stdout, &ran.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(ran.status.success(), "{script}\n{stdout}\n{stderr}");
    Some(stdout.into_owned())
}

/// Says that a test cannot be made here; ci/test prints these lines at its end.
fn skip(test: &str, why: &str) {
    eprintln!("skipped {test}: {why}");
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    let list = File::options().append(true).create(true).open(cache.join("skipped"));
    writeln!(list.unwrap(), "{test}: {why}").unwrap();
}

/// Not below `/tmp`, which the scripts have their own of.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A disk of three and a half blocks with something at both ends, and a hole.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 7 * 512 * 1024];
    disk[..5].copy_from_slice(b"start");
    disk[2 << 20..][..6].copy_from_slice(b"middle");
    let end = disk.len() - 3;
    disk[end..].copy_from_slice(b"end");
    disk
}

/// A registry that knows the disk `base.vdi` and its child `child.vdi`, both in the registry's folder.
fn registry(folder: &Path, base: Uuid, child: Uuid) -> String {
    let folder = folder.display();
    format!(
        "<VirtualBox xmlns=\"http://www.virtualbox.org/\" version=\"1.12-linux\"><Global><MediaRegistry><HardDisks>\
         <HardDisk uuid=\"{{{base}}}\" location=\"{folder}/base.vdi\" format=\"VDI\" type=\"MultiAttach\">\
         <HardDisk uuid=\"{{{child}}}\" location=\"{folder}/child.vdi\" format=\"VDI\"/>\
         </HardDisk></HardDisks></MediaRegistry></Global></VirtualBox>"
    )
}

#[test]
fn a_base_and_its_differencing_image_are_read_as_the_disk() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let disk = disk();
    let mut base = File::create_new(path("base.vdi")).unwrap();
    let header = write_fixed(&mut &disk[..], disk.len() as u64, &mut base)
        .unwrap()
        .header;
    let child = Uuid::random().unwrap();
    let mut clone = File::create_new(path("child.vdi")).unwrap();
    write_differencing(&header, child, &mut clone).unwrap();
    assert_eq!(
        Header::read(&mut File::open(path("base.vdi")).unwrap()).unwrap(),
        header
    );
    fs::write(path("VirtualBox.xml"), registry(folder.path(), header.created, child)).unwrap();
    let manage = "/usr/lib/virtualbox/VBoxManage";
    let script = format!(
        "vbox-img info --filename base.vdi
         vbox-img info --filename child.vdi
         vbox-img repair --dry-run --filename base.vdi
         vbox-img convert --srcfilename base.vdi --srcformat VDI --dstfilename base.raw --dstformat RAW
         {manage} showmediuminfo disk base.vdi
         {manage} showmediuminfo disk child.vdi
         {manage} clonemedium disk base.vdi managed.raw --format RAW
         {manage} clonemedium disk child.vdi child.raw --format RAW"
    );
    let Some(said) = in_virtualbox("differencing images", folder.path(), &script) else {
        return;
    };
    for words in [
        "Type=2 ".to_owned(),
        "Type=4 ".to_owned(),
        "in a consistent state, no repair required".to_owned(),
        format!("uuidParent={{{}}}", header.created),
        format!("uuidParentModification={{{}}}", header.modified),
        format!("Parent UUID:    {}", header.created),
        "Format variant: differencing default".to_owned(),
    ] {
        assert!(said.contains(&words), "{words} is not in\n{said}");
    }
    assert_eq!(said.matches("State:          created").count(), 2, "{said}");
    for raw in ["base.raw", "managed.raw", "child.raw"] {
        assert!(fs::read(path(raw)).unwrap() == disk, "{raw}");
    }
}

#[test]
fn every_export_is_read_as_the_disk_and_an_ova_is_imported() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let image = guest::store_image(&path("store"), "boot-guest");
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    let mut script = String::new();
    for format in [
        ExportFormat::Vdi,
        ExportFormat::Raw,
        ExportFormat::Qcow2,
        ExportFormat::Vmdk,
        ExportFormat::Ova,
    ] {
        export(&host, &image, format, &path(&format!("x.{format}"))).unwrap();
        let theirs = match format {
            ExportFormat::Vdi => "VDI",
            ExportFormat::Qcow2 => "QCOW",
            ExportFormat::Vmdk => "VMDK",
            ExportFormat::Raw | ExportFormat::Ova => continue,
        };
        writeln!(
            script,
            "vbox-img convert --srcfilename x.{format} --srcformat {theirs} --dstfilename {format}.raw --dstformat RAW"
        )
        .unwrap();
    }
    script += "manage=/usr/lib/virtualbox/VBoxManage
               $manage import x.ova --vsys 0 --basefolder \"$PWD/machines\"
               $manage showvminfo boot-guest --machinereadable
               $manage clonemedium disk machines/boot-guest/hpcvm-disk.vmdk ova.raw --format RAW";
    let Some(said) = in_virtualbox("exports", folder.path(), &script) else {
        return;
    };
    for words in [
        "Successfully imported the appliance.",
        "memory=32\n",
        "cpus=1\n",
        "storagecontrollertype0=\"IntelAhci\"",
        "nic1=\"none\"",
    ] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    let disk = fs::read(path("x.raw")).unwrap();
    assert!(fs::read(image.path(DISK_FILE)).unwrap().ends_with(&disk));
    for name in ["vdi", "qcow2", "vmdk", "ova"] {
        assert!(fs::read(path(&format!("{name}.raw"))).unwrap() == disk, "{name}");
    }
}
