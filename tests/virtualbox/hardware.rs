//! What a machine is made of, in `VirtualBox`'s settings and in a started machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};

use hpcvm::architecture::Architecture;
use hpcvm::guest::job_disk::{Identity, JobDescription};
use hpcvm::guest::result_disk::{Ending, ResultHeader, blank};
use hpcvm::hypervisor::accelerator::Accelerator;
use hpcvm::hypervisor::machine::{Boot, Bus, Chipset, Disk, DiskFormat, Machine, Network};
use hpcvm::hypervisor::virtualbox::{Folders, SOCKETS, make_clone, register};

use super::harness::{Place, told, tree};
use super::jobs::disk;
use super::registry::{Kept, PROGRAMS, value};

#[test]
fn processors_and_a_network_are_in_the_settings_and_in_the_started_machine() {
    let Some(tree) = tree("processors_and_a_network_are_in_the_settings_and_in_the_started_machine") else {
        return;
    };
    let place = Place::new(tree);
    let kept = Kept::new(&place, &["--cpus", "2", "--net", "user", "--memory", "48M"]);
    let shown = kept.manage(&["showvminfo", "hpcvm", "--machinereadable"]);
    for (key, expected) in [("cpus", "2"), ("memory", "48"), ("nic1", "nat"), ("nictype1", "virtio")] {
        assert_eq!(value(&shown, key), expected, "{key}");
    }
    let address = value(&shown, "macaddress1");
    assert!(address.len() == 12 && address.starts_with("080027"), "{address}");
    let log = fs::read_to_string(kept.file("Logs/VBox.log")).unwrap();
    // Of the machine's tree of devices, which VirtualBox logs when it has made it.
    let has = |key: &str, value: &str| {
        let line = |line: &str| line.contains(&format!(" {key} ")) && line.contains(value);
        assert!(log.lines().any(line), "no {key} = {value}");
    };
    has("NumCPUs", "(2)");
    has("Driver", "\"NAT\"");
    assert!(
        log.contains("Changing the VM state from 'POWERING_ON' to 'RUNNING'") || log.contains("'RUNNING'"),
        "{log}"
    );
}

/// The machine of the tests with its disks in `folder`.
pub(crate) fn machine(folder: &Path) -> Machine {
    let disk = |id: &str, file: &str, format, bus| Disk {
        id: id.into(),
        file: folder.join(file),
        format,
        read_only: false,
        bus,
    };
    Machine {
        architecture: Architecture::I386,
        accelerator: Accelerator::Tcg,
        memory: hpcvm::units::Bytes::mebibytes(32),
        cpus: 1,
        boot: Boot::Bios(Chipset::Q35),
        disks: vec![
            disk("root", "clone.vdi", DiskFormat::DifferencingVdi, Bus::Board),
            disk("job", "job.disk", DiskFormat::Raw, Bus::Virtio),
            disk("result", "result.disk", DiskFormat::Raw, Bus::Virtio),
        ],
        shares: Vec::new(),
        network: Network::None,
        console: folder.join("console.log"),
        ports: Vec::new(),
        template: None,
    }
}

/// Processes that are killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a job in a machine whose base is attached as `kind`, with nothing of a launcher; what its settings say of the
/// base afterwards.
fn boot(place: &Place, kind: &str) -> String {
    let folder = tempfile::Builder::new()
        .prefix("hpcvm-vm-")
        .tempdir_in(place.path("tmp"))
        .unwrap();
    let folders = Folders::create(folder.path()).unwrap();
    let machine = machine(folder.path());
    let base = disk(place);
    make_clone(&base, &machine.disks[0].file).unwrap();
    let job = JobDescription {
        command: ["sh", "-c", "exit 9"].map(Into::into).to_vec(),
        identity: Identity::default(),
        ..JobDescription::default()
    };
    for (file, content) in [("job.disk", job.encode().unwrap()), ("result.disk", blank().to_vec())] {
        let mut content = content;
        content.resize(1 << 20, 0);
        fs::write(folder.path().join(file), content).unwrap();
    }
    let uuid = register(&machine, &base, folder.path(), &folders).unwrap();
    let settings = folder.path().join("hpcvm.vbox");
    let text = fs::read_to_string(&settings).unwrap();
    assert!(text.contains("type=\"MultiAttach\""), "{text}");
    fs::write(&settings, text.replace("\"MultiAttach\"", &format!("\"{kind}\""))).unwrap();
    let ports = SOCKETS.map(|name| UnixListener::bind(folders.sockets().join(name)).unwrap());
    place.give(folder.path());
    place.give(folders.sockets());

    let within = |command: &mut Command| {
        let name = folder.path().file_name().unwrap();
        command
            .env("VBOX_USER_HOME", folders.home())
            .env("VBOX_IPC_SOCKETID", name);
    };
    let mut headless = place.command(Path::new(PROGRAMS).join("VBoxHeadless"));
    headless.args(["--startvm", &uuid.to_string(), "--vrde", "off"]);
    within(&mut headless);
    let mut headless = Running(headless.spawn().unwrap());
    let mut control = ports[0].accept().unwrap().0;
    let _others = [ports[1].accept().unwrap(), ports[2].accept().unwrap()];
    let ended = BufReader::new(control.try_clone().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("exit "));
    assert!(ended.is_some_and(|line| line.contains(" 9 ")), "{kind}");
    control.write_all(b"ack\n").unwrap();
    headless.0.wait().unwrap();
    let result = ResultHeader::decode(&fs::read(folder.path().join("result.disk")).unwrap());
    assert_eq!(result.unwrap().ending, Ending::Exited(9), "{kind}");
    let mut manage = place.command(Path::new(PROGRAMS).join("VBoxManage"));
    within(manage.args(["list", "hdds"]));
    let listed = told(&mut manage).stdout;
    place.kill("VBox");
    listed
}

#[test]
fn a_machine_boots_from_a_base_of_either_type() {
    let Some(tree) = tree("a_machine_boots_from_a_base_of_either_type") else {
        return;
    };
    let place = Place::new(tree);
    let base = fs::read(disk(&place)).unwrap();
    for kind in ["Immutable", "MultiAttach"] {
        let listed = boot(&place, kind);
        assert!(listed.contains(&kind.to_lowercase()), "{kind}: {listed}");
        assert!(
            fs::read(disk(&place)).unwrap() == base,
            "{kind}: the image's disk was written to"
        );
    }
    place.assert_clean();
}
