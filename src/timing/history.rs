//! What became of a job, from the events of all its launches.
//!
//! Times are seconds on the logger's clock since the job was submitted (or, where that was not
//! told, since its first event). A sender's events are placed by its own monotonic clock, set to
//! the logger's by the event that was quickest on its way: so neither skew between machines nor a
//! logger that was busy or away for a while enters, as long as one event came through promptly.

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::{Detail, EventKind, JobKey, Stamped};
use super::statistics::Percentiles;

/// A job with all its attempts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobHistory {
    /// The submission.
    pub job: JobKey,
    /// What its submission told: `id`, `scheduler`, `name`, `image`, `tasks`, `vms`.
    pub submission: Detail,
    /// When time begins, in nanoseconds since 1970 on the logger's clock.
    pub began: u64,
    /// Runs of the wrapper in a slot, by task, then in order of time.
    pub slots: Vec<Slot>,
}

/// One run of the wrapper in a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Slot {
    /// The array task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// The attempt at this task, from 1.
    pub attempt: usize,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What concerns the slot as a whole, in order of time.
    pub moments: Vec<Moment>,
    /// Its VMs, by number.
    pub vms: Vec<Vm>,
}

/// One VM of a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vm {
    /// Its number in the slot, from 0.
    pub vm: u32,
    /// What happened, in order of time.
    pub moments: Vec<Moment>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// What.
    pub event: EventKind,
    /// Seconds since time began.
    pub seconds: f64,
    /// More about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: Detail,
}

/// How long a phase took over all VMs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseTime {
    /// The moment that ends it.
    pub until: EventKind,
    /// What was done.
    pub work: &'static str,
    /// Seconds.
    #[serde(flatten)]
    pub seconds: Percentiles,
}

/// What the slots' time went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SlotSeconds {
    /// From each slot's start to its end, or to the last that was heard of it.
    pub all: f64,
    /// Of these, the seconds in which at least one of the slot's VMs ran its job.
    pub job: f64,
}

/// The moments of a VM's way to its job and back, in order, and what was done until each.
pub const PHASES: [(EventKind, &str); 14] = [
    (EventKind::SlotStarted, "waiting for a slot"),
    (EventKind::Staged, "image brought to the node"),
    (EventKind::Cloned, "clone and job disk made"),
    (EventKind::TemplateMade, "template made"),
    (EventKind::HypervisorStarted, "hypervisor process started"),
    (EventKind::RestoreFailed, "restore given up, cold start"),
    (EventKind::InitStarted, "firmware and kernel"),
    (EventKind::GuestReady, "drivers and root file system"),
    (EventKind::Restored, "machine restored"),
    (EventKind::JobStarted, "identity, mounts, job process"),
    (EventKind::FirstOutput, "until the job's first output"),
    (EventKind::JobEnded, "until the job's end"),
    (EventKind::PoweredOff, "power-off"),
    (EventKind::Discarded, "collect and discard"),
];

impl JobHistory {
    /// The history of `job` from its events, in any order.
    #[must_use]
    pub fn of(job: &JobKey, events: &[Stamped]) -> Option<Self> {
        let mut own: Vec<&Stamped> = events.iter().filter(|stamped| stamped.event.job == *job).collect();
        own.sort_by_key(|stamped| (stamped.event.sender, stamped.event.sequence));
        let clocks = clocks(&own);
        let at = |stamped: &Stamped| {
            let offset = clocks.get(&stamped.event.sender).copied().unwrap_or_default();
            i128::from(stamped.event.monotonic) + offset
        };
        let submission = own.iter().find(|stamped| stamped.event.event == EventKind::Submitted);
        let began = submission
            .map(|stamped| at(stamped))
            .or_else(|| own.iter().map(|stamped| at(stamped)).min())?;
        let mut slots: BTreeMap<(Option<u64>, u64), Vec<Placed<'_>>> = BTreeMap::new();
        for stamped in own.iter().filter(|stamped| stamped.event.event != EventKind::Submitted) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "nanoseconds of a job fit 53 bits for 100 days"
            )]
            let seconds = (at(stamped) - began) as f64 / 1e9;
            let key = (stamped.event.task, stamped.event.sender);
            slots.entry(key).or_default().push((stamped, seconds));
        }
        let mut slots: Vec<Slot> = slots
            .into_iter()
            .map(|((task, _), events)| slot(task, events))
            .collect();
        number_attempts(&mut slots);
        Some(Self {
            job: job.clone(),
            submission: submission
                .map(|stamped| stamped.event.detail.clone())
                .unwrap_or_default(),
            began: u64::try_from(began).unwrap_or_default(),
            slots,
        })
    }

    /// Every VM with its slot.
    pub fn vms(&self) -> impl Iterator<Item = (&Slot, &Vm)> {
        self.slots
            .iter()
            .flat_map(|slot| slot.vms.iter().map(move |vm| (slot, vm)))
    }

    /// How long each phase took, over all VMs, in the order of a VM's life.
    #[must_use]
    pub fn phases(&self) -> Vec<PhaseTime> {
        let times = |until: EventKind| -> Vec<f64> {
            let of_vm = |(slot, vm): (&Slot, &Vm)| {
                let spans = spans(slot, vm);
                spans
                    .into_iter()
                    .find(|span| span.until == until)
                    .map(|span| span.end - span.start)
            };
            self.vms().filter_map(of_vm).collect()
        };
        let phase = |(until, work)| {
            Some(PhaseTime {
                until,
                work,
                seconds: Percentiles::of(times(until))?,
            })
        };
        PHASES.into_iter().filter_map(phase).collect()
    }

    /// From the submission to a moment of each VM.
    #[must_use]
    pub fn until(&self, event: EventKind) -> Option<Percentiles> {
        let reached = self.vms().filter_map(|(_, vm)| vm.at(event)).collect();
        Percentiles::of(reached)
    }

    /// What the slots' time went into.
    #[must_use]
    pub fn slot_seconds(&self) -> SlotSeconds {
        self.slots.iter().fold(SlotSeconds::default(), |sum, slot| SlotSeconds {
            all: sum.all + slot.end() - slot.start(),
            job: sum.job + slot.job_seconds(),
        })
    }
}

impl Slot {
    /// When it began, as far as is known.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.all_moments()
            .map(|moment| moment.seconds)
            .fold(f64::INFINITY, f64::min)
    }

    /// When the last was heard of it.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.all_moments()
            .map(|moment| moment.seconds)
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// When `event` happened to the slot as a whole.
    #[must_use]
    pub fn at(&self, event: EventKind) -> Option<f64> {
        first(&self.moments, event)
    }

    fn all_moments(&self) -> impl Iterator<Item = &Moment> {
        self.moments.iter().chain(self.vms.iter().flat_map(|vm| &vm.moments))
    }

    /// Seconds in which at least one VM ran its job.
    fn job_seconds(&self) -> f64 {
        let end = self.end();
        let running = |vm: &Vm| Some((vm.at(EventKind::JobStarted)?, vm.at(EventKind::JobEnded).unwrap_or(end)));
        let mut spans: Vec<(f64, f64)> = self.vms.iter().filter_map(running).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut seconds = 0.0;
        let mut covered = f64::NEG_INFINITY;
        for (start, end) in spans {
            seconds += (end - start.max(covered)).max(0.0);
            covered = covered.max(end);
        }
        seconds
    }
}

impl Vm {
    /// When `event` first happened.
    #[must_use]
    pub fn at(&self, event: EventKind) -> Option<f64> {
        first(&self.moments, event)
    }
}

fn first(moments: &[Moment], event: EventKind) -> Option<f64> {
    moments
        .iter()
        .find(|moment| moment.event == event)
        .map(|moment| moment.seconds)
}

/// A stretch of a VM's time, in seconds since time began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The moment that ends it.
    pub until: EventKind,
    /// What was done.
    pub work: &'static str,
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
}

/// The phases of a VM in the order of its life; moments of its slot count for it too. A moment
/// that was not told belongs to the phase after it.
#[must_use]
pub fn spans(slot: &Slot, vm: &Vm) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0.0;
    for (until, work) in PHASES {
        let Some(end) = vm.at(until).or_else(|| slot.at(until)) else {
            continue;
        };
        spans.push(Span {
            until,
            work,
            start,
            end,
        });
        start = end;
    }
    spans
}

/// What to add to each sender's clock to have the logger's: the least that any of its events took.
fn clocks(events: &[&Stamped]) -> BTreeMap<u64, i128> {
    let mut clocks = BTreeMap::new();
    for stamped in events {
        let offset = i128::from(stamped.at) - i128::from(stamped.event.monotonic);
        let least = clocks.entry(stamped.event.sender).or_insert(offset);
        *least = offset.min(*least);
    }
    clocks
}

/// An event with its seconds since time began.
type Placed<'a> = (&'a Stamped, f64);

fn slot(task: Option<u64>, events: Vec<Placed<'_>>) -> Slot {
    let mut slot = Slot {
        task,
        attempt: 1,
        host: None,
        moments: Vec::new(),
        vms: Vec::new(),
    };
    let mut vms: BTreeMap<u32, Vec<Moment>> = BTreeMap::new();
    for (stamped, seconds) in events {
        let event = &stamped.event;
        if let Some(host) = event.detail.get("host").and_then(|host| host.as_str()) {
            slot.host = Some(host.to_owned());
        }
        let moments = match event.vm {
            Some(vm) => vms.entry(vm).or_default(),
            None => &mut slot.moments,
        };
        moments.push(Moment {
            event: event.event,
            seconds,
            detail: event.detail.clone(),
        });
    }
    let in_order = |mut moments: Vec<Moment>| {
        moments.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        moments
    };
    slot.moments = in_order(slot.moments);
    let vm = |(vm, moments)| Vm {
        vm,
        moments: in_order(moments),
    };
    slot.vms = vms.into_iter().map(vm).collect();
    slot
}

fn number_attempts(slots: &mut [Slot]) {
    slots.sort_by(|a, b| (a.task).cmp(&b.task).then(a.start().total_cmp(&b.start())));
    for index in 1..slots.len() {
        if slots[index].task == slots[index - 1].task {
            slots[index].attempt = slots[index - 1].attempt + 1;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::event::{EVENT_VERSION, Event};
    use super::*;

    /// An event that took `delay` seconds to arrive, of a sender whose clock is `skew` behind.
    fn event(sender: u64, sequence: u64, when: f64, delay: f64, vm: Option<u32>, kind: EventKind) -> Stamped {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small positive numbers"
        )]
        let nanoseconds = |seconds: f64| (seconds * 1e9).round() as u64;
        Stamped {
            at: nanoseconds(1000.0 + when + delay),
            uid: 0,
            event: Event {
                version: EVENT_VERSION,
                job: JobKey::of([1; 16]),
                sender,
                sequence,
                monotonic: nanoseconds(when + 5.0 * f64::from(u32::try_from(sender).unwrap())),
                event: kind,
                task: (sender > 0).then_some(1),
                vm,
                detail: Detail::new(),
            },
        }
    }

    /// One slot with two VMs of which the second was told of late.
    pub(in crate::timing) fn example() -> JobHistory {
        use EventKind::*;
        let events = [
            event(0, 0, 0.0, 0.0, None, Submitted),
            event(1, 0, 0.5, 0.0, None, SlotStarted),
            event(1, 1, 0.6, 2.0, Some(0), Cloned),
            event(1, 2, 2.0, 0.0, Some(0), JobStarted),
            event(1, 3, 2.5, 0.0, Some(1), JobStarted),
            event(1, 4, 4.0, 3.0, Some(0), JobEnded),
            event(1, 5, 5.0, 0.0, Some(1), JobEnded),
            event(1, 6, 6.0, 0.0, None, SlotEnded),
        ];
        JobHistory::of(&JobKey::of([1; 16]), &events).unwrap()
    }

    #[test]
    fn a_late_event_stands_where_it_happened() {
        let history = example();
        let vm = &history.slots[0].vms[0];
        assert!((vm.at(EventKind::Cloned).unwrap() - 0.6).abs() < 1e-6);
        assert!((vm.at(EventKind::JobEnded).unwrap() - 4.0).abs() < 1e-6);
    }

    #[test]
    fn slot_seconds_count_overlapping_jobs_once() {
        let seconds = example().slot_seconds();
        assert!((seconds.all - 5.5).abs() < 1e-6, "{seconds:?}");
        assert!((seconds.job - 3.0).abs() < 1e-6, "{seconds:?}");
    }

    #[test]
    fn phases_are_told_over_all_vms() {
        let history = example();
        let phases = history.phases();
        let names: Vec<_> = phases
            .iter()
            .map(|phase| (phase.until.name(), phase.seconds.count))
            .collect();
        assert_eq!(
            names,
            [("slot-started", 2), ("cloned", 1), ("job-started", 2), ("job-ended", 2)]
        );
        assert!((history.until(EventKind::JobStarted).unwrap().max - 2.5).abs() < 1e-6);
    }

    #[test]
    fn another_attempt_is_a_slot_of_its_own() {
        let events = [
            event(2, 0, 9.0, 0.0, None, EventKind::SlotStarted),
            event(1, 0, 1.0, 0.0, None, EventKind::SlotStarted),
        ];
        let history = JobHistory::of(&JobKey::of([1; 16]), &events).unwrap();
        let attempts: Vec<_> = history.slots.iter().map(|slot| (slot.attempt, slot.start())).collect();
        assert_eq!(attempts, [(1, 0.0), (2, 8.0)]);
        assert_eq!(JobHistory::of(&JobKey::of([2; 16]), &events), None);
    }
}
