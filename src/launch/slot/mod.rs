//! Several VMs in one job slot (paper section [P8]).
//!
//! Each VM is a launch of its own on a thread of its own. What reaches the slot reaches all of
//! them; boots are admitted in turn, since more at once than there are cores are all slower.

mod admission;
mod status;

pub use admission::{Admission, Token};
pub use status::{SlotStatus, VmEnd, table};

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::error::LaunchError;
use super::launcher::launch;
use super::memory;
use super::request::{Interrupt, LaunchRequest, Streams};
use crate::exec::Host;
use crate::timing::{Phase, Timeline};
use crate::units::Bytes;

/// One VM of a slot.
#[derive(Debug)]
pub struct SlotVm {
    /// What to launch.
    pub request: LaunchRequest,
    /// Its job's standard streams.
    pub streams: Streams,
    /// Where its moments are noted.
    pub timeline: Timeline,
}

/// Launches all `vms` and waits for all of them; their ends come in their order. Nothing is started
/// when their memory together does not fit.
///
/// `interrupts` is asked for signals until the end; every one goes to every VM. `ended` is told of each
/// VM's end when it comes, by its number.
pub fn run(
    host: &Host,
    vms: Vec<SlotVm>,
    admission: Option<&Admission>,
    interrupts: Receiver<Interrupt>,
    ended: &(dyn Fn(usize, &VmEnd) + Sync),
) -> Result<Vec<VmEnd>, LaunchError> {
    let needed: Vec<Bytes> = vms.iter().map(|vm| vm.request.memory).collect();
    // They all have the hypervisor that their job file names.
    let hypervisor = vms.first().map(|vm| vm.request.hypervisor).unwrap_or_default();
    memory::check_all(hypervisor, &needed)?;
    let (senders, receivers): (Vec<_>, Vec<_>) = vms.iter().map(|_| channel()).unzip();
    // Ends when the process does, or with the last VM.
    thread::spawn(move || fan_out(&interrupts, &senders));
    Ok(thread::scope(|scope| {
        let running: Vec<_> = vms
            .into_iter()
            .zip(receivers)
            .enumerate()
            .map(|(number, (vm, interrupts))| {
                scope.spawn(move || {
                    let end = one(host, vm, admission, interrupts);
                    ended(number, &end);
                    end
                })
            })
            .collect();
        let joined = running
            .into_iter()
            .map(|vm| vm.join().expect("a launch does not panic"));
        joined.collect()
    }))
}

fn fan_out(interrupts: &Receiver<Interrupt>, vms: &[Sender<Interrupt>]) {
    for interrupt in interrupts {
        let heard = vms.iter().filter(|vm| vm.send(interrupt).is_ok()).count();
        if heard == 0 {
            return;
        }
    }
}

fn one(host: &Host, vm: SlotVm, admission: Option<&Admission>, interrupts: Receiver<Interrupt>) -> VmEnd {
    let SlotVm {
        request,
        streams,
        mut timeline,
    } = vm;
    // What comes while waiting must not be lost for the launch.
    let (forward, for_launch) = channel();
    let mut early = Vec::new();
    let stop = |early: &[Interrupt]| early.iter().find_map(Interrupt::stop_signal);
    let token = admission.and_then(|admission| {
        admission.admit(&mut || {
            early.extend(interrupts.try_iter());
            stop(&early).is_some()
        })
    });
    if let Some(signal) = stop(&early) {
        return VmEnd {
            result: Err(LaunchError::Interrupted(signal)),
            timeline,
        };
    }
    thread::spawn(move || {
        for interrupt in early.into_iter().chain(interrupts) {
            if forward.send(interrupt).is_err() {
                return;
            }
        }
    });
    // The core is free for the next boot as soon as this one's job runs.
    timeline.when(Phase::JobStarted, move || drop(token));
    let result = launch(host, &request, streams, for_launch, &mut timeline);
    timeline.forget_callbacks();
    VmEnd { result, timeline }
}
