//! The guest that fits in a boot sector and what follows it (`guest.c`): assembled, put on a VDI, and made an image of
//! a store that `hpcvm launch` takes.

use std::fs::{self, File};
use std::path::Path;

use hpcvm::architecture::Architecture;
use hpcvm::digest::Digest;
use hpcvm::exec::{Host, Invocation, Runner as _};
use hpcvm::image::manifest::{
    Artefact, DiskLayout, Extent, Kernel, MANIFEST_VERSION, Manifest, RecipeIdentity, Root, RunDefaults,
};
use hpcvm::image::vdi::write_fixed;
use hpcvm::image::{DISK_FILE, INITRD_FILE, KERNEL_FILE, Store, StoredImage};
use hpcvm::recipe::{Init, Initrd, RootKind, Wrap};

/// Bytes of the guest's disk.
const DISK_LENGTH: u64 = 1 << 20;
const SECTOR: u64 = 512;
const FILE_LIST: &str = "files.json";

/// Real mode code without anything of a host.
const COMPILER: &str = "-m16 -march=i386 -Os -ffreestanding -fno-pic -fno-stack-protector \
                        -fno-asynchronous-unwind-tables -fcf-protection=none -Wall -Wextra -Werror -c -o guest.o";

/// Assembles the guest in `folder`, which gets its objects, and returns its disk's first bytes.
pub(crate) fn program(folder: &Path) -> Vec<u8> {
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/virtualbox/guest");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for invocation in [
        Invocation::new("gcc")
            .args(words(COMPILER))
            .arg(sources.join("guest.c")),
        Invocation::new("as")
            .args(words("--32 -o boot.o"))
            .arg(sources.join("boot.S")),
        Invocation::new("ld")
            .args(words("-m elf_i386 -o guest.bin -T"))
            .arg(sources.join("guest.ld"))
            .args(["boot.o", "guest.o"]),
    ] {
        host.run(&invocation.current_dir(folder)).unwrap();
    }
    fs::read(folder.join("guest.bin")).unwrap()
}

/// Makes the image `name` of the guest in `store`.
pub(crate) fn store_image(store: &Path, name: &str) -> StoredImage {
    let objects = tempfile::tempdir().unwrap();
    let mut disk = program(objects.path());
    disk.resize(usize::try_from(DISK_LENGTH).unwrap(), 0);
    let staging = Store::open(store).begin().unwrap();
    let mut file = File::create_new(staging.path(DISK_FILE)).unwrap();
    let written = write_fixed(&mut &disk[..], DISK_LENGTH, &mut file).unwrap();
    // Nothing reads these: the guest starts by the BIOS alone.
    for name in [KERNEL_FILE, INITRD_FILE] {
        fs::write(staging.path(name), b"none").unwrap();
    }
    fs::write(staging.path(FILE_LIST), b"{\"files\":1,\"entries\":[]}\n").unwrap();
    let data_offset = written.header.data_offset;
    let artefacts = [FILE_LIST, DISK_FILE, INITRD_FILE, KERNEL_FILE];
    let manifest = Manifest {
        artefacts: artefacts.map(|name| artefact(name, &staging.path(name))).to_vec(),
        disk: DiskLayout {
            data_offset,
            boot: Extent {
                offset: data_offset,
                length: SECTOR,
            },
            root: Extent {
                offset: data_offset + SECTOR,
                length: DISK_LENGTH - SECTOR,
            },
            signature: 0x6870_6376,
        },
        ..manifest(name, &disk[512..])
    };
    staging.commit(&manifest).unwrap()
}

fn artefact(name: &str, path: &Path) -> Artefact {
    Artefact {
        name: name.to_owned(),
        length: fs::metadata(path).unwrap().len(),
        digest: Digest::of_file(path).unwrap(),
    }
}

/// What there is to say of a guest that is no Debian.
fn manifest(name: &str, root: &[u8]) -> Manifest {
    Manifest {
        manifest: MANIFEST_VERSION,
        hpcvm: env!("CARGO_PKG_VERSION").to_owned(),
        name: name.to_owned(),
        description: "a boot sector that speaks the job protocol".to_owned(),
        architecture: Architecture::I386,
        suite: "bookworm".to_owned(),
        recipe: RecipeIdentity {
            digest: Digest::of(b"no recipe"),
            sources: Vec::new(),
        },
        resolution: Vec::new(),
        kernel: Kernel {
            package: "none".to_owned(),
            version: "0".to_owned(),
            release: "0".to_owned(),
            wrap: Wrap::Stock,
            initrd: Initrd::Hpcvm,
            command_line: String::new(),
        },
        init: Init::JobRunner,
        root: Root {
            kind: RootKind::ReadOnly,
            compression: None,
            length: root.len() as u64,
            digest: Digest::of(root),
        },
        disk: DiskLayout {
            data_offset: 0,
            boot: Extent { offset: 0, length: 0 },
            root: Extent { offset: 0, length: 0 },
            signature: 0,
        },
        artefacts: Vec::new(),
        file_list: FILE_LIST.to_owned(),
        packages: Vec::new(),
        services_removed: Vec::new(),
        purge: Vec::new(),
        tools: Vec::new(),
        steps: Vec::new(),
        run: RunDefaults {
            memory: 32 << 20,
            cpus: 1,
            user: "job".to_owned(),
            environment: std::collections::BTreeMap::new(),
        },
        validation: Vec::new(),
        libraries: None,
    }
}
