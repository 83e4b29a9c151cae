//! QEMU's command line for a [`Machine`]. Pure: nothing is started or looked at.
//!
//! Sources: qemu-system(1), QEMU's `docs/system/invocation` and `docs/interop/qemu-qmp-ref`
//! (block devices are given as JSON, so that no file name needs escaping).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde_json::{Value, json};

use super::accelerator::Accelerator;
use super::machine::{
    Boot, Bus, Chipset, CommandLine, Disk, DiskFormat, HostShare, Machine, Network, Port, TemplateRole, TemplateUse,
};

/// A path cannot be given to QEMU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("QEMU takes only UTF-8 file names for disks: {0:?}")]
pub struct UnspeakablePath(pub std::path::PathBuf);

/// The command line that runs `machine`.
pub fn command_line(machine: &Machine) -> Result<CommandLine, UnspeakablePath> {
    let mut line = Line::default();
    line.words(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"]);
    line.words(["-name", "hpcvm", "-msg", "timestamp=off"]);
    machine_arguments(machine, &mut line);
    line.option("-device", format!("virtio-serial-pci,id=serial,{}", virtio(machine)));
    machine.ports.iter().for_each(|port| port_arguments(port, &mut line));
    for disk in &machine.disks {
        disk_arguments(disk, machine, &mut line)?;
    }
    for share in &machine.shares {
        share_arguments(share, machine, &mut line);
    }
    network_arguments(machine.network, &mut line);
    console_arguments(&machine.console, &mut line);
    if let Some(template) = &machine.template {
        template_arguments(template, machine, &mut line);
    }
    Ok(CommandLine {
        program: machine.architecture.qemu_system().to_owned(),
        arguments: line.0,
    })
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn words<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(OsString::from));
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

/// Properties of the virtio devices. An emulated processor handles a device's doorbell soonest
/// itself, and needs no message-signalled interrupts set up: 0.05 s together.
const fn virtio(machine: &Machine) -> &'static str {
    match machine.accelerator {
        Accelerator::Tcg => "disable-legacy=on,vectors=0,ioeventfd=off",
        Accelerator::Kvm => "disable-legacy=on",
    }
}

// smm=off spares the firmware the set-up of system management mode, disable-legacy=on the guest
// that of registers only older kernels use: 0.1 s together under emulation.
fn machine_arguments(machine: &Machine, line: &mut Line) {
    let board = match machine.boot {
        Boot::Bios(Chipset::Q35) => "q35",
        Boot::Direct { .. } | Boot::Bios(Chipset::Pc) => "pc",
    };
    let accelerator = machine.accelerator.qemu();
    let memory = if machine.template.is_some() {
        ",memory-backend=ram"
    } else {
        ""
    };
    line.option(
        "-machine",
        format!("{board},accel={accelerator},usb=off,vmport=off,smm=off,dump-guest-core=off{memory}"),
    );
    if machine.accelerator == Accelerator::Kvm {
        line.words(["-cpu", "host"]);
    }
    line.option("-m", format!("{}M", machine.memory.as_mebibytes()));
    line.option("-smp", machine.cpus.to_string());
    let is_restored = matches!(&machine.template, Some(template) if template.role == TemplateRole::Restored);
    if let Boot::Direct {
        kernel,
        initrd,
        command_line,
    } = &machine.boot
        && !is_restored
    {
        line.option("-kernel", kernel.as_os_str());
        line.option("-initrd", initrd.as_os_str());
        line.option("-append", command_line);
    }
}

fn port_arguments(port: &Port, line: &mut Line) {
    let id = port.name.replace('.', "-");
    line.option("-chardev", format!("socket,id={id},fd={}", port.descriptor));
    line.option(
        "-device",
        format!("virtserialport,bus=serial.0,chardev={id},name={}", port.name),
    );
}

fn disk_arguments(disk: &Disk, machine: &Machine, line: &mut Line) -> Result<(), UnspeakablePath> {
    let file = disk.file.to_str().ok_or_else(|| UnspeakablePath(disk.file.clone()))?;
    // A full host disk must reach the guest as an error: by default QEMU would pause it for ever.
    let failing = "werror=report,rerror=report";
    line.option("-blockdev", block_node(disk, file).to_string());
    let device = match (disk.bus, &machine.boot) {
        (Bus::Virtio, _) => format!("virtio-blk-pci,drive={},{failing},{}", disk.id, virtio(machine)),
        (Bus::Board, Boot::Bios(Chipset::Q35)) => format!("ide-hd,bus=ide.0,drive={},bootindex=0,{failing}", disk.id),
        (Bus::Board, _) => format!("ide-hd,bus=ide.0,unit=0,drive={},bootindex=0,{failing}", disk.id),
    };
    line.option("-device", device);
    Ok(())
}

fn block_node(disk: &Disk, file: &str) -> Value {
    let storage = json!({"driver": "file", "filename": file, "read-only": disk.read_only, "locking": "off"});
    let mut node = match disk.format {
        DiskFormat::Raw => json!({"driver": "raw", "file": storage}),
        DiskFormat::RawPart(offset, size) => json!({"driver": "raw", "offset": offset, "size": size, "file": storage}),
        DiskFormat::Qcow2 => json!({"driver": "qcow2", "file": storage}),
        // QEMU refuses it when it starts: no machine of QEMU's has one.
        DiskFormat::DifferencingVdi => json!({"driver": "vdi", "file": storage}),
    };
    node["node-name"] = json!(disk.id);
    node["read-only"] = json!(disk.read_only);
    node
}

fn share_arguments(share: &HostShare, machine: &Machine, line: &mut Line) {
    let mut option = OsString::from(format!("local,id={},security_model=none,multidevs=remap", share.tag));
    if share.read_only {
        option.push(",readonly=on");
    }
    option.push(",path=");
    option.push(escaped(share.folder.as_os_str()));
    line.option("-fsdev", option);
    line.option(
        "-device",
        format!(
            "virtio-9p-pci,fsdev={},mount_tag={},{}",
            share.tag,
            share.tag,
            virtio(machine)
        ),
    );
}

fn network_arguments(network: Network, line: &mut Line) {
    if network == Network::User {
        line.words([
            "-netdev",
            "user,id=net,ipv6=off",
            "-device",
            "virtio-net-pci,netdev=net,romfile=,disable-legacy=on",
        ]);
    }
}

fn console_arguments(console: &Path, line: &mut Line) {
    let mut option = OsString::from("file,id=console,path=");
    option.push(escaped(console.as_os_str()));
    line.option("-chardev", option);
    line.words(["-serial", "chardev:console"]);
}

/// `rom=off` because the guest writes to its memory although nobody writes to the file
/// (qemu-system(1), `-object memory-backend-file`).
fn template_arguments(template: &TemplateUse, machine: &Machine, line: &mut Line) {
    let use_of_file = match template.role {
        TemplateRole::Saved => "share=on",
        TemplateRole::Restored => "share=off,readonly=on,rom=off",
    };
    let size = machine.memory.as_mebibytes();
    let mut memory = OsString::from(format!(
        "memory-backend-file,id=ram,size={size}M,{use_of_file},mem-path="
    ));
    memory.push(escaped(template.memory.as_os_str()));
    line.option("-object", memory);
    line.words(["-device", "vmgenid,guid=auto"]);
    line.option("-chardev", format!("socket,id=monitor,fd={}", template.monitor));
    line.words(["-mon", "chardev=monitor,mode=control"]);
    if template.role == TemplateRole::Restored {
        line.words(["-incoming", "defer"]);
    }
}

/// A value inside a comma-separated option: a comma is written twice (qemu-system(1)).
fn escaped(value: &OsStr) -> OsString {
    let bytes = value
        .as_bytes()
        .iter()
        .flat_map(|&byte| if byte == b',' { vec![byte; 2] } else { vec![byte] });
    OsString::from_vec(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::units::Bytes;

    fn machine() -> Machine {
        Machine {
            architecture: Architecture::I386,
            accelerator: Accelerator::Tcg,
            memory: Bytes::mebibytes(256),
            cpus: 2,
            boot: Boot::Direct {
                kernel: "/s/kernel".into(),
                initrd: "/s/initrd".into(),
                command_line: "quiet a=b".into(),
            },
            disks: vec![Disk {
                id: "root".into(),
                file: "/s/image.vdi".into(),
                format: DiskFormat::RawPart(1 << 20, 512),
                read_only: true,
                bus: Bus::Virtio,
            }],
            shares: vec![HostShare {
                folder: "/work/a,b".into(),
                tag: "share0".into(),
                read_only: true,
            }],
            network: Network::User,
            console: "/tmp/c,d".into(),
            ports: vec![Port {
                name: "hpcvm.control".into(),
                descriptor: 10,
            }],
            template: None,
        }
    }

    fn rendered(machine: &Machine) -> String {
        let line = command_line(machine).unwrap();
        let words: Vec<_> = line.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        format!("{} {}", line.program, words.join(" ")).replace(" -", "\n -")
    }

    #[test]
    fn a_direct_start() {
        insta::assert_snapshot!(rendered(&machine()), @r#"
        qemu-system-i386
         -no-user-config
         -nodefaults
         -display none
         -no-reboot
         -name hpcvm
         -msg timestamp=off
         -machine pc,accel=tcg,usb=off,vmport=off,smm=off,dump-guest-core=off
         -m 256M
         -smp 2
         -kernel /s/kernel
         -initrd /s/initrd
         -append quiet a=b
         -device virtio-serial-pci,id=serial,disable-legacy=on,vectors=0,ioeventfd=off
         -chardev socket,id=hpcvm-control,fd=10
         -device virtserialport,bus=serial.0,chardev=hpcvm-control,name=hpcvm.control
         -blockdev {"driver":"raw","offset":1048576,"size":512,"file":{"driver":"file","filename":"/s/image.vdi","read-only":true,"locking":"off"},"node-name":"root","read-only":true}
         -device virtio-blk-pci,drive=root,werror=report,rerror=report,disable-legacy=on,vectors=0,ioeventfd=off
         -fsdev local,id=share0,security_model=none,multidevs=remap,readonly=on,path=/work/a,,b
         -device virtio-9p-pci,fsdev=share0,mount_tag=share0,disable-legacy=on,vectors=0,ioeventfd=off
         -netdev user,id=net,ipv6=off
         -device virtio-net-pci,netdev=net,romfile=,disable-legacy=on
         -chardev file,id=console,path=/tmp/c,,d
         -serial chardev:console
        "#);
    }

    #[test]
    fn a_bios_start_hangs_the_image_on_the_board() {
        let mut bios = machine();
        bios.boot = Boot::Bios(Chipset::Q35);
        bios.disks[0] = Disk {
            format: DiskFormat::Raw,
            bus: Bus::Board,
            ..bios.disks[0].clone()
        };
        insta::assert_snapshot!(rendered(&bios), @r#"
        qemu-system-i386
         -no-user-config
         -nodefaults
         -display none
         -no-reboot
         -name hpcvm
         -msg timestamp=off
         -machine q35,accel=tcg,usb=off,vmport=off,smm=off,dump-guest-core=off
         -m 256M
         -smp 2
         -device virtio-serial-pci,id=serial,disable-legacy=on,vectors=0,ioeventfd=off
         -chardev socket,id=hpcvm-control,fd=10
         -device virtserialport,bus=serial.0,chardev=hpcvm-control,name=hpcvm.control
         -blockdev {"driver":"raw","file":{"driver":"file","filename":"/s/image.vdi","read-only":true,"locking":"off"},"node-name":"root","read-only":true}
         -device ide-hd,bus=ide.0,drive=root,bootindex=0,werror=report,rerror=report
         -fsdev local,id=share0,security_model=none,multidevs=remap,readonly=on,path=/work/a,,b
         -device virtio-9p-pci,fsdev=share0,mount_tag=share0,disable-legacy=on,vectors=0,ioeventfd=off
         -netdev user,id=net,ipv6=off
         -device virtio-net-pci,netdev=net,romfile=,disable-legacy=on
         -chardev file,id=console,path=/tmp/c,,d
         -serial chardev:console
        "#);
    }

    #[test]
    fn a_template_s_machine_and_its_copies_differ_in_the_use_of_memory_only() {
        let with = |role| Machine {
            template: Some(TemplateUse {
                memory: "/n/a,b/ram".into(),
                role,
                monitor: 14,
            }),
            ..machine()
        };
        let plain = rendered(&machine());
        let added = |role| {
            let lines = rendered(&with(role));
            let new: Vec<&str> = lines.lines().filter(|line| !plain.contains(line)).collect();
            new.join("\n")
        };
        insta::assert_snapshot!(added(TemplateRole::Saved), @"
        -machine pc,accel=tcg,usb=off,vmport=off,smm=off,dump-guest-core=off,memory-backend=ram
        -object memory-backend-file,id=ram,size=256M,share=on,mem-path=/n/a,,b/ram
        -device vmgenid,guid=auto
        -chardev socket,id=monitor,fd=14
        -mon chardev=monitor,mode=control
        ");
        insta::assert_snapshot!(added(TemplateRole::Restored), @"
        -machine pc,accel=tcg,usb=off,vmport=off,smm=off,dump-guest-core=off,memory-backend=ram
        -object memory-backend-file,id=ram,size=256M,share=off,readonly=on,rom=off,mem-path=/n/a,,b/ram
        -device vmgenid,guid=auto
        -chardev socket,id=monitor,fd=14
        -mon chardev=monitor,mode=control
        -incoming defer
        ");
        assert!(!rendered(&with(TemplateRole::Restored)).contains("-kernel"));
    }

    #[test]
    fn a_disk_name_that_is_not_text_is_refused() {
        let mut bad = machine();
        bad.disks[0].file = OsString::from_vec(vec![b'/', 0xff]).into();
        assert!(command_line(&bad).is_err());
    }
}
