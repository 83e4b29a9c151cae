//! One event of a job: what launcher and wrapper tell the timing logger.
//!
//! On the wire and in the journal an event is one line of JSON. Its format carries a version;
//! fields that a reader does not know are passed over, so that an older logger takes what a newer
//! launcher sends.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Phase;
use crate::digest::hexadecimal;

/// The version of the format that this hpcvm writes.
pub const EVENT_VERSION: u32 = 1;

/// The longest line either side reads, in bytes.
pub const MAX_LINE: usize = 8192;

/// Names one submission: 32 hexadecimal digits chosen at random by `submit`, so that jobs of
/// several clusters, or of one whose numbers begin anew, are never mixed up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(String);

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a job key of 32 hexadecimal digits")]
pub struct InvalidKey(String);

impl JobKey {
    /// The key of 16 random bytes.
    #[must_use]
    pub fn of(bytes: [u8; 16]) -> Self {
        Self(hexadecimal(&bytes))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey(text.chars().take(64).collect()))
        }
    }
}

impl Serialize for JobKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What happened. The order is that of a VM's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The scheduler took the job. Detail: `id` (the scheduler's), `scheduler`, `name`, `tasks`, `vms`.
    Submitted,
    /// The wrapper runs in its slot. Detail: `host`, `restart` (how often it was tried before).
    SlotStarted,
    /// The image is on the node. Detail: `bytes` copied, `cached`.
    Staged,
    /// The clone and the job disk are ready.
    Cloned,
    /// A template to restore machines from was made.
    TemplateMade,
    /// The hypervisor's process was started.
    HypervisorStarted,
    /// The machine that was to be restored was given up; a cold start follows.
    RestoreFailed,
    /// The guest's initial RAM disk began, so the kernel was up.
    InitStarted,
    /// The guest's job runner reported.
    GuestReady,
    /// The machine restored from a template reported.
    Restored,
    /// The job's program was started.
    JobStarted,
    /// The first byte of the job's output arrived.
    FirstOutput,
    /// The scheduler or the user asked for an end. Detail: `signal`, or `limit`.
    StopRequested,
    /// The VM was paused because the scheduler suspended the job.
    Paused,
    /// The VM goes on.
    Continued,
    /// The job ended. Detail: `status` or `signal`.
    JobEnded,
    /// The hypervisor's process was gone.
    PoweredOff,
    /// Outputs were collected and the clone removed.
    Discarded,
    /// The launch failed. Detail: `code`, `class` (job, image or node), `message`.
    Failed,
    /// The scheduler was asked to try elsewhere. Detail: `reason`.
    Retried,
    /// The wrapper ends. Detail: `status`.
    SlotEnded,
    /// Something that this hpcvm does not know.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::SlotStarted => "slot-started",
            Self::Staged => "staged",
            Self::Cloned => "cloned",
            Self::TemplateMade => "template-made",
            Self::RestoreFailed => "restore-failed",
            Self::Restored => "restored",
            Self::HypervisorStarted => "hypervisor-started",
            Self::InitStarted => "init-started",
            Self::GuestReady => "guest-ready",
            Self::JobStarted => "job-started",
            Self::FirstOutput => "first-output",
            Self::StopRequested => "stop-requested",
            Self::Paused => "paused",
            Self::Continued => "continued",
            Self::JobEnded => "job-ended",
            Self::PoweredOff => "powered-off",
            Self::Discarded => "discarded",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::SlotEnded => "slot-ended",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Phase> for EventKind {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Checked => Self::Staged,
            Phase::Cloned => Self::Cloned,
            Phase::TemplateMade => Self::TemplateMade,
            Phase::RestoreFailed => Self::RestoreFailed,
            Phase::Restored => Self::Restored,
            Phase::HypervisorStarted => Self::HypervisorStarted,
            Phase::InitStarted => Self::InitStarted,
            Phase::GuestReady => Self::GuestReady,
            Phase::JobStarted => Self::JobStarted,
            Phase::FirstOutput => Self::FirstOutput,
            Phase::JobEnded => Self::JobEnded,
            Phase::PoweredOff => Self::PoweredOff,
            Phase::Discarded => Self::Discarded,
        }
    }
}

/// More about an event: words to words, or to numbers.
pub type Detail = BTreeMap<String, serde_json::Value>;

/// One event, as its sender writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Version of this format: 1.
    pub version: u32,
    /// The submission.
    pub job: JobKey,
    /// The process that tells it, by a random number: with `sequence` it makes the event unique.
    pub sender: u64,
    /// Counts the sender's events from 0.
    pub sequence: u64,
    /// Nanoseconds on the sender's monotonic clock; only differences within one sender mean anything.
    pub monotonic: u64,
    /// What happened.
    pub event: EventKind,
    /// The array task; absent where the job is no array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// The VM within its slot, from 0; absent for what concerns the whole slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<u32>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: Detail,
}

/// An event as the logger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stamped {
    /// Nanoseconds since 1970 on the logger's clock when it arrived.
    pub at: u64,
    /// The user whose job it is, as the token tells.
    pub uid: u32,
    /// The event.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            version: EVENT_VERSION,
            job: JobKey::of([0xab; 16]),
            sender: 7,
            sequence: 3,
            monotonic: 12_345,
            event: EventKind::JobStarted,
            task: Some(2),
            vm: Some(1),
            detail: Detail::new(),
        }
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let line = serde_json::to_string(&event()).unwrap();
        insta::assert_snapshot!(line, @r#"{"version":1,"job":"abababababababababababababababab","sender":7,"sequence":3,"monotonic":12345,"event":"job-started","task":2,"vm":1}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event());
    }

    #[test]
    fn what_a_newer_sender_adds_is_passed_over() {
        let line = serde_json::to_string(&event()).unwrap();
        let newer = line
            .replace("job-started", "job-teleported")
            .replace("\"vm\":1", "\"vm\":1,\"mood\":\"good\"");
        let read: Event = serde_json::from_str(&newer).unwrap();
        assert_eq!(read.event, EventKind::Unknown);
        assert_eq!(read.vm, Some(1));
    }

    #[test]
    fn a_key_is_32_lower_case_digits() {
        assert_eq!(JobKey::of([1; 16]).to_string(), "01".repeat(16));
        for bad in ["", "01", "zz", &"A".repeat(32), &"0".repeat(33)] {
            assert!(bad.parse::<JobKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_names_are_those_on_the_wire() {
        use EventKind::*;
        for kind in [
            Submitted,
            SlotStarted,
            Staged,
            Cloned,
            TemplateMade,
            HypervisorStarted,
            RestoreFailed,
            InitStarted,
            GuestReady,
            Restored,
            JobStarted,
            FirstOutput,
            StopRequested,
            Paused,
            Continued,
            JobEnded,
            PoweredOff,
            Discarded,
            Failed,
            Retried,
            SlotEnded,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
