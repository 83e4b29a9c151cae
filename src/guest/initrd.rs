//! The initial RAM disk: one program, the kernel modules it may load, and the plan that says
//! which machine calls for which (`overlays/job-runner/src/init.c` reads it).

use std::collections::BTreeMap;

use super::cpio::{CpioEntry, CpioKind, CpioWriter};
use super::kernel_error::KernelError;
use super::kernel_package::{KernelPackage, ModuleFile};
use super::modules::{MODULE_GROUPS, ModuleGroup, PciMatch};
use super::programs;
use crate::architecture::Architecture;
use crate::recipe::RootKind;

/// Which machines an initial RAM disk has drivers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those that a hypervisor with virtio devices starts directly: small, and quick to unpack.
    Virtio,
    /// All that the image's disk can be booted on, and scratch disks.
    Every,
}

/// What an initial RAM disk is made for.
#[derive(Clone, Debug)]
pub struct InitrdRequest<'a> {
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The kind of root file system it mounts.
    pub root: RootKind,
    /// Modules it always loads besides.
    pub modules: &'a [String],
    /// Which machines it has drivers for.
    pub reach: Reach,
}

/// Groups for the devices that a direct start can have; those of the root come besides.
const DIRECT: [&str; 5] = ["virtio-pci", "virtio-blk", "virtio-net", "virtio-console", "9p"];

/// When a group of modules is loaded.
enum Occasion {
    Always,
    Asked,
    Devices(&'static [PciMatch]),
}

/// The initial RAM disk's bytes: an uncompressed cpio archive, the same for the same inputs.
pub fn build(kernel: &KernelPackage<'_>, request: &InitrdRequest<'_>) -> Result<Vec<u8>, KernelError> {
    let mut modules = BTreeMap::new();
    let mut plan = String::new();
    for (name, occasion, wanted) in groups(kernel, request) {
        let files = kernel.closure(&wanted)?;
        if files.is_empty() {
            continue;
        }
        plan += &plan_line(name, &occasion, &files);
        modules.extend(files.into_iter().map(|file| (file.name, without_signature(file.bytes))));
    }
    Ok(archive(programs::init(request.architecture), &plan, modules))
}

/// The groups in the order they are loaded: the root's device before its file system.
fn groups<'a>(
    kernel: &KernelPackage<'_>,
    request: &'a InitrdRequest<'_>,
) -> Vec<(&'static str, Occasion, Vec<&'a str>)> {
    let always: &[&str] = match request.root {
        RootKind::ReadOnly => &["squashfs", "overlay"],
        RootKind::Writable => &["ext4"],
    };
    let occasion = |group: &ModuleGroup| match group.name {
        name if always.contains(&name) => Some(Occasion::Always),
        // An export of the shared library repository is a squashfs, whatever the root is.
        "ext4" | "squashfs" => Some(Occasion::Asked),
        "overlay" | "erofs" => None,
        _ => Some(Occasion::Devices(group.pci)),
    };
    let within = |group: &&ModuleGroup| {
        request.reach == Reach::Every || always.contains(&group.name) || DIRECT.contains(&group.name)
    };
    let known = MODULE_GROUPS
        .iter()
        .filter(within)
        .filter(|group| kernel.has_group(group));
    let mut groups: Vec<_> = known
        .filter_map(|group| Some((group.name, occasion(group)?, group.wanted.to_vec())))
        .collect();
    if !request.modules.is_empty() {
        groups.push((
            "recipe",
            Occasion::Always,
            request.modules.iter().map(String::as_str).collect(),
        ));
    }
    groups
}

/// The module without the signature at its end. The kernel would verify it: under emulation a
/// hash and an RSA operation for each module, 0.15 s in all. The image's manifest vouches for
/// the module already; the kernel notes that it was not signed (taint flag E).
fn without_signature(mut module: Vec<u8>) -> Vec<u8> {
    /// What follows the signature and its 12 bytes of description, whose last four are the
    /// signature's length (`linux/module_signature.h`).
    const MARK: &[u8] = b"~Module signature appended~\n";
    const DESCRIPTION: usize = 12;
    let Some(described) = module.strip_suffix(MARK) else {
        return module;
    };
    let Some((rest, length)) = described.split_last_chunk::<4>() else {
        return module;
    };
    let signature = u32::from_be_bytes(*length) as usize;
    if let Some(end) = (rest.len() + 4)
        .checked_sub(DESCRIPTION)
        .and_then(|end| end.checked_sub(signature))
    {
        module.truncate(end);
    }
    module
}

fn plan_line(name: &str, occasion: &Occasion, files: &[ModuleFile]) -> String {
    let when = match occasion {
        Occasion::Always => "-".to_owned(),
        Occasion::Asked => "?".to_owned(),
        Occasion::Devices(matches) => matches.iter().map(plan_match).collect::<Vec<_>>().join(","),
    };
    let files: String = files.iter().flat_map(|file| [" ", &file.name, ".ko"]).collect();
    format!(
        "{name} {when}{files}
"
    )
}

fn plan_match(pci: &PciMatch) -> String {
    match *pci {
        PciMatch::Device { vendor, device } => format!("{vendor:04x}:{device:04x}"),
        PciMatch::Devices { vendor, first, last } => format!("{vendor:04x}:{first:04x}-{last:04x}"),
        PciMatch::Class { class, mask } => format!("class:{class:06x}/{mask:06x}"),
    }
}

fn archive(init: &[u8], plan: &str, modules: BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    let mut append = |entry: &CpioEntry| {
        writer
            .append(entry)
            .expect("short names and contents, written to memory");
    };
    for folder in ["dev", "lower", "modules", "proc", "root", "sys", "upper"] {
        append(&CpioEntry::new(folder, CpioKind::Directory, 0o755));
    }
    // The kernel opens it for init's standard streams before anything is mounted.
    append(&CpioEntry::new("dev/console", CpioKind::CharDevice(5, 1), 0o600));
    append(&CpioEntry::new("init", CpioKind::File(init.to_vec()), 0o755));
    append(&CpioEntry::new(
        "modules/plan",
        CpioKind::File(plan.as_bytes().to_vec()),
        0o644,
    ));
    for (name, bytes) in modules {
        append(&CpioEntry::new(
            &format!("modules/{name}.ko"),
            CpioKind::File(bytes),
            0o644,
        ));
    }
    writer.finish().expect("written to memory")
}

/// An initial RAM disk whose only program says one line and powers off: the floor of a boot.
#[must_use]
pub fn floor() -> Vec<u8> {
    archive(programs::floor_init(), "", BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &[PciMatch] = &[
        PciMatch::Devices {
            vendor: 0x1af4,
            first: 0x1000,
            last: 0x107f,
        },
        PciMatch::Class {
            class: 0x01_06_01,
            mask: 0xff_ff_ff,
        },
    ];

    #[test]
    fn a_plan_says_when_each_group_is_loaded() {
        let files = ["virtio_ring", "virtio_blk"].map(|name| ModuleFile {
            name: name.into(),
            path: String::new(),
            bytes: Vec::new(),
        });
        for (occasion, line) in [
            (Occasion::Always, "g - virtio_ring.ko virtio_blk.ko\n"),
            (Occasion::Asked, "g ? virtio_ring.ko virtio_blk.ko\n"),
            (
                Occasion::Devices(ANY),
                "g 1af4:1000-107f,class:010601/ffffff virtio_ring.ko virtio_blk.ko\n",
            ),
        ] {
            assert_eq!(plan_line("g", &occasion, &files), line);
        }
    }

    #[test]
    fn signatures_are_left_out() {
        let mut signed = b"module".to_vec();
        signed.extend_from_slice(b"SIGN");
        signed.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        signed.extend_from_slice(&4_u32.to_be_bytes());
        signed.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(signed.clone()), b"module");
        assert_eq!(without_signature(b"module".to_vec()), b"module");
        let length = signed.len() - 28 - 4;
        signed[length] = 0xff;
        assert_eq!(without_signature(signed.clone()), signed, "a length that cannot be");
    }

    #[test]
    fn the_floor_holds_a_program_and_a_console() {
        let text = String::from_utf8_lossy(&floor()).into_owned();
        assert!(text.contains("dev/console") && text.contains("init"));
    }
}
