//! Which hypervisor a launch uses: what was asked for, or the quicker of those that work here.

use super::{CliError, Context, accelerator};
use crate::architecture::Architecture;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::Chipset;
use crate::hypervisor::virtualbox::{Driver, Installation, driver};
use crate::launch::{LaunchRequest, Start};
use crate::scheduler::{HypervisorKind, Warmth};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Wanted {
    /// QEMU with KVM, else `VirtualBox` with its driver, else QEMU
    Auto,
    /// QEMU
    Qemu,
    /// `VirtualBox`
    Virtualbox,
}

impl Wanted {
    /// As a job file says it; `None` leaves it to the node.
    pub(super) const fn kind(self) -> Option<HypervisorKind> {
        match self {
            Self::Auto => None,
            Self::Qemu => Some(HypervisorKind::Qemu),
            Self::Virtualbox => Some(HypervisorKind::VirtualBox),
        }
    }

    /// What a slot must have memory for; where the node decides, it is mostly QEMU.
    pub(super) const fn expected(kind: Option<HypervisorKind>) -> Hypervisor {
        match kind {
            Some(HypervisorKind::VirtualBox) => Hypervisor::VirtualBox,
            Some(HypervisorKind::Qemu) | None => Hypervisor::Qemu,
        }
    }

    /// What a job file says.
    pub(super) const fn of(kind: Option<HypervisorKind>) -> Self {
        match kind {
            None => Self::Auto,
            Some(HypervisorKind::Qemu) => Self::Qemu,
            Some(HypervisorKind::VirtualBox) => Self::Virtualbox,
        }
    }
}

/// The hypervisor for guests of `architecture`, and what executes their instructions under it.
pub(super) fn choose(
    context: &Context,
    wanted: Wanted,
    accelerator: accelerator::Wanted,
    architecture: Architecture,
) -> Result<(Hypervisor, Accelerator), CliError> {
    let qemu = || accelerator::choose(context, accelerator, architecture);
    match wanted {
        Wanted::Qemu => Ok((Hypervisor::Qemu, qemu()?)),
        Wanted::Virtualbox => Ok((Hypervisor::VirtualBox, under_virtualbox(accelerator))),
        Wanted::Auto => match qemu() {
            // Emulation that nobody asked for is several times slower than VirtualBox on the processor itself.
            Ok(Accelerator::Tcg) | Err(_) if accelerator == accelerator::Wanted::Auto && virtualbox_works(context) => {
                Ok((Hypervisor::VirtualBox, Accelerator::Kvm))
            }
            answer => Ok((Hypervisor::Qemu, answer?)),
        },
    }
}

/// `VirtualBox` uses the processor itself unless it is told to interpret.
const fn under_virtualbox(accelerator: accelerator::Wanted) -> Accelerator {
    match accelerator {
        accelerator::Wanted::Tcg => Accelerator::Tcg,
        accelerator::Wanted::Auto | accelerator::Wanted::Kvm => Accelerator::Kvm,
    }
}

fn virtualbox_works(context: &Context) -> bool {
    Installation::find(&context.host).is_ok_and(|installation| driver(&installation) == Driver::Usable)
}

/// What a machine under `hypervisor` starts from: `VirtualBox`'s have no templates, and need none where they may do without.
pub(super) fn warmth(hypervisor: Hypervisor, wanted: Warmth) -> Warmth {
    match (hypervisor, wanted) {
        (Hypervisor::VirtualBox, Warmth::Auto) => Warmth::Cold,
        (_, wanted) => wanted,
    }
}

/// Has `hypervisor` run `request`'s machine.
pub(super) fn apply(hypervisor: Hypervisor, request: &mut LaunchRequest) {
    request.hypervisor = hypervisor;
    if hypervisor == Hypervisor::VirtualBox {
        // It loads no kernels, and shares folders but not disks.
        request.start = Start::Bios(Chipset::Q35);
        if let Some(libraries) = &mut request.libraries {
            libraries.export = None;
        }
    }
}
