//! Signals in a job slot, as its scheduler means them.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook::iterator::Signals;

use crate::launch::Interrupt;
use crate::scheduler::{Kind, Meaning};

/// The first signal that means an end asks the job to stop. More of them change nothing: Grid
/// Engine sends them twice or every few seconds, and Slurm a warning and later the kill.
///
/// SIGTSTP and SIGCONT are left alone: they stop and continue the launcher and, sent to all of
/// the job's processes, its VMs.
pub(super) fn catch(kind: Kind) -> Receiver<Interrupt> {
    let (tell, interrupts) = channel();
    // Refused only for signals that cannot be caught, which these can.
    if let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU]) {
        thread::spawn(move || {
            let mut told = false;
            for signal in signals.forever() {
                let stops = kind.scheduler().meaning(signal) == Meaning::Stop;
                tracing::info!(signal, stops, "a signal came");
                if stops && !told {
                    told = true;
                    if tell.send(Interrupt::Stop(signal)).is_err() {
                        return;
                    }
                }
            }
        });
    }
    interrupts
}
