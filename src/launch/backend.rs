//! What runs a launch's machine. All else of a launch is the same for each.

use std::path::Path;

use super::error::LaunchError;
use super::prepare;
use super::relay::Relay;
use super::request::LaunchRequest;
use super::restore::Restore;
use super::spawn::{Spawned, spawn};
use super::virtualbox::VirtualBox;
use crate::exec::Host;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::machine::Machine;

/// A hypervisor that is to run one machine.
#[derive(Debug)]
pub(super) enum Backend {
    /// QEMU is told everything on its command line.
    Qemu,
    /// `VirtualBox` knows the machine by its files.
    VirtualBox(Box<VirtualBox>),
}

impl Backend {
    /// Makes `machine`, whose disks but the clone are in `folder`, known to the hypervisor that `request` wants.
    pub(super) fn register(
        host: &Host,
        request: &LaunchRequest,
        machine: &Machine,
        folder: &Path,
    ) -> Result<Self, LaunchError> {
        Ok(match request.hypervisor {
            Hypervisor::Qemu => Self::Qemu,
            Hypervisor::VirtualBox => {
                // It is told the clone's identifier, which no other clone has.
                prepare::make_clone(host, request, machine, None)?;
                Self::VirtualBox(Box::new(VirtualBox::register(host, request, machine, folder)?))
            }
        })
    }

    /// Makes the clone that `machine` writes to, anew before each start: over what `template` wrote, if it is restored.
    pub(super) fn make_clone(
        &self,
        host: &Host,
        request: &LaunchRequest,
        machine: &Machine,
        template: Option<&Path>,
    ) -> Result<(), LaunchError> {
        match self {
            Self::Qemu => prepare::make_clone(host, request, machine, template),
            // Nothing wrote to the one it knows: a machine that ran is not started again.
            Self::VirtualBox(_) => Ok(()),
        }
    }

    /// Starts `machine`; see [`spawn`] for `log` and `restore`.
    pub(super) fn spawn(
        &mut self,
        host: &Host,
        machine: &Machine,
        log: &Path,
        restore: Option<&Restore>,
        relay: &Relay,
    ) -> Result<Spawned, LaunchError> {
        match self {
            Self::Qemu => spawn(host, machine, log, restore),
            Self::VirtualBox(virtualbox) => virtualbox.spawn(host, log, relay),
        }
    }

    /// Whether the hypervisor ended before the machine did anything, in a way that another try may mend.
    pub(super) fn may_try_again(&self) -> bool {
        match self {
            Self::Qemu => false,
            Self::VirtualBox(virtualbox) => virtualbox.has_never_run(),
        }
    }
}
