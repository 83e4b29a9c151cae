//! From a request to the machine and the disks that carry the job.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::clone;
use super::error::LaunchError;
use super::inputs;
use super::libraries::Libraries;
use super::request::{LaunchRequest, Share, Start};
use super::spool;
use super::virtualbox;
use crate::exec::{FIRST_DESCRIPTOR, Invocation, Runner};
use crate::guest::job_disk::{
    InputArchive, JobDescription, LibraryMount, LibrarySource, NetworkSettings, SharedFolder,
};
use crate::guest::result_disk;
use crate::guest::template_disk::{self, Expected, Preparation};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Boot, Bus, Disk, DiskFormat, HostShare, Machine, Network, Port};
use crate::hypervisor::qemu;
use crate::recipe::{Init, RootKind};
use crate::sharedlibs::MOUNT_POINT;
use crate::units::{GIB, MIB};

/// The guest's virtio-serial ports, in the order of the sockets behind them.
pub(super) const PORTS: [&str; 4] = ["hpcvm.control", "hpcvm.stdin", "hpcvm.stdout", "hpcvm.stderr"];
/// An empty folder beside a template's disks: nobody's files.
pub(super) const NOTHING_SHARED: &str = "nothing";
/// A job disk that may be put in the place of a template's is at least this long: a guest does not
/// notice that a disk has grown.
const LEAST_JOB_DISK: u64 = GIB;
/// The input archive begins here on the job disk; descriptions are shorter.
const INPUT_OFFSET: u64 = 8 * MIB;
/// The job disk's file.
pub(super) const JOB_DISK: &str = "job.disk";
/// The result disk's file; only what is written to it takes space.
pub(super) const RESULT_DISK: &str = "result.disk";
/// The scratch disk's file system label, by which the guest knows it.
const SCRATCH_LABEL: &str = "hpcvm-scratch";
/// Where the scratch disk is mounted.
const SCRATCH_PATH: &str = "/scratch";
/// The 9p mount tag of the shared library repository.
const LIBRARIES_TAG: &str = "hpcvm-libs";
/// Guest folders that a share must not hide.
const SYSTEM_FOLDERS: [&str; 11] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr",
];

/// QEMU's user network as it is by default (qemu-system(1), `-netdev user`).
fn user_network() -> NetworkSettings {
    // Locally administered (IEEE 802, 8.4); the same for two machines one time in 2^40.
    let mut hardware = [2; 6];
    let random = random_bytes(5);
    hardware[1..=random.len()].copy_from_slice(&random);
    NetworkSettings {
        address: Ipv4Addr::new(10, 0, 2, 15),
        netmask: Ipv4Addr::new(255, 255, 255, 0),
        gateway: Ipv4Addr::new(10, 0, 2, 2),
        nameserver: Ipv4Addr::new(10, 0, 2, 3),
        hardware,
    }
}

/// The machine for `request`, with its files in `folder`. Nothing is made yet.
pub(super) fn machine(request: &LaunchRequest, folder: &Path) -> Result<Machine, LaunchError> {
    check_start(request)?;
    request.shares.iter().try_for_each(check_share)?;
    let virtio = |id: &str, file: &str, read_only| Disk {
        id: id.to_owned(),
        file: folder.join(file),
        format: DiskFormat::Raw,
        read_only,
        bus: Bus::Virtio,
    };
    let mut disks = vec![
        clone::root_disk(&request.image, request.hypervisor, request.start, folder),
        virtio("job", JOB_DISK, true),
    ];
    // Every disk costs the firmware and the guest's kernel 15 ms under emulation.
    if has_result_disk(request) {
        disks.push(virtio("result", RESULT_DISK, false));
    }
    if request.scratch.is_some() {
        disks.push(virtio("scratch", "scratch.disk", false));
    }
    if let Some(export) = request
        .libraries
        .as_ref()
        .and_then(|libraries| libraries.export.as_ref())
    {
        disks.push(Disk {
            file: export.clone(),
            ..virtio("libraries", "", true)
        });
    }
    let port = |(index, name): (usize, &&str)| Port {
        name: (*name).to_owned(),
        descriptor: FIRST_DESCRIPTOR + i32::try_from(index).expect("there are four ports"),
    };
    Ok(Machine {
        architecture: request.image.architecture,
        accelerator: request.accelerator,
        memory: request.memory,
        cpus: request.cpus,
        boot: boot(request),
        disks,
        shares: host_shares(request),
        network: request.network,
        console: request.console.clone().unwrap_or_else(|| folder.join("console.log")),
        ports: PORTS.iter().enumerate().map(port).collect(),
        template: None,
    })
}

fn check_start(request: &LaunchRequest) -> Result<(), LaunchError> {
    let how = match request.start {
        Start::Direct if request.hypervisor == Hypervisor::VirtualBox => {
            "directly by VirtualBox, which boots disks only"
        }
        Start::Direct if !request.image.direct => "directly: Debian's own initrd starts it",
        Start::Bios(_) if request.scratch.is_some() && request.image.init == Init::JobRunner => {
            "by its BIOS with a scratch disk"
        }
        _ => return Ok(()),
    };
    Err(LaunchError::Start {
        image: request.image.name.clone(),
        how,
    })
}

fn check_share(share: &Share) -> Result<(), LaunchError> {
    let refused = |path: &Path, reason: String| {
        Err(LaunchError::Share {
            path: path.to_owned(),
            reason,
        })
    };
    match std::fs::metadata(&share.host) {
        Err(error) => return refused(&share.host, error.to_string()),
        Ok(metadata) if !metadata.is_dir() => return refused(&share.host, "it is not a folder".to_owned()),
        Ok(_) => {}
    }
    if !share.guest.is_absolute() {
        return refused(
            &share.host,
            format!("{} is not an absolute guest path", share.guest.display()),
        );
    }
    if SYSTEM_FOLDERS.iter().any(|folder| share.guest == Path::new(folder)) {
        return refused(
            &share.host,
            format!("at {} it would hide the guest's own files", share.guest.display()),
        );
    }
    Ok(())
}

fn boot(request: &LaunchRequest) -> Boot {
    if let Start::Bios(chipset) = request.start {
        return Boot::Bios(chipset);
    }
    let image = &request.image;
    let root_type = match image.root {
        RootKind::ReadOnly => "squashfs",
        RootKind::Writable => "ext4",
    };
    let mut words = vec![
        image.command_line.clone(),
        "hpcvm.root=/dev/vda".to_owned(),
        format!("hpcvm.rootfs={root_type}"),
    ];
    // The board's disk controllers are there but nothing hangs on them: 0.4 s of drivers under emulation.
    if image.init == Init::JobRunner {
        words.push("hpcvm.skip=ide,ahci".to_owned());
    }
    // Saves 0.15 s of timer calibration under emulation; a second processor would not start.
    if request.cpus == 1 && request.accelerator == Accelerator::Tcg {
        words.push("nolapic_timer".to_owned());
    }
    if image.init == Init::Services {
        words.push("hpcvm.init=/sbin/init".to_owned());
    }
    let asked = asked_drivers(request);
    if !asked.is_empty() {
        words.push(format!("hpcvm.load={}", asked.join(",")));
    }
    Boot::Direct {
        kernel: image.kernel.clone(),
        initrd: if asked.is_empty() {
            image.initrd.clone()
        } else {
            image.full_initrd.clone()
        },
        command_line: words.join(" "),
    }
}

/// Groups of kernel modules that no device calls for, and only the larger initial RAM disk has.
fn asked_drivers(request: &LaunchRequest) -> Vec<&'static str> {
    let libraries = request.libraries.as_ref();
    let by_disk = libraries.is_some_and(|libraries| libraries.export.is_some());
    let writable = request.image.root == RootKind::Writable;
    let asked = [
        ("ext4", request.scratch.is_some() && !writable),
        ("squashfs", by_disk && writable),
    ];
    asked
        .into_iter()
        .filter(|(_, asked)| *asked)
        .map(|(group, _)| group)
        .collect()
}

fn host_shares(request: &LaunchRequest) -> Vec<HostShare> {
    let shares = request.shares.iter().enumerate().map(|(index, share)| HostShare {
        folder: share.host.clone(),
        tag: tag(index),
        read_only: share.read_only,
    });
    let libraries = request.libraries.iter().filter(|libraries| libraries.export.is_none());
    let libraries = libraries.map(|libraries| HostShare {
        folder: libraries.folder.clone(),
        tag: LIBRARIES_TAG.to_owned(),
        read_only: true,
    });
    libraries.chain(shares).collect()
}

fn library_mount(libraries: &Libraries) -> LibraryMount {
    LibraryMount {
        source: match libraries.export {
            Some(_) => LibrarySource::Disk,
            None => LibrarySource::Folder(LIBRARIES_TAG.to_owned()),
        },
        generation: libraries.generation,
        digest: libraries.digest,
        path: OsString::from(MOUNT_POINT),
    }
}

fn tag(index: usize) -> String {
    format!("share{index}")
}

/// What the guest is told, except where the inputs stand.
fn description(request: &LaunchRequest) -> JobDescription {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let job = &request.job;
    JobDescription {
        clock: (now.as_secs(), now.subsec_nanos()),
        hostname: job.hostname.clone(),
        seed: random_seed(),
        identity: job.identity.clone(),
        command: job.command.clone(),
        environment: job.environment.clone(),
        folder: request.job_folder().into_os_string(),
        umask: job.umask,
        shares: request
            .shares
            .iter()
            .enumerate()
            .map(|(index, share)| shared_folder(index, share))
            .collect(),
        input: None,
        outputs: request
            .outputs
            .iter()
            .map(|output| output.guest.clone().into_os_string())
            .collect(),
        network: (request.network == Network::User).then(user_network),
        scratch: request.scratch.map(|_| OsString::from(SCRATCH_PATH)),
        libraries: request.libraries.as_ref().map(library_mount),
        spool: spool::of(request),
    }
}

fn shared_folder(index: usize, share: &Share) -> SharedFolder {
    SharedFolder {
        tag: tag(index),
        path: share.guest.clone().into_os_string(),
        read_only: share.read_only,
    }
}

/// Bytes from the kernel's generator for the guest's. Without them the guest's first random
/// number costs more than a second; so a short read is no reason to fail the launch.
fn random_seed() -> Vec<u8> {
    random_bytes(64)
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let got = File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read(&mut file, &mut bytes))
        .unwrap_or(0);
    bytes.truncate(got);
    bytes
}

/// Makes the clone of the image's disk that `machine` writes to, if it writes to one: over what a template wrote
/// where it is restored from one.
pub(super) fn make_clone(
    runner: &dyn Runner,
    request: &LaunchRequest,
    machine: &Machine,
    template: Option<&Path>,
) -> Result<(), LaunchError> {
    let saved = template.map(|folder| folder.join(clone::CLONE));
    clone::make(
        runner,
        &request.image,
        request.start,
        &machine.disks[0],
        saved.as_deref(),
    )
}

/// Writes the other disks of `request`'s machine into `folder`.
pub(super) fn make_disks(runner: &dyn Runner, request: &LaunchRequest, folder: &Path) -> Result<(), LaunchError> {
    write_job_disk(request, &folder.join(JOB_DISK))?;
    if has_result_disk(request) {
        write_result_disk(request, &folder.join(RESULT_DISK))?;
    }
    if let Some(size) = request.scratch {
        make_scratch_disk(runner, &folder.join("scratch.disk"), size.0)?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<File, LaunchError> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.map_err(|source| LaunchError::Scratch {
        path: path.to_owned(),
        source,
    })
}

fn write_job_disk(request: &LaunchRequest, path: &Path) -> Result<(), LaunchError> {
    let failed = |source| LaunchError::Scratch {
        path: path.to_owned(),
        source,
    };
    let mut disk = create(path)?;
    let mut job = description(request);
    let mut end = INPUT_OFFSET;
    if !request.inputs.is_empty() {
        disk.seek(SeekFrom::Start(INPUT_OFFSET)).map_err(failed)?;
        let written = inputs::write_archive(&mut disk, &request.inputs, &request.job_folder(), &request.job.identity);
        written.map_err(|error| match error {
            LaunchError::Input { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => failed(source),
            other => other,
        })?;
        end = disk.stream_position().map_err(failed)?;
        job.input = Some(InputArchive {
            offset: INPUT_OFFSET,
            length: end - INPUT_OFFSET,
        });
    }
    let header = job.encode()?;
    disk.rewind().map_err(failed)?;
    disk.write_all(&header).map_err(failed)?;
    disk.set_len(job_disk_length(request, end)).map_err(failed)
}

/// How long the job disk is. For a warm start it depends on the inputs only roughly, so that jobs can
/// share a template.
pub(super) fn job_disk_length(request: &LaunchRequest, end: u64) -> u64 {
    if request.warm.is_none() {
        return end.next_multiple_of(MIB);
    }
    let inputs: u64 = request.inputs.iter().map(|input| inputs::most_bytes(&input.host)).sum();
    (INPUT_OFFSET + inputs).max(end).max(LEAST_JOB_DISK).next_power_of_two()
}

/// What a template of `request`'s machine is told to do, less what tells it from another user's.
pub(super) fn template_disk(request: &LaunchRequest, preparation: &Preparation) -> Result<Vec<u8>, LaunchError> {
    let libraries = request.libraries.as_ref().map(library_mount);
    Ok(template_disk::encode(&[], preparation, libraries.as_ref(), None)?)
}

/// Writes into `folder` what stands in a template's machine for the disks of jobs.
pub(super) fn make_template_disks(
    runner: &dyn Runner,
    request: &LaunchRequest,
    machine: &Machine,
    folder: &Path,
    preparation: &Preparation,
    expected: Option<Expected<'_>>,
) -> Result<(), LaunchError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LaunchError::Scratch { path, source }
    };
    let nothing = folder.join(NOTHING_SHARED);
    std::fs::create_dir(&nothing).map_err(failed(&nothing))?;
    make_clone(runner, request, machine, None)?;
    let path = folder.join(JOB_DISK);
    let libraries = request.libraries.as_ref().map(library_mount);
    let header = template_disk::encode(&random_seed(), preparation, libraries.as_ref(), expected)?;
    let mut disk = create(&path)?;
    disk.write_all(&header).map_err(failed(&path))?;
    disk.set_len(job_disk_length(request, 0)).map_err(failed(&path))?;
    if has_result_disk(request) {
        write_result_disk(request, &folder.join(RESULT_DISK))?;
    }
    if let Some(size) = request.scratch {
        make_scratch_disk(runner, &folder.join("scratch.disk"), size.0)?;
    }
    Ok(())
}

/// Whether the guest leaves anything on a disk: files, or large output.
fn has_result_disk(request: &LaunchRequest) -> bool {
    !request.outputs.is_empty() || spool::of(request).is_some()
}

fn write_result_disk(request: &LaunchRequest, path: &Path) -> Result<(), LaunchError> {
    let failed = |source| LaunchError::Scratch {
        path: path.to_owned(),
        source,
    };
    let mut disk = create(path)?;
    disk.write_all(&result_disk::blank()).map_err(failed)?;
    disk.set_len(spool::disk_length(request)).map_err(failed)
}

fn make_scratch_disk(runner: &dyn Runner, path: &Path, size: u64) -> Result<(), LaunchError> {
    let disk = create(path)?;
    disk.set_len(size).map_err(|source| LaunchError::Scratch {
        path: path.to_owned(),
        source,
    })?;
    let format =
        Invocation::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^metadata_csum"]);
    runner.run(
        &format
            .args(["-E", "lazy_itable_init=1,nodiscard", "-L", SCRATCH_LABEL])
            .arg(path),
    )?;
    Ok(())
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;

/// What would run `request`'s machine, as a shell would: QEMU's command line, or `VirtualBox`' files and programs.
pub fn dry_run(request: &LaunchRequest) -> Result<String, LaunchError> {
    let folder = request.scratch_parent.join("hpcvm-vm-XXXXXXXXXXXX");
    let machine = machine(request, &folder)?;
    if request.hypervisor == Hypervisor::VirtualBox {
        return Ok(virtualbox::dry_run(&machine, &request.image.disk, &folder));
    }
    let line = qemu::command_line(&machine)?;
    Ok(Invocation::new(line.program).args(line.arguments).to_string())
}
