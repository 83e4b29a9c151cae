//! Launches the VMs of a slot side by side.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::exec::Host;
use crate::launch::request::{Interrupt, LaunchRequest, Streams};
use crate::launch::session::{Outcome, launch};
use crate::launch::{LaunchError, memory};
use crate::timing::Timeline;
use crate::units::Bytes;

/// What a hypervisor needs besides its guest, counted for each VM but one, whose own check
/// counts it.
const EACH: Bytes = Bytes::mebibytes(48);

/// One VM of a slot.
#[derive(Debug)]
pub struct SlotVm {
    /// What to launch.
    pub request: LaunchRequest,
    /// Its job's streams.
    pub streams: Streams,
}

/// How one VM of a slot ended.
#[derive(Debug)]
pub struct VmEnd {
    /// Its job's end, or why it has none.
    pub result: Result<Outcome, LaunchError>,
    /// From the slot's start to its own end.
    pub took: Duration,
}

/// Launches all of `vms` at once and waits for them; the ends are in the order of the VMs.
/// What comes from `interrupts` reaches each of them.
///
/// When they do not fit into the host's memory together, none is started.
pub fn launch_together(
    host: &Host,
    vms: Vec<SlotVm>,
    interrupts: Receiver<Interrupt>,
) -> Result<Vec<VmEnd>, LaunchError> {
    let begun = Instant::now();
    let sum = vms
        .iter()
        .fold(0_u64, |sum, vm| sum.saturating_add(vm.request.memory.0));
    let others = EACH.0.saturating_mul(vms.len().saturating_sub(1) as u64);
    memory::check(Bytes(sum.saturating_add(others)))?;
    let (senders, receivers): (Vec<_>, Vec<_>) = vms.iter().map(|_| channel()).unzip();
    // Lives until the sender of `interrupts` is gone: with the process.
    thread::spawn(move || pass_on(&interrupts, &senders));
    let ends = thread::scope(|scope| {
        let threads: Vec<_> = vms
            .into_iter()
            .zip(receivers)
            .map(|(vm, interrupts)| {
                // The thread outlives the VM, whose process is tied to it.
                scope.spawn(move || {
                    let mut timeline = Timeline::since(begun);
                    let result = launch(host, &vm.request, vm.streams, interrupts, &mut timeline);
                    VmEnd {
                        result,
                        took: begun.elapsed(),
                    }
                })
            })
            .collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|end| end.expect("a launch does not panic")).collect()
    });
    Ok(ends)
}

fn pass_on(interrupts: &Receiver<Interrupt>, vms: &[Sender<Interrupt>]) {
    for interrupt in interrupts {
        for vm in vms {
            // The only failure is a VM that has ended.
            vm.send(interrupt).ok();
        }
    }
}
