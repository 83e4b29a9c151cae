//! What a virtual machine is made of, whatever hypervisor runs it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::accelerator::Accelerator;
use crate::architecture::Architecture;
use crate::units::Bytes;

/// One virtual machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's architecture.
    pub architecture: Architecture,
    /// What executes the guest's instructions.
    pub accelerator: Accelerator,
    /// Guest memory.
    pub memory: Bytes,
    /// Virtual processors.
    pub cpus: u32,
    /// How it starts.
    pub boot: Boot,
    /// Its disks, in the order the guest finds them.
    pub disks: Vec<Disk>,
    /// Host folders it can mount over 9p.
    pub shares: Vec<HostShare>,
    /// Its network.
    pub network: Network,
    /// The host file that gets what the guest's console (first serial port) shows.
    pub console: PathBuf,
    /// The ports to the job runner, in order; each is joined to a socket.
    pub ports: Vec<Port>,
    /// What it has to do with a template: saved as one, or restored from one.
    pub template: Option<TemplateUse>,
}

/// How a machine is saved as a template or restored from one. Both have a generation identifier,
/// which differs from machine to machine and by which the guest's kernel knows that it is a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateUse {
    /// The file that is the guest's memory.
    pub memory: PathBuf,
    /// Which of the two.
    pub role: TemplateRole,
    /// The number of the inherited socket, in the hypervisor's process, over which it takes orders.
    pub monitor: i32,
}

/// Saved as a template, or restored from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateRole {
    /// The guest writes to the memory file.
    Saved,
    /// The memory file is only read: what the guest writes is its own. The machine waits for an
    /// order that names the rest of its state.
    Restored,
}

/// How a machine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The hypervisor loads the kernel itself.
    Direct {
        /// The kernel (bzImage).
        kernel: PathBuf,
        /// The initial RAM disk.
        initrd: PathBuf,
        /// The kernel's command line.
        command_line: String,
    },
    /// The firmware reads the boot loader from the first disk.
    Bios(Chipset),
}

/// The board, which decides the disk controller the firmware boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chipset {
    /// Intel Q35 with AHCI.
    Q35,
    /// Intel 440FX with IDE.
    Pc,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Identifier, unique in the machine: letters and digits.
    pub id: String,
    /// The file behind it.
    pub file: PathBuf,
    /// How the file is read.
    pub format: DiskFormat,
    /// Whether the guest may not write to it.
    pub read_only: bool,
    /// The controller it hangs on.
    pub bus: Bus,
}

/// How the file behind a disk is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    /// Sector by sector.
    Raw,
    /// A part of it, sector by sector: offset and length in bytes.
    RawPart(u64, u64),
    /// A qcow2 image, with its backing file.
    Qcow2,
    /// A differencing VDI, whose parent `VirtualBox`'s registry names.
    DifferencingVdi,
}

/// The controller a disk hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// The board's own: AHCI on Q35, IDE on 440FX.
    Board,
}

/// A host folder offered over 9p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostShare {
    /// The folder.
    pub folder: PathBuf,
    /// The mount tag: letters and digits.
    pub tag: String,
    /// Whether the guest may not write to it.
    pub read_only: bool,
}

/// A machine's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// No interface at all.
    #[default]
    None,
    /// Outgoing connections through the launching user's own, without privileges.
    User,
}

/// A virtio-serial port joined to a socket that the hypervisor inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port's name in the guest.
    pub name: String,
    /// The socket's number in the hypervisor's process.
    pub descriptor: i32,
}

/// A hypervisor's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}
