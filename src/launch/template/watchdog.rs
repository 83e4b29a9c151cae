//! How long a restored machine may be silent.

use std::fs;
use std::time::{Duration, Instant};

/// A sound machine reports within this time on a free processor core.
const PATIENCE: Duration = Duration::from_millis(300);
/// No machine gets more, however busy the host is.
const LIMIT: Duration = Duration::from_secs(10);

/// Watches a restored machine until it reports.
///
/// Time in which its process or ours could have run and the host ran others does not count, and the process's
/// own counts twice, for what runs on such a host runs slower too: a cold start would take even longer.
#[derive(Debug)]
pub(in crate::launch) struct Watchdog {
    process: u32,
    began: Instant,
    /// How long we had waited before.
    before: Duration,
}

impl Watchdog {
    /// Watches `process` from now on.
    pub(in crate::launch) fn new(process: u32) -> Self {
        Self {
            process,
            began: Instant::now(),
            before: waited("self"),
        }
    }

    /// What is left of the time it may take, as far as is known now.
    pub(in crate::launch) fn left(&self) -> Duration {
        self.allowed().saturating_sub(self.began.elapsed())
    }

    fn allowed(&self) -> Duration {
        let ours = waited("self").saturating_sub(self.before);
        let theirs = waited(&self.process.to_string()).saturating_mul(2);
        PATIENCE.saturating_add(ours).saturating_add(theirs).min(LIMIT)
    }
}

/// For how long threads of `process` were ready to run and did not (the kernel's
/// `Documentation/scheduler/sched-stats`).
fn waited(process: &str) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Duration::ZERO;
    };
    let wait = |thread: fs::DirEntry| second_number(&fs::read_to_string(thread.path().join("schedstat")).ok()?);
    Duration::from_nanos(threads.flatten().filter_map(wait).sum())
}

fn second_number(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spent_waiting_for_a_processor_is_given_back() {
        assert_eq!(second_number("59187 5314900 12\n"), Some(5_314_900));
        assert_eq!(second_number(""), None);
        let watchdog = Watchdog::new(std::process::id());
        let allowed = watchdog.allowed();
        assert!((PATIENCE..=LIMIT).contains(&allowed), "{allowed:?}");
        // No such process: nothing is known, nothing is given.
        let gone = Watchdog::new(u32::MAX);
        assert_eq!(waited("none"), Duration::ZERO);
        assert!(gone.left() <= gone.allowed());
    }
}
