//! Kernel modules: which ones a virtual machine calls for, what a module needs, and in which
//! order they are loaded.

use std::collections::BTreeSet;

use goblin::container::Ctx;
use goblin::elf::Elf;
use goblin::elf::section_header::SectionHeader;

/// A PCI device or kind of device that calls for a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciMatch {
    /// One device.
    Device {
        /// The maker's number.
        vendor: u16,
        /// The device's number.
        device: u16,
    },
    /// All of a maker's devices with a number in this range, ends included.
    Devices {
        /// The maker's number.
        vendor: u16,
        /// The lowest number.
        first: u16,
        /// The highest number.
        last: u16,
    },
    /// Every device whose class (base class, subclass, interface: 24 bits) has these bits.
    Class {
        /// The class.
        class: u32,
        /// The bits of it that matter.
        mask: u32,
    },
}

impl PciMatch {
    /// Whether it is met by a device with these numbers, as in its folder in `/sys/bus/pci/devices`.
    #[must_use]
    pub const fn matches(self, vendor: u16, device: u16, class: u32) -> bool {
        match self {
            Self::Device { vendor: v, device: d } => v == vendor && d == device,
            Self::Devices { vendor: v, first, last } => v == vendor && first <= device && device <= last,
            Self::Class { class: c, mask } => class & mask == c & mask,
        }
    }
}

/// Modules that belong together, and the devices that call for them.
#[derive(Clone, Copy, Debug)]
pub struct ModuleGroup {
    /// A short name, unique among [`MODULE_GROUPS`].
    pub name: &'static str,
    /// The modules asked for; what these need is found in them.
    pub wanted: &'static [&'static str],
    /// The devices that call for the group; none for file systems and protocols.
    pub pci: &'static [PciMatch],
}

/// Red Hat's number, under which all virtio devices go (virtio 1.2, section 4.1.2).
const VIRTIO: u16 = 0x1af4;

/// A virtio device by its transitional number and by that of virtio 1.0.
const fn virtio(transitional: u16, modern: u16) -> [PciMatch; 2] {
    [
        PciMatch::Device {
            vendor: VIRTIO,
            device: transitional,
        },
        PciMatch::Device {
            vendor: VIRTIO,
            device: modern,
        },
    ]
}

const fn intel(device: u16) -> PciMatch {
    PciMatch::Device { vendor: 0x8086, device }
}

/// `VirtualBox`'s device for what its guests ask of it.
const VIRTUALBOX: PciMatch = PciMatch::Device {
    vendor: 0x80ee,
    device: 0xcafe,
};

/// The virtual hardware of QEMU and `VirtualBox`, and the file systems of guests. Serial ports and
/// PCI itself are built into Debian's kernels.
pub static MODULE_GROUPS: &[ModuleGroup] = &[
    ModuleGroup {
        name: "virtio-pci",
        wanted: &["virtio_pci"],
        pci: &[PciMatch::Devices {
            vendor: VIRTIO,
            first: 0x1000,
            last: 0x107f,
        }],
    },
    ModuleGroup {
        name: "virtio-blk",
        wanted: &["virtio_blk"],
        pci: &virtio(0x1001, 0x1042),
    },
    ModuleGroup {
        name: "virtio-net",
        wanted: &["virtio_net"],
        pci: &virtio(0x1000, 0x1041),
    },
    ModuleGroup {
        name: "virtio-console",
        wanted: &["virtio_console"],
        pci: &virtio(0x1003, 0x1043),
    },
    ModuleGroup {
        name: "virtio-rng",
        wanted: &["virtio_rng"],
        pci: &virtio(0x1005, 0x1044),
    },
    ModuleGroup {
        name: "9p",
        wanted: &["9pnet_virtio", "9p"],
        pci: &virtio(0x1009, 0x1049),
    },
    ModuleGroup {
        name: "ahci",
        wanted: &["ahci", "sd_mod"],
        pci: &[PciMatch::Class {
            class: 0x01_06_01,
            mask: 0xff_ff_ff,
        }],
    },
    ModuleGroup {
        name: "ide",
        wanted: &["ata_piix", "sd_mod"],
        pci: &[PciMatch::Class {
            class: 0x01_01_00,
            mask: 0xff_ff_00,
        }],
    },
    // QEMU's e1000, and VirtualBox's three kinds of it.
    ModuleGroup {
        name: "e1000",
        wanted: &["e1000"],
        pci: &[intel(0x100e), intel(0x1004), intel(0x100f)],
    },
    ModuleGroup {
        name: "e1000e",
        wanted: &["e1000e"],
        pci: &[intel(0x10d3)],
    },
    ModuleGroup {
        name: "vboxguest",
        wanted: &["vboxguest"],
        pci: &[VIRTUALBOX],
    },
    ModuleGroup {
        name: "vboxsf",
        wanted: &["vboxsf"],
        pci: &[VIRTUALBOX],
    },
    ModuleGroup {
        name: "squashfs",
        wanted: &["squashfs"],
        pci: &[],
    },
    ModuleGroup {
        name: "erofs",
        wanted: &["erofs"],
        pci: &[],
    },
    ModuleGroup {
        name: "ext4",
        wanted: &["ext4"],
        pci: &[],
    },
    ModuleGroup {
        name: "overlay",
        wanted: &["overlay"],
        pci: &[],
    },
];

/// The group of this name.
#[must_use]
pub fn module_group(name: &str) -> Option<&'static ModuleGroup> {
    MODULE_GROUPS.iter().find(|group| group.name == name)
}

/// A module's name as the kernel writes it: file names may have `-` where it has `_`.
#[must_use]
pub fn normal_name(name: &str) -> String {
    name.replace('-', "_")
}

/// What must be loaded before a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Needs {
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules or algorithms it uses if they are there (`softdep: pre`).
    pub before: Vec<String>,
}

impl Needs {
    /// Reads a module's `.modinfo` section; `None` when the file is no ELF file or has none.
    #[must_use]
    pub fn of(module: &[u8]) -> Option<Self> {
        let mut needs = Self::default();
        let modinfo = section(module, ".modinfo")?;
        for entry in modinfo.split(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(entry);
            match text.split_once('=') {
                Some(("depends", names)) => {
                    needs
                        .depends
                        .extend(names.split(',').filter(|name| !name.is_empty()).map(normal_name));
                }
                Some(("softdep", words)) => {
                    let pre = words.split_whitespace().skip_while(|word| *word != "pre:").skip(1);
                    needs
                        .before
                        .extend(pre.take_while(|word| !word.ends_with(':')).map(normal_name));
                }
                _ => {}
            }
        }
        Some(needs)
    }
}

/// The bytes of the section `name` of an ELF file.
fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let header = Elf::parse_header(file).ok()?;
    let context = Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let table = usize::try_from(header.e_shoff).ok()?;
    let sections = SectionHeader::parse(file, table, usize::from(header.e_shnum), context).ok()?;
    let bytes = |section: &SectionHeader| {
        let start = usize::try_from(section.sh_offset).ok()?;
        file.get(start..start.checked_add(usize::try_from(section.sh_size).ok()?)?)
    };
    let names = bytes(sections.get(usize::from(header.e_shstrndx))?)?;
    let is_it = |section: &&SectionHeader| {
        let rest = names.get(section.sh_name..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    };
    sections.iter().find(is_it).and_then(bytes)
}

/// What a kernel has under a module's name.
#[derive(Clone, Debug)]
pub enum Known {
    /// It is part of the kernel.
    BuiltIn,
    /// A module that needs this.
    Loadable(Needs),
    /// Nothing.
    Unknown,
}

/// The modules to load for `names`, each after all it needs. `look_up` tells what a normal name
/// stands for; `unknown` makes the error for one that stands for nothing.
pub fn load_order<E>(
    names: &[&str],
    look_up: &mut dyn FnMut(&str) -> Result<Known, E>,
    unknown: &dyn Fn(&str) -> E,
) -> Result<Vec<String>, E> {
    let mut order = Order {
        look_up,
        unknown,
        seen: BTreeSet::new(),
        loaded: Vec::new(),
    };
    for name in names {
        order.visit(&normal_name(name))?;
    }
    Ok(order.loaded)
}

struct Order<'a, E> {
    look_up: &'a mut dyn FnMut(&str) -> Result<Known, E>,
    unknown: &'a dyn Fn(&str) -> E,
    seen: BTreeSet<String>,
    loaded: Vec<String>,
}

impl<E> Order<'_, E> {
    fn visit(&mut self, name: &str) -> Result<(), E> {
        // A name is marked before what it needs, so that a circle of soft dependencies ends.
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let needs = match (self.look_up)(name)? {
            Known::BuiltIn => return Ok(()),
            Known::Unknown => return Err((self.unknown)(name)),
            Known::Loadable(needs) => needs,
        };
        for soft in &needs.before {
            if let Some(found) = self.soft(soft)? {
                self.visit(&found)?;
            }
        }
        for hard in &needs.depends {
            self.visit(hard)?;
        }
        self.loaded.push(name.to_owned());
        Ok(())
    }

    /// The module behind a soft dependency, which may name an algorithm of the kernel's crypto
    /// interface: `crypto-crc32c` and `crc32c` are in `crc32c_generic`. Where there is none, the
    /// module does without.
    fn soft(&mut self, name: &str) -> Result<Option<String>, E> {
        let algorithm = name.strip_prefix("crypto_").unwrap_or(name);
        for candidate in [name.to_owned(), algorithm.to_owned(), format!("{algorithm}_generic")] {
            if !matches!((self.look_up)(&candidate)?, Known::Unknown) {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// An ELF file of one section, `.modinfo`, with these entries.
    pub(crate) fn module(entries: &[&str]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let modinfo = entries.join("\0").into_bytes();
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[18] = 62;
        file[0x28..0x30].copy_from_slice(&((64 + names.len() + modinfo.len()) as u64).to_le_bytes());
        file[0x3a] = 64;
        file[0x3c] = 3;
        file[0x3e] = 2;
        file.extend(names);
        file.extend(&modinfo);
        file.extend([0; 64]);
        for (name, offset, size) in [(1_u32, 64 + names.len(), modinfo.len()), (10, 64, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4] = 1;
            header[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend(header);
        }
        file
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_module_tells_what_it_needs() {
        let file = module(&[
            "license=GPL",
            "depends=jbd2,mb-cache",
            "softdep=post: x pre: crc32c a-b post: y",
            "name=ext4",
        ]);
        let needs = Needs {
            depends: strings(&["jbd2", "mb_cache"]),
            before: strings(&["crc32c", "a_b"]),
        };
        assert_eq!(Needs::of(&file), Some(needs));
        assert_eq!(Needs::of(&module(&["depends="])), Some(Needs::default()));
        for cut in 0..file.len() {
            let _ = Needs::of(&file[..cut]);
        }
        assert_eq!(Needs::of(b"no module"), None);
    }

    fn order(names: &[&str]) -> Result<Vec<String>, String> {
        let loadable = |depends: &[&str], before: &[&str]| {
            Known::Loadable(Needs {
                depends: strings(depends),
                before: strings(before),
            })
        };
        let known = BTreeMap::from([
            ("ext4", loadable(&["jbd2", "crc16"], &["crc32c"])),
            ("jbd2", loadable(&["crc16"], &["crypto_crc32c", "gone"])),
            ("crc16", loadable(&[], &[])),
            ("crc32c_generic", loadable(&[], &["ext4"])),
            ("broken", loadable(&["gone"], &[])),
            ("uses_builtin", loadable(&["pci"], &[])),
            ("pci", Known::BuiltIn),
        ]);
        let mut look_up = |name: &str| Ok(known.get(name).cloned().unwrap_or(Known::Unknown));
        load_order(names, &mut look_up, &|name| name.to_owned())
    }

    #[test]
    fn what_is_needed_is_loaded_first() {
        for (names, loaded) in [
            (&["ext4"][..], &["crc32c_generic", "crc16", "jbd2", "ext4"][..]),
            (&["crc16", "ext4", "ext4"], &["crc16", "crc32c_generic", "jbd2", "ext4"]),
            (&["uses-builtin", "pci"], &["uses_builtin"]),
            (&[], &[]),
        ] {
            assert_eq!(order(names), Ok(strings(loaded)), "{names:?}");
        }
        assert_eq!(order(&["broken"]), Err("gone".to_owned()));
    }

    #[test]
    fn devices_call_for_their_groups() {
        let called = |vendor, device, class| -> Vec<&str> {
            let by = |group: &&ModuleGroup| group.pci.iter().any(|pci| pci.matches(vendor, device, class));
            MODULE_GROUPS.iter().filter(by).map(|group| group.name).collect()
        };
        for (vendor, device, class, groups) in [
            (0x1af4, 0x1001, 0x01_00_00, &["virtio-pci", "virtio-blk"][..]),
            (0x1af4, 0x1044, 0x00_ff_00, &["virtio-pci", "virtio-rng"]),
            (0x8086, 0x7010, 0x01_01_80, &["ide"]),
            (0x8086, 0x2922, 0x01_06_01, &["ahci"]),
            (0x8086, 0x100e, 0x02_00_00, &["e1000"]),
            (0x80ee, 0xcafe, 0x08_80_00, &["vboxguest", "vboxsf"]),
            (0x1234, 0x1111, 0x03_00_00, &[]),
        ] {
            assert_eq!(called(vendor, device, class), groups, "{vendor:04x}:{device:04x}");
        }
        let names: BTreeSet<&str> = MODULE_GROUPS.iter().map(|group| group.name).collect();
        assert_eq!(names.len(), MODULE_GROUPS.len());
        assert!(names.iter().all(|name| module_group(name).is_some()));
    }
}
