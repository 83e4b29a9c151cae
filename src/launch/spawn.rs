//! A hypervisor's process and the sockets that lead to it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;

use super::error::LaunchError;
use super::restore::Restore;
use super::spool::Spooling;
use crate::exec::{Host, Invocation};
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Machine, TemplateRole, TemplateUse};
use crate::hypervisor::qemu;

/// A hypervisor that was started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) child: Child,
    /// The other ends of the machine's ports, in their order.
    pub(super) ports: Vec<UnixStream>,
    /// Where it takes orders, if the machine has to do with a template.
    pub(super) monitor: Option<UnixStream>,
    /// Whether nothing is lost or left if it is killed once its guest has written all it wants to keep.
    pub(super) may_be_killed: bool,
    /// Where large output goes, if the ports are slow.
    pub(super) spooling: Option<Spooling>,
}

/// Starts the hypervisor of `machine`; its own words go to the file `log`. A machine that is restored finds `restore`
/// in its sockets.
///
/// Must be called from a thread that outlives the process, which is tied to it.
pub(super) fn spawn(
    host: &Host,
    machine: &Machine,
    log: &Path,
    restore: Option<&Restore>,
) -> Result<Spawned, LaunchError> {
    let failed = |source| LaunchError::Scratch {
        path: log.to_owned(),
        source,
    };
    let line = qemu::command_line(machine)?;
    let log_file = File::create(log).map_err(failed)?;
    let sockets = machine.ports.len() + usize::from(machine.template.is_some());
    let (mut ports, theirs) = socket_pairs(sockets).map_err(failed)?;
    let monitor = machine.template.as_ref().and_then(|_| ports.pop());
    if let (Some(mut monitor), Some(restore)) = (monitor.as_ref(), restore) {
        // Short enough to wait in the sockets.
        monitor.write_all(restore.monitor.as_bytes()).map_err(failed)?;
        let mut control = ports.first().expect("the control port comes first");
        control.write_all(&restore.control).map_err(failed)?;
    }
    let invocation = Invocation::new(line.program)
        .args(line.arguments)
        .small_pages(is_one_of_many(machine));
    let child = host.spawn_tethered(&invocation, &log_file, &theirs)?;
    Ok(Spawned {
        child,
        ports,
        monitor,
        may_be_killed: true,
        spooling: None,
    })
}

/// Whether huge pages would only cost memory: those of an emulator's translated code are half empty where many
/// machines do little (3.4 MiB of 37), and a restored machine's memory is a file's, which has none.
fn is_one_of_many(machine: &Machine) -> bool {
    let restored = |template: &TemplateUse| template.role == TemplateRole::Restored;
    machine.accelerator == Accelerator::Tcg && machine.template.as_ref().is_some_and(restored)
}

fn socket_pairs(count: usize) -> io::Result<(Vec<UnixStream>, Vec<OwnedFd>)> {
    let pairs = (0..count).map(|_| UnixStream::pair()).collect::<Result<Vec<_>, _>>()?;
    let ends = pairs.into_iter().map(|(ours, theirs)| (ours, OwnedFd::from(theirs)));
    Ok(ends.unzip())
}
