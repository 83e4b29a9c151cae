//! Signals in a job slot, as its scheduler means them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook::iterator::Signals;

use super::slot_log::SlotLog;
use crate::launch::Interrupt;
use crate::scheduler::{Kind, Meaning};
use crate::timing::event::EventKind;

/// What a scheduler may announce. SIGSTOP, which follows a pause, cannot be caught and need not be.
const SIGNALS: [i32; 8] = [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGTSTP, SIGCONT];

/// The first signal that means an end asks the job to stop. More of them change nothing: Grid
/// Engine sends them twice or every few seconds, and Slurm a warning and later the kill. Pauses and
/// their ends are passed on as they come.
///
/// `stopped` becomes true before the end is passed on.
pub(super) fn catch(kind: Kind, log: SlotLog, stopped: &Arc<AtomicBool>) -> Receiver<Interrupt> {
    let (tell, interrupts) = channel();
    let stopped = stopped.clone();
    // Refused only for signals that cannot be caught, which these can.
    if let Ok(mut signals) = Signals::new(SIGNALS) {
        thread::spawn(move || {
            let mut slot = Heard::default();
            for signal in signals.forever() {
                let meaning = kind.scheduler().meaning(signal);
                tracing::info!(signal, ?meaning, "a signal came");
                let Some((interrupt, event)) = slot.hear(signal, meaning) else {
                    continue;
                };
                if slot.is_stopped {
                    stopped.store(true, Ordering::Relaxed);
                }
                log.tell(event, json!({"signal": signal}));
                if tell.send(interrupt).is_err() {
                    return;
                }
            }
        });
    }
    interrupts
}

/// What was asked of the slot so far.
#[derive(Debug, Default)]
struct Heard {
    is_stopped: bool,
    is_paused: bool,
}

impl Heard {
    /// What a signal changes, if anything.
    fn hear(&mut self, signal: i32, meaning: Meaning) -> Option<(Interrupt, EventKind)> {
        match meaning {
            Meaning::Stop if !self.is_stopped => {
                self.is_stopped = true;
                Some((Interrupt::Stop(signal), EventKind::StopRequested))
            }
            Meaning::Pause if !self.is_paused && !self.is_stopped => {
                self.is_paused = true;
                Some((Interrupt::Pause, EventKind::Paused))
            }
            // Slurm sends SIGCONT before every SIGTERM, too.
            Meaning::Resume if self.is_paused => {
                self.is_paused = false;
                Some((Interrupt::Continue, EventKind::Continued))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_changes_nothing_and_an_end_is_final() {
        let mut slot = Heard::default();
        let mut hear = |meaning| slot.hear(SIGTERM, meaning).map(|(interrupt, _)| interrupt);
        for (meaning, expected) in [
            (Meaning::Resume, None),
            (Meaning::Pause, Some(Interrupt::Pause)),
            (Meaning::Pause, None),
            (Meaning::Resume, Some(Interrupt::Continue)),
            (Meaning::Nothing, None),
            (Meaning::Pause, Some(Interrupt::Pause)),
            (Meaning::Stop, Some(Interrupt::Stop(SIGTERM))),
            (Meaning::Stop, None),
            (Meaning::Resume, Some(Interrupt::Continue)),
            (Meaning::Pause, None),
        ] {
            assert_eq!(hear(meaning), expected, "{meaning:?}");
        }
    }
}
