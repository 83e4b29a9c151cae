use std::time::Duration;

use super::*;
use crate::architecture::Architecture;
use crate::digest::Digest;
use crate::guest::job_disk::Identity;
use crate::hypervisor::machine::Chipset;
use crate::launch::{BootImage, JobRequest, Limits};
use crate::units::Bytes;

fn request(root: RootKind, export: Option<&str>) -> LaunchRequest {
    let second = Duration::from_secs(1);
    LaunchRequest {
        hypervisor: Hypervisor::Qemu,
        image: BootImage {
            name: "demo".into(),
            architecture: Architecture::I386,
            disk: "/s/image.vdi".into(),
            kernel: "/s/kernel".into(),
            initrd: "/s/initrd".into(),
            full_initrd: "/s/initrd-full".into(),
            command_line: "quiet".into(),
            root,
            root_part: (1 << 20, 4096),
            init: Init::JobRunner,
            direct: true,
        },
        start: Start::Direct,
        warm: None,
        accelerator: Accelerator::Tcg,
        memory: Bytes::mebibytes(128),
        cpus: 1,
        job: JobRequest {
            command: vec!["true".into()],
            environment: Vec::new(),
            folder: None,
            identity: Identity::default(),
            umask: 0o22,
            hostname: "demo".into(),
        },
        shares: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        libraries: Some(Libraries {
            folder: "/srv/libs".into(),
            export: export.map(Into::into),
            generation: 3,
            digest: Digest::of(b"3"),
        }),
        scratch: None,
        network: Network::None,
        limits: Limits {
            boot: second,
            job: None,
            grace: second,
            power_off: second,
        },
        console: None,
        keep: false,
        failure_logs: None,
        scratch_parent: "/tmp".into(),
    }
}

/// What of the command line is about libraries and drivers.
fn about(request: &LaunchRequest) -> String {
    let line = qemu::command_line(&machine(request, Path::new("/t")).unwrap()).unwrap();
    let words = line.arguments.iter().map(|word| word.to_str().unwrap());
    let words = words.filter(|word| {
        ["librar", "/srv/libs", "/s/initrd", "hpcvm.load", "hpcvm-libs"]
            .iter()
            .any(|part| word.contains(part))
    });
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn libraries_come_as_a_folder_that_nobody_writes_to() {
    insta::assert_snapshot!(about(&request(RootKind::ReadOnly, None)), @"
    /s/initrd
    local,id=hpcvm-libs,security_model=none,multidevs=remap,readonly=on,path=/srv/libs
    virtio-9p-pci,fsdev=hpcvm-libs,mount_tag=hpcvm-libs,disable-legacy=on,vectors=0,ioeventfd=off
    ");
}

#[test]
fn libraries_come_as_a_disk_that_nobody_writes_to() {
    let export = Some("/srv/libs/exports/3.squashfs");
    insta::assert_snapshot!(about(&request(RootKind::ReadOnly, export)), @r#"
    /s/initrd
    {"driver":"raw","file":{"driver":"file","filename":"/srv/libs/exports/3.squashfs","read-only":true,"locking":"off"},"node-name":"libraries","read-only":true}
    virtio-blk-pci,drive=libraries,werror=report,rerror=report,disable-legacy=on,vectors=0,ioeventfd=off
    "#);
}

#[test]
fn a_writable_root_asks_for_the_drivers_of_others() {
    let export = Some("/srv/libs/exports/3.squashfs");
    insta::assert_snapshot!(about(&request(RootKind::Writable, export)), @r#"
    /s/initrd-full
    quiet hpcvm.root=/dev/vda hpcvm.rootfs=ext4 hpcvm.skip=ide,ahci nolapic_timer hpcvm.load=squashfs
    {"driver":"raw","file":{"driver":"file","filename":"/srv/libs/exports/3.squashfs","read-only":true,"locking":"off"},"node-name":"libraries","read-only":true}
    virtio-blk-pci,drive=libraries,werror=report,rerror=report,disable-legacy=on,vectors=0,ioeventfd=off
    "#);
    let bios = LaunchRequest {
        start: Start::Bios(Chipset::Q35),
        libraries: None,
        ..request(RootKind::Writable, None)
    };
    assert_eq!(about(&bios), "");
}

#[test]
fn the_guest_is_told_what_to_mount() {
    let told = description(&request(RootKind::ReadOnly, None)).libraries.unwrap();
    assert_eq!(told.source, LibrarySource::Folder("hpcvm-libs".to_owned()));
    assert_eq!((told.generation, told.path.to_str()), (3, Some(MOUNT_POINT)));
    let disk = request(RootKind::ReadOnly, Some("/x"));
    assert_eq!(description(&disk).libraries.unwrap().source, LibrarySource::Disk);
    let none = LaunchRequest {
        libraries: None,
        ..disk
    };
    assert_eq!(description(&none).libraries, None);
    assert_eq!(about(&none), "/s/initrd");
}
