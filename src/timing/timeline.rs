//! The phases of one launch.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A moment of a launch, in the order they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The image was found and the request checked.
    Checked,
    /// The clone and the job disk are ready.
    Cloned,
    /// A template to restore machines from was made.
    TemplateMade,
    /// The hypervisor's process was started.
    HypervisorStarted,
    /// The machine that was to be restored from a template was given up; a cold start follows.
    RestoreFailed,
    /// The guest's initial RAM disk began (from the guest's own clock).
    InitStarted,
    /// The guest's job runner reported.
    GuestReady,
    /// The machine restored from a template reported.
    Restored,
    /// The job's program was started.
    JobStarted,
    /// The first byte of the job's output arrived.
    FirstOutput,
    /// The job ended and all its output had arrived.
    JobEnded,
    /// The hypervisor's process was gone.
    PoweredOff,
    /// Outputs were collected and the clone removed.
    Discarded,
}

impl Phase {
    /// What was done in the time that ended with this moment.
    #[must_use]
    pub const fn work(self) -> &'static str {
        match self {
            Self::Checked => "image found and checked",
            Self::Cloned => "clone and job disk made",
            Self::TemplateMade => "template made",
            Self::HypervisorStarted => "hypervisor process started",
            Self::RestoreFailed => "restore given up, cold start",
            Self::InitStarted => "firmware and kernel",
            Self::GuestReady => "drivers and root file system",
            Self::Restored => "machine restored",
            Self::JobStarted => "identity, mounts, job process",
            Self::FirstOutput => "until the job's first output",
            Self::JobEnded => "until the job's end",
            Self::PoweredOff => "power-off",
            Self::Discarded => "collect and discard",
        }
    }
}

/// One moment and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Which moment.
    pub phase: Phase,
    /// Seconds since the launch began.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub at: Duration,
}

fn seconds<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_secs_f64())
}

/// Is told of every moment as it is noted: when it was, and which.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Instant, Phase) + Send + Sync>);

impl Observer {
    /// One that calls `told`.
    pub fn new(told: impl Fn(Instant, Phase) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The moments of one launch, each at most once.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    marks: Vec<Mark>,
    observer: Option<Observer>,
    callbacks: Callbacks,
}

/// What is to be done once at a moment.
#[derive(Default)]
struct Callbacks(Vec<(Phase, Box<dyn FnOnce() + Send>)>);

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} callbacks", self.0.len())
    }
}

impl Timeline {
    /// A timeline that began at `start`.
    #[must_use]
    pub fn since(start: Instant) -> Self {
        Self {
            start,
            marks: Vec::new(),
            observer: None,
            callbacks: Callbacks::default(),
        }
    }

    /// The same, with someone who is told of every moment.
    #[must_use]
    pub fn observed(start: Instant, observer: Observer) -> Self {
        Self {
            observer: Some(observer),
            ..Self::since(start)
        }
    }

    /// Notes that `phase` is reached now; the first time counts.
    pub fn mark(&mut self, phase: Phase) {
        self.mark_at(phase, self.start.elapsed());
    }

    /// Notes that `phase` was reached `at` after the start; the first time counts.
    pub fn mark_at(&mut self, phase: Phase, at: Duration) {
        if self.at(phase).is_none() {
            self.marks.push(Mark { phase, at });
            self.marks.sort_by_key(|mark| (mark.at, mark.phase));
            if let Some(Observer(told)) = &self.observer {
                told(self.start + at, phase);
            }
            for (_, what) in self.callbacks.0.extract_if(.., |(wanted, _)| *wanted == phase) {
                what();
            }
        }
    }

    /// Does `what` once when `phase` is reached.
    pub fn when(&mut self, phase: Phase, what: impl FnOnce() + Send + 'static) {
        self.callbacks.0.push((phase, Box::new(what)));
    }

    /// Drops what was to be done at moments that did not come.
    pub fn forget_callbacks(&mut self) {
        self.callbacks.0.clear();
    }

    /// When it began.
    #[must_use]
    pub const fn start(&self) -> Instant {
        self.start
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// When `phase` was reached.
    #[must_use]
    pub fn at(&self, phase: Phase) -> Option<Duration> {
        self.marks.iter().find(|mark| mark.phase == phase).map(|mark| mark.at)
    }

    /// All moments in order of time.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// A table of what took how long, one line each, times in milliseconds.
    #[must_use]
    pub fn table(&self) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let mut previous = Duration::ZERO;
        let mut lines = vec!["      at      took".to_owned()];
        for mark in &self.marks {
            let (at, took) = (milliseconds(mark.at), milliseconds(mark.at.saturating_sub(previous)));
            lines.push(format!("{at:8.1}  {took:8.1} ms  {}", mark.phase.work()));
            previous = mark.at;
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observer_hears_of_each_moment_once() {
        let (told, heard) = std::sync::mpsc::channel();
        let start = Instant::now();
        let observer = Observer::new(move |when, phase| told.send((when - start, phase)).unwrap());
        let mut timeline = Timeline::observed(start, observer);
        let second = Duration::from_secs(1);
        timeline.mark_at(Phase::Cloned, second);
        timeline.mark_at(Phase::Cloned, second * 2);
        drop(timeline);
        assert_eq!(heard.iter().collect::<Vec<_>>(), [(second, Phase::Cloned)]);
    }

    #[test]
    fn the_first_time_counts_and_marks_are_in_order() {
        let mut timeline = Timeline::since(Instant::now());
        timeline.mark_at(Phase::GuestReady, Duration::from_millis(900));
        timeline.mark_at(Phase::InitStarted, Duration::from_millis(700));
        timeline.mark_at(Phase::GuestReady, Duration::from_millis(950));
        let phases: Vec<_> = timeline.marks().iter().map(|mark| mark.phase).collect();
        assert_eq!(phases, [Phase::InitStarted, Phase::GuestReady]);
        assert!(
            timeline
                .table()
                .contains("   900.0     200.0 ms  drivers and root file system"),
            "{}",
            timeline.table()
        );
    }
}
