//! How a slot's VMs ended, and the slot with them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Problem as _;
use crate::guest::result_disk::Ending;
use crate::launch::{LaunchError, Outcome, StopReason};
use crate::timing::{Phase, Timeline};

/// How one VM ended.
#[derive(Debug)]
pub struct VmEnd {
    /// The job's ending, or why there is none.
    pub result: Result<Outcome, LaunchError>,
    /// When what happened.
    pub timeline: Timeline,
}

/// What a slot's exit status is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotStatus {
    /// That of the VM that failed first; success if none did.
    #[default]
    FirstFailure,
    /// Success if any VM succeeded; else that of the VM that failed first.
    AnySuccess,
}

impl VmEnd {
    /// Whether the job ran and ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(
            &self.result,
            Ok(Outcome {
                ending: Ending::Exited(0),
                ..
            })
        )
    }

    /// In a few words.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.result {
            Ok(outcome) => {
                let ending = match outcome.ending {
                    Ending::Exited(status) => format!("exit {status}"),
                    Ending::Killed(signal) => format!("signal {signal}"),
                    Ending::NotStarted(errno) => format!("not started, error {errno}"),
                };
                match outcome.stopped {
                    None => ending,
                    Some(StopReason::Signal(signal)) => format!("{ending} after signal {signal} came"),
                    Some(StopReason::TimeLimit) => format!("{ending} after its time limit"),
                }
            }
            Err(error) => format!("{}: {error}", error.code()).replace('\n', "; "),
        }
    }
}

impl SlotStatus {
    /// The VM whose end is the slot's, as an index into `ends`; `None` when the slot succeeded.
    #[must_use]
    pub fn decisive(self, ends: &[VmEnd]) -> Option<usize> {
        if self == Self::AnySuccess && ends.iter().any(VmEnd::is_success) {
            return None;
        }
        let failed = ends.iter().enumerate().filter(|(_, end)| !end.is_success());
        // All timelines of a slot begin with it; one without the moment ended before its job did.
        let when = |end: &VmEnd| end.timeline.start() + end.timeline.at(Phase::JobEnded).unwrap_or_default();
        failed.min_by_key(|(_, end)| when(end)).map(|(index, _)| index)
    }
}

/// One line for each VM: its number, how it ended, and in seconds when its job started and ended.
#[must_use]
pub fn table(ends: &[VmEnd]) -> String {
    let mut text = "  VM   job at    until  ended\n".to_owned();
    for (index, end) in ends.iter().enumerate() {
        let seconds = |phase| {
            let at = end.timeline.at(phase);
            at.map_or_else(|| "-".to_owned(), |at| format!("{:.3}", at.as_secs_f64()))
        };
        let (started, ended) = (seconds(Phase::JobStarted), seconds(Phase::JobEnded));
        let _ = writeln!(text, "{index:4} {started:>8} {ended:>8}  {}", end.words());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn ends(of: &[(u64, Result<u8, i32>)]) -> Vec<VmEnd> {
        let start = Instant::now();
        let end = |&(seconds, result): &(u64, Result<u8, i32>)| {
            let mut timeline = Timeline::since(start);
            timeline.mark_at(Phase::JobEnded, Duration::from_secs(seconds));
            let result = result.map_err(LaunchError::Interrupted).map(|status| Outcome {
                ending: Ending::Exited(status),
                stopped: None,
                outputs_status: 0,
                lacks: Vec::new(),
            });
            VmEnd { result, timeline }
        };
        of.iter().map(end).collect()
    }

    #[test]
    fn the_first_failure_in_time_decides() {
        use SlotStatus::{AnySuccess, FirstFailure};
        for (of, status, decisive) in [
            (&[(3, Ok(0)), (2, Ok(0))][..], FirstFailure, None),
            (&[(3, Ok(7)), (2, Ok(5)), (1, Ok(0))], FirstFailure, Some(1)),
            (&[(3, Ok(7)), (2, Ok(0))], AnySuccess, None),
            (&[(3, Ok(7)), (2, Err(15))], AnySuccess, Some(1)),
        ] {
            assert_eq!(status.decisive(&ends(of)), decisive, "{of:?}");
        }
    }

    #[test]
    fn each_vm_has_its_line() {
        insta::assert_snapshot!(table(&ends(&[(3, Ok(0)), (2, Err(15))])), @"
        VM   job at    until  ended
         0        -    3.000  exit 0
         1        -    2.000  HV4201: stopped by signal 15 before the job had started
        ");
    }
}
