//! What a slot tells the timing log, where one is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CliError, timing_log};
use crate::diagnostic::{Blame, Problem as _};
use crate::guest::result_disk::Ending;
use crate::launch::StopReason;
use crate::launch::slot::VmEnd;
use crate::scheduler::{JobFile, Slot};
use crate::timing::event::{Detail, EventKind};
use crate::timing::sender::Sender;
use crate::timing::{Phase, Timeline};

/// The longest message that is told: a line of the log holds 8 KiB.
const LONGEST: usize = 2000;

/// The slot's line to the logger, if there is one.
#[derive(Clone, Debug)]
pub(super) struct SlotLog(Option<Arc<Sender>>);

impl SlotLog {
    /// Begins to tell what happens in `slot`, which began at `begun`.
    pub(super) fn start(job: &JobFile, slot: &Slot, begun: Instant) -> Self {
        let destination = job.timing.as_ref();
        let task = slot.task.map(u64::from);
        let log = Self(destination.and_then(|destination| timing_log::sender(destination, task)));
        let detail = json!({"host": super::launch::node(), "restart": slot.restarts});
        log.tell_at(begun, EventKind::SlotStarted, None, detail);
        log
    }

    /// Tells of the whole slot, now.
    pub(super) fn tell(&self, event: EventKind, detail: Value) {
        self.tell_at(Instant::now(), event, None, detail);
    }

    fn tell_at(&self, when: Instant, event: EventKind, vm: Option<u32>, detail: Value) {
        if let Some(sender) = &self.0 {
            let detail: Detail = serde_json::from_value(detail).expect("details are objects");
            sender.tell_at(when, event, vm, detail);
        }
    }

    /// A timeline that began at `begun`, whose moments are told as those of VM `vm`.
    pub(super) fn timeline(&self, begun: Instant, vm: u32) -> Timeline {
        match &self.0 {
            Some(sender) => Timeline::observed(begun, sender.observer(vm)),
            None => Timeline::since(begun),
        }
    }

    /// Tells how VM `vm` ended, whose job has `limit`.
    pub(super) fn vm_ended(&self, vm: u32, end: &VmEnd, limit: Option<Duration>) {
        let at = |phase| end.timeline.at(phase).map(|at| end.timeline.start() + at);
        let (stopped, detail) = match &end.result {
            Ok(outcome) => (outcome.stopped == Some(StopReason::TimeLimit), ending(outcome.ending)),
            Err(error) => (error.blame() == Blame::Timeout, json!({})),
        };
        // The moment at which the time was up is known from its beginning.
        if let (true, Some(begun), Some(limit)) = (stopped, at(Phase::JobStarted), limit) {
            self.tell_at(
                begun + limit,
                EventKind::StopRequested,
                Some(vm),
                json!({"limit": "time"}),
            );
        }
        if let Some(when) = at(Phase::JobEnded) {
            self.tell_at(when, EventKind::JobEnded, Some(vm), detail);
        }
        if let Err(error) = &end.result {
            let detail = failure(error.code(), error.blame(), &error.to_string());
            self.tell_at(Instant::now(), EventKind::Failed, Some(vm), detail);
        }
    }

    /// Tells why there is no VM.
    pub(super) fn failed(&self, error: &CliError) {
        self.tell(EventKind::Failed, failure(error.code, error.blame, &error.message));
    }

    /// Tells that the slot ends with `status`. A logger that is there gets a moment to take it.
    pub(super) fn end(&self, status: u8) {
        self.tell(EventKind::SlotEnded, json!({"status": status}));
        if let Some(sender) = &self.0 {
            sender.close(timing_log::PATIENCE);
        }
    }
}

fn ending(ending: Ending) -> Value {
    match ending {
        Ending::Exited(status) => json!({"status": status}),
        Ending::Killed(signal) => json!({"signal": signal}),
        Ending::NotStarted(errno) => json!({"errno": errno}),
    }
}

fn failure(code: &str, blame: Blame, message: &str) -> Value {
    let class = match blame {
        Blame::Image => "image",
        Blame::Host | Blame::Internal => "node",
        Blame::User | Blame::Guest | Blame::Timeout => "job",
    };
    let message: String = message.chars().take(LONGEST).collect();
    json!({"code": code, "class": class, "message": message})
}
