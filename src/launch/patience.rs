//! How long a launch waits for the next thing to happen, with pauses that do not count.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest wait at once.
const SLICE: Duration = Duration::from_secs(1);
/// A wait this much longer than it should be means that this process was stopped: schedulers that
/// announce no suspension simply send SIGSTOP to all of a job, and SIGCONT later.
const STOPPED: Duration = Duration::from_secs(1);

/// What is left of a time limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// `None`: without end.
    left: Option<Duration>,
    /// Until when time was taken off it.
    counted: Instant,
    is_paused: bool,
}

impl Patience {
    /// Patience for `limit` from now on.
    pub(super) fn of(limit: Duration) -> Self {
        Self {
            left: Some(limit),
            counted: Instant::now(),
            is_paused: false,
        }
    }

    pub(super) fn endless() -> Self {
        Self {
            left: None,
            counted: Instant::now(),
            is_paused: false,
        }
    }

    /// Time that is waited from now on does not count.
    pub(super) const fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Time counts again.
    pub(super) fn go_on(&mut self) {
        if self.is_paused {
            self.is_paused = false;
            self.counted = Instant::now();
        }
    }

    /// The next message; a timeout when patience is at its end.
    pub(super) fn wait<T>(&mut self, messages: &Receiver<T>) -> Result<T, RecvTimeoutError> {
        loop {
            let (false, Some(left)) = (self.is_paused, self.left) else {
                return messages.recv().map_err(|_| RecvTimeoutError::Disconnected);
            };
            let slice = left.min(SLICE);
            let received = messages.recv_timeout(slice);
            let now = Instant::now();
            self.count(slice, now - self.counted);
            self.counted = now;
            match received {
                Err(RecvTimeoutError::Timeout) if self.left.is_some_and(|left| !left.is_zero()) => {}
                received => return received,
            }
        }
    }

    /// Takes what a wait of at most `slice` took off what is left.
    fn count(&mut self, slice: Duration, took: Duration) {
        let counts = if took > slice + STOPPED { slice } else { took };
        self.left = self.left.map(|left| left.saturating_sub(counts));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn patience_ends_when_nothing_comes_and_not_before() {
        let (tell, messages) = channel();
        let limit = Duration::from_millis(60);
        let began = Instant::now();
        let mut patience = Patience::of(limit);
        tell.send(1).unwrap();
        assert_eq!(patience.wait(&messages), Ok(1));
        assert_eq!(patience.wait(&messages), Err(RecvTimeoutError::Timeout));
        assert!(began.elapsed() >= limit);
        drop(tell);
        assert_eq!(Patience::endless().wait(&messages), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn neither_pauses_nor_the_time_this_process_was_stopped_count() {
        let (tell, messages) = channel();
        let mut patience = Patience::of(Duration::from_millis(20));
        patience.pause();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(80));
            tell.send(1).unwrap();
            std::thread::sleep(Duration::from_millis(80));
        });
        assert_eq!(patience.wait(&messages), Ok(1));
        patience.go_on();
        assert_eq!(patience.wait(&messages), Err(RecvTimeoutError::Timeout));

        let mut patience = Patience::of(Duration::from_secs(10));
        patience.count(SLICE, Duration::from_hours(1));
        assert_eq!(patience.left, Some(Duration::from_secs(9)));
        patience.count(SLICE, Duration::from_millis(1500));
        assert_eq!(patience.left, Some(Duration::from_millis(7500)));
    }
}
