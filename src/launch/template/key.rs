//! Which template a launch can use: the one of an equal machine.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::error::TemplateError;
use super::store::Scope;
use crate::digest::{Digest, Hasher};
use crate::exec::Host;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Machine, TemplateRole, TemplateUse};
use crate::hypervisor::qemu;
use crate::launch::prepare;
use crate::launch::request::{LaunchRequest, Start, WarmStart};
use crate::recipe::RootKind;

/// Counts changes of what a template is.
const FORMAT: u32 = 2;
/// How much of a file tells it from others of the same length.
const HEAD: u64 = 64 << 10;
/// Stands for every folder and file that may be another in each launch.
const ANYWHERE: &str = "/anywhere";

/// Why `request`'s machine cannot be one that was saved; `None` when it can.
pub(super) fn obstacle(request: &LaunchRequest) -> Option<&'static str> {
    match request.start {
        // QEMU cannot save a machine that has a VDI file, and its firmware starts from one.
        Start::Bios(_) => Some("its firmware is to start it"),
        Start::Direct => None,
    }
}

/// The digest of all that a saved machine and its copies must have in common.
pub(super) fn key(
    host: &Host,
    request: &LaunchRequest,
    warm: &WarmStart,
    scope: Scope,
) -> Result<Digest, TemplateError> {
    let identify = match scope {
        Scope::Own => identify,
        Scope::Site => identify_anywhere,
    };
    let mut hasher = Hasher::default();
    if scope == Scope::Site && request.image.root == RootKind::Writable {
        // What the template wrote names the disk that it wrote over.
        hasher.field(request.image.disk.as_os_str().as_encoded_bytes());
    }
    hasher
        .field(&FORMAT.to_le_bytes())
        .field(env!("CARGO_PKG_VERSION").as_bytes())
        .field(warm.image.as_bytes());
    for word in shape(request)? {
        hasher.field(word.as_encoded_bytes());
    }
    hasher.field(&prepare::job_disk_length(request, 0).to_le_bytes());
    hasher.field(&request.scratch.map_or(0, |size| size.0).to_le_bytes());
    if let Some(libraries) = &request.libraries {
        hasher.field(libraries.digest.as_bytes());
        // Exported anew, a generation is another file system.
        if let Some(export) = &libraries.export {
            identify(export, &mut hasher);
        }
    }
    hasher.field(&prepare::template_disk(request, &warm.preparation)?);
    // The program file as it is now: a state is only good for the very build that saved it, which also gives the
    // unversioned machine type its meaning.
    let program = host.find(request.image.architecture.qemu_system());
    let program = program.and_then(|path| fs::canonicalize(path).ok()).unwrap_or_default();
    identify(&program, &mut hasher);
    if request.accelerator == Accelerator::Kvm {
        hasher.field(&processor());
    }
    Ok(hasher.finish())
}

/// The command line of the saved machine, less the names of files that differ from launch to launch.
fn shape(request: &LaunchRequest) -> Result<Vec<std::ffi::OsString>, TemplateError> {
    let anywhere = Path::new(ANYWHERE);
    let mut machine = prepare::machine(request, anywhere)?;
    for share in &mut machine.shares {
        anywhere.clone_into(&mut share.folder);
        share.read_only = false;
    }
    for disk in &mut machine.disks {
        anywhere.clone_into(&mut disk.file);
    }
    anywhere.clone_into(&mut machine.console);
    machine.template = Some(template_use(&machine, anywhere, TemplateRole::Restored));
    let line = qemu::command_line(&machine).map_err(crate::launch::LaunchError::from)?;
    Ok(line.arguments)
}

/// What `machine` has to do with the template in `folder`.
pub(super) fn template_use(machine: &Machine, folder: &Path, role: TemplateRole) -> TemplateUse {
    let after_ports = machine.ports.iter().map(|port| port.descriptor + 1).max();
    TemplateUse {
        memory: folder.join(super::store::MEMORY),
        role,
        monitor: after_ports.unwrap_or(crate::exec::FIRST_DESCRIPTOR),
    }
}

/// How `machine` is restored from the template in `folder`.
pub(in crate::launch) fn restored(machine: &Machine, folder: &Path) -> TemplateUse {
    template_use(machine, folder, TemplateRole::Restored)
}

/// A file that has not changed, on this machine.
fn identify(file: &Path, hasher: &mut Hasher) {
    hasher.field(file.as_os_str().as_encoded_bytes());
    if let Ok(found) = fs::metadata(file) {
        for number in [found.dev(), found.ino(), found.len()] {
            hasher.field(&number.to_le_bytes());
        }
        for time in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
            hasher.field(&time.to_le_bytes());
        }
    }
}

/// A file that has the same content, on any machine of a site. Programs have their build's identifier and tables in their
/// first pages, file systems their super block: they are not read whole for every launch.
fn identify_anywhere(file: &Path, hasher: &mut Hasher) {
    let mut begin = Vec::new();
    let length = fs::metadata(file).map_or(0, |found| found.len());
    let _ = fs::File::open(file).and_then(|file| file.take(HEAD).read_to_end(&mut begin));
    hasher
        .field(file.as_os_str().as_encoded_bytes())
        .field(&length.to_le_bytes())
        .field(&begin);
}

/// What the processor is and can do, for guests that see it as it is.
fn processor() -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open("/proc/cpuinfo");
    // The first processor's part; one with hundreds of processors is long.
    let _ = file.and_then(|file| file.take(8192).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let first = text.split("\n\n").next().unwrap_or_default();
    let fixed = |line: &&str| !line.starts_with("cpu MHz") && !line.starts_with("bogomips");
    first.lines().filter(fixed).collect::<Vec<_>>().join("\n").into_bytes()
}
