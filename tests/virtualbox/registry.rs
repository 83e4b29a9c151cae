//! What we write is what `VBoxManage` and `vbox-img` understand.

use std::fs;
use std::path::{Path, PathBuf};

use hpcvm::architecture::Architecture;
use hpcvm::hypervisor::accelerator::Accelerator;
use hpcvm::hypervisor::machine::{Boot, Bus, Chipset, Disk, DiskFormat, Machine, Network};
use hpcvm::hypervisor::virtualbox::{Folders, make_clone, register};

use super::harness::{Place, told, tree};

pub(crate) const PROGRAMS: &str = "/usr/lib/virtualbox";

/// A machine's files after a launch that kept them.
pub(crate) struct Kept<'a> {
    place: &'a Place,
    folder: PathBuf,
    /// The home below the folder.
    home: &'static str,
}

impl<'a> Kept<'a> {
    pub(crate) fn new(place: &'a Place, options: &[&str]) -> Self {
        told(&mut place.run(&[&["--keep"], options, &["--", "true"]].concat())).success();
        let kept: Vec<_> = fs::read_dir(place.path("tmp")).unwrap().flatten().collect();
        assert_eq!(kept.len(), 1);
        Self {
            place,
            folder: kept[0].path(),
            home: "virtualbox",
        }
    }

    /// `VBoxManage` in the machine's home; standard output and error together.
    pub(crate) fn manage(&self, arguments: &[&str]) -> String {
        let mut command = self.place.command(Path::new(PROGRAMS).join("VBoxManage"));
        command
            .args(arguments)
            .env("VBOX_USER_HOME", self.folder.join(self.home));
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        command.env("VBOX_IPC_SOCKETID", format!("{name}{}", self.home));
        let told = told(&mut command);
        told.stdout + &told.stderr
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }
}

/// The value of `key` in what `--machinereadable` prints.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim_matches('"')
}

#[test]
fn vboxmanage_sees_the_machine_as_it_was_asked_for() {
    let Some(tree) = tree("vboxmanage_sees_the_machine_as_it_was_asked_for") else {
        return;
    };
    let place = Place::new(tree);
    let kept = Kept::new(&place, &[]);
    let listed = kept.manage(&["list", "vms"]);
    assert!(listed.starts_with("\"hpcvm\" {"), "{listed}");
    let shown = kept.manage(&["showvminfo", "hpcvm", "--machinereadable"]);
    for (key, expected) in [
        ("memory", "32"),
        ("cpus", "1"),
        ("nic1", "none"),
        ("storagecontrollertype0", "IntelAhci"),
        ("\"SATA-0-0\"", &kept.file("clone.vdi")[..]),
        ("\"SATA-1-0\"", &kept.file("job.vmdk")[..]),
        ("uartmode1", &format!("file,{}", kept.file("console.log"))[..]),
        // Power-off by the guest, seen by the service that the launch killed afterwards.
        ("ioapic", "on"),
    ] {
        assert_eq!(value(&shown, key), expected, "{key}");
    }
    let state = value(&shown, "VMState");
    assert!(["poweroff", "aborted"].contains(&state), "{state}");
    let disks = kept.manage(&["list", "hdds"]);
    assert!(
        disks.contains("multiattach") && disks.matches("State:          created").count() >= 3,
        "{disks}"
    );
}

#[test]
fn clones_and_descriptors_hold_what_they_should() {
    let Some(tree) = tree("clones_and_descriptors_hold_what_they_should") else {
        return;
    };
    let place = Place::new(tree);
    let kept = Kept::new(&place, &[]);
    // A differencing image is only whole with its base: VBoxManage flattens the chain.
    for (disk, format) in [("clone.vdi", "VDI"), ("job.vmdk", "VMDK")] {
        let raw = kept.file(&format!("{disk}.raw"));
        let said = kept.manage(&["clonemedium", "disk", &kept.file(disk), &raw, "--format", "RAW"]);
        assert!(
            said.contains("Clone medium created in format 'RAW'"),
            "{disk} {format}: {said}"
        );
    }
    let base = {
        let mut file = fs::File::open(super::jobs::disk(&place)).unwrap();
        let header = hpcvm::image::vdi::Header::read(&mut file).unwrap();
        let whole = fs::read(super::jobs::disk(&place)).unwrap();
        whole[usize::try_from(header.data_offset).unwrap()..].to_vec()
    };
    assert!(
        fs::read(kept.file("clone.vdi.raw")).unwrap() == base,
        "the clone is not its base"
    );
    assert!(fs::read(kept.file("job.vmdk.raw")).unwrap() == fs::read(kept.file("job.disk")).unwrap());
}

#[test]
fn either_kind_of_base_is_taken_and_a_machine_can_be_registered_and_dropped_again() {
    let Some(tree) = tree("either_kind_of_base_is_taken_and_a_machine_can_be_registered_and_dropped_again") else {
        return;
    };
    let place = Place::new(tree);
    let mut kept = Kept::new(&place, &[]);
    let settings = kept.file("hpcvm.vbox");
    let base = fs::read(super::jobs::disk(&place)).unwrap();
    // VBoxManage's own way, twice, with the base attached either way.
    for (before, after) in [("MultiAttach", "Immutable"), ("Immutable", "MultiAttach")] {
        let said = kept.manage(&["unregistervm", "hpcvm"]);
        assert_eq!(said.trim(), "", "{said}");
        assert_eq!(kept.manage(&["list", "vms"]).trim(), "");
        // A service keeps what it knows of a disk: another home asks anew.
        kept.home = after;
        let text = fs::read_to_string(&settings).unwrap().replace(before, after);
        assert!(text.contains(after), "{text}");
        fs::write(&settings, text).unwrap();
        let said = kept.manage(&["registervm", &settings]);
        assert_eq!(said.trim(), "", "{said}");
        let listed = kept.manage(&["list", "vms"]);
        assert!(listed.starts_with("\"hpcvm\" {"), "{listed}");
        let disks = kept.manage(&["list", "hdds"]);
        assert!(disks.contains(&after.to_lowercase()), "{disks}");
    }
    // Its base is only a parent, and stays.
    let said = kept.manage(&["unregistervm", "hpcvm", "--delete"]);
    assert!(!said.contains("error"), "{said}");
    assert!(!Path::new(&kept.file("clone.vdi")).exists());
    assert!(fs::read(super::jobs::disk(&place)).unwrap() == base);
}

#[test]
fn five_hundred_machines_in_a_row_are_registered_without_a_failure() {
    let Some(tree) = tree("five_hundred_machines_in_a_row_are_registered_without_a_failure") else {
        return;
    };
    let place = Place::new(tree);
    let base = super::jobs::disk(&place);
    let mut uuids = std::collections::BTreeSet::new();
    let disk = |id: &str, file: PathBuf, format, bus| Disk {
        id: id.into(),
        file,
        format,
        read_only: false,
        bus,
    };
    for index in 0..500 {
        let folder = tempfile::Builder::new().prefix("hpcvm-vm-").tempdir().unwrap();
        let clone = folder.path().join("clone.vdi");
        make_clone(&base, &clone).unwrap();
        fs::write(folder.path().join("job.disk"), vec![0; 1 << 20]).unwrap();
        let machine = Machine {
            architecture: Architecture::I386,
            accelerator: Accelerator::Tcg,
            memory: hpcvm::units::Bytes::mebibytes(32),
            cpus: 1,
            boot: Boot::Bios(Chipset::Q35),
            disks: vec![
                disk("root", clone.clone(), DiskFormat::DifferencingVdi, Bus::Board),
                disk("job", folder.path().join("job.disk"), DiskFormat::Raw, Bus::Virtio),
            ],
            shares: Vec::new(),
            network: Network::None,
            console: folder.path().join("console.log"),
            ports: Vec::new(),
            template: None,
        };
        let folders = Folders::create(folder.path()).unwrap();
        let uuid = register(&machine, &base, folder.path(), &folders).unwrap();
        assert!(uuids.insert(uuid.to_string()), "{index}: {uuid} again");
        let clone = fs::read(&clone).unwrap();
        assert!(
            uuids.insert(format!("{:?}", &clone[0x188..0x198])),
            "{index}: a clone's UUID again"
        );
        // The real one is asked every now and then: each time takes it half a second.
        if index % 50 == 0 {
            place.give(folder.path());
            place.give(folders.sockets());
            let mut command = place.command(Path::new(PROGRAMS).join("VBoxManage"));
            command.args(["list", "vms"]).env("VBOX_USER_HOME", folders.home());
            command.env("VBOX_IPC_SOCKETID", folder.path().file_name().unwrap());
            let listed = told(&mut command);
            assert!(
                listed.stdout.contains(&uuid.to_string()),
                "{index}: {} {}",
                listed.stdout,
                listed.stderr
            );
        }
    }
}
