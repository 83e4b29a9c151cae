//! The files of one machine: its clone, descriptors of its raw disks, its settings, its registry.
//!
//! All of them together take a millisecond; `VBoxManage clonevm` and `registervm` would take forty.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::{Base, FlatDisk, Folders, Port, Settings, VirtualBoxError};
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Disk, DiskFormat, Machine};
use crate::image::uuid::Uuid;
use crate::image::vdi::{Header, write_differencing};

/// The sockets behind COM2 to COM4, in the folder of sockets. COM1 is the console.
pub const SOCKETS: [&str; 3] = ["control", "streams", "stderr"];
/// The settings file's name, in the launch's folder.
const SETTINGS: &str = "hpcvm.vbox";
/// `VirtualBox`'s name for a home's registry.
const REGISTRY: &str = "VirtualBox.xml";

fn failed(path: &Path) -> impl Fn(io::Error) -> VirtualBoxError {
    let path = path.to_owned();
    move |source| VirtualBoxError::Write {
        path: path.clone(),
        source,
    }
}

/// The header of the image's disk.
fn header(base: &Path) -> Result<Header, VirtualBoxError> {
    let unfit = |source| VirtualBoxError::Base {
        path: base.to_owned(),
        source,
    };
    let file = File::open(base).map_err(|error| unfit(error.into()))?;
    Header::read(&mut BufReader::new(file)).map_err(unfit)
}

/// Makes the empty differencing image `clone` of the image's disk `base`.
pub fn make_clone(base: &Path, clone: &Path) -> Result<(), VirtualBoxError> {
    let parent = header(base)?;
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create_new(clone)?);
        write_differencing(&parent, Uuid::random()?, &mut out)?;
        out.flush()
    };
    write().map_err(failed(clone))
}

/// Writes what `VirtualBox` must find of `machine`, whose root disk is a clone of `base`, into `folder` and the home
/// of `folders`; returns what the machine is known as.
pub fn register(machine: &Machine, base: &Path, folder: &Path, folders: &Folders) -> Result<Uuid, VirtualBoxError> {
    let uuid = || Uuid::random().map_err(failed(Path::new("/dev/urandom")));
    let (root, rest) = machine
        .disks
        .split_first()
        .expect("a machine has the disk it boots from");
    let mut disks = Vec::new();
    for disk in rest {
        disks.push(describe(disk, folder, uuid()?)?);
    }
    let mut ports = vec![Port::File(machine.console.clone())];
    ports.extend(SOCKETS.iter().map(|name| Port::Socket(folders.sockets().join(name))));
    let settings = Settings {
        uuid: uuid()?,
        architecture: machine.architecture,
        is_interpreted: machine.accelerator == Accelerator::Tcg,
        memory: machine.memory,
        cpus: machine.cpus,
        base: Base {
            file: base.to_owned(),
            uuid: header(base)?.created,
            clone: root.file.clone(),
            clone_uuid: clone_uuid(&root.file)?,
        },
        disks,
        ports,
        shares: machine.shares.clone(),
        network: machine.network,
    };
    let file = folder.join(SETTINGS);
    fs::write(&file, settings.machine()?).map_err(failed(&file))?;
    let registry = folders.home().join(REGISTRY);
    fs::write(&registry, settings.registry(&file)?).map_err(failed(&registry))?;
    Ok(settings.uuid)
}

/// What the differencing image `clone` is known as.
fn clone_uuid(clone: &Path) -> Result<Uuid, VirtualBoxError> {
    use std::os::unix::fs::FileExt as _;
    /// Where a VDI's header has its own UUID (`docs/vdi.md`).
    const CREATED: u64 = 0x188;
    let mut bytes = [0; 16];
    let read = File::open(clone).and_then(|file| file.read_exact_at(&mut bytes, CREATED));
    read.map_err(failed(clone))?;
    Ok(Uuid::from_mixed_endian(bytes))
}

/// Writes the descriptor of the raw disk `disk`, which is in `folder`.
fn describe(disk: &Disk, folder: &Path, uuid: Uuid) -> Result<(PathBuf, Uuid), VirtualBoxError> {
    let name = disk.file.strip_prefix(folder).ok().and_then(Path::to_str);
    let Some(name) = name.filter(|_| disk.format == DiskFormat::Raw) else {
        return Err(VirtualBoxError::Unsupported(
            "it has a disk that other machines have too; give it the libraries as a folder (--libs-as folder)",
        ));
    };
    let length = fs::metadata(&disk.file).map_err(failed(&disk.file))?.len();
    let path = disk.file.with_extension("vmdk");
    let descriptor = FlatDisk {
        file: name,
        length,
        uuid,
    }
    .descriptor();
    fs::write(&path, descriptor).map_err(failed(&path))?;
    Ok((path, uuid))
}
