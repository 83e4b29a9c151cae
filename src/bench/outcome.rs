//! What the timing log says of one launch of a scenario.

use super::grid::Scenario;
use crate::timing::event::EventKind;
use crate::timing::history::{JobHistory, Moment};

/// How far a launch is.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Not at its end yet.
    Running,
    /// All VMs said their first line and are gone.
    Done {
        /// When each did, by task and VM, in seconds since the submission began.
        first_line: Vec<f64>,
        /// When the last was discarded.
        all_discarded: f64,
    },
    /// Something failed, in words.
    Failed(String),
}

/// How far the launch of `scenario` is whose job has this history.
#[must_use]
pub fn outcome(history: &JobHistory, scenario: &Scenario) -> Outcome {
    if let Some(failure) = failure(history) {
        return Outcome::Failed(failure);
    }
    // Time in the log begins when the scheduler has taken the job; the user's began before.
    let Some(took) = history.submission.get("took").and_then(serde_json::Value::as_f64) else {
        return Outcome::Running;
    };
    let moments = |event| -> Vec<f64> {
        let reached = history.vms().filter_map(|(_, vm)| vm.at(event));
        reached.map(|seconds| seconds + took).collect()
    };
    let (first_line, discarded) = (moments(EventKind::FirstOutput), moments(EventKind::Discarded));
    let slots = history.slots.iter();
    let ended = slots.filter(|slot| slot.at(EventKind::SlotEnded).is_some()).count();
    let vms = scenario.vms as usize * scenario.jobs as usize;
    if ended < scenario.jobs as usize || first_line.len() < vms || discarded.len() < vms {
        return Outcome::Running;
    }
    Outcome::Done {
        first_line,
        all_discarded: discarded.into_iter().fold(0.0, f64::max),
    }
}

fn failure(history: &JobHistory) -> Option<String> {
    let of_vms = history
        .vms()
        .flat_map(|(slot, vm)| vm.moments.iter().map(move |moment| (slot, moment)));
    let of_slots = history
        .slots
        .iter()
        .flat_map(|slot| slot.moments.iter().map(move |moment| (slot, moment)));
    // What a VM or its launcher said tells more than the status that came of it.
    let all: Vec<_> = of_vms.chain(of_slots).collect();
    let told = |wanted: EventKind| {
        let wanted = all.iter().filter(move |(_, moment)| moment.event == wanted);
        wanted.map(|(slot, moment)| (slot.host.as_deref().unwrap_or("a node"), *moment))
    };
    let word = |moment: &Moment, key: &str| {
        moment
            .detail
            .get(key)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let number = |moment: &Moment, key: &str| moment.detail.get(key).and_then(serde_json::Value::as_i64);
    let failed = told(EventKind::Failed).next().map(|(host, moment)| {
        let message = word(moment, "message").unwrap_or_default();
        format!("{host}: {}: {message}", word(moment, "code").unwrap_or_default())
    });
    failed
        .or_else(|| {
            let stopped = told(EventKind::StopRequested).next();
            stopped.map(|(host, _)| format!("{host}: the job was told to stop"))
        })
        .or_else(|| {
            let status = |(host, moment): (&str, &Moment)| {
                let status = number(moment, "status").filter(|&status| status != 0)?;
                Some(format!("{host}: a slot ended with status {status}"))
            };
            told(EventKind::SlotEnded).find_map(status)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::timing::event::{EVENT_VERSION, Event, JobKey, Stamped};

    /// A job of two slots with one VM each, up to and with `last` of the second slot.
    fn history(last: &[(EventKind, serde_json::Value)]) -> JobHistory {
        let job = JobKey::of([1; 16]);
        let event = |at: u64, sender, event, vm, detail| Stamped {
            at: at * 1_000_000_000,
            uid: 0,
            event: Event {
                version: EVENT_VERSION,
                job: job.clone(),
                sender,
                sequence: at,
                monotonic: at * 1_000_000_000,
                event,
                task: (sender > 0).then_some(sender),
                vm,
                detail: serde_json::from_value(detail).unwrap(),
            },
        };
        let mut events = vec![event(100, 0, EventKind::Submitted, None, json!({"took": 0.5}))];
        for sender in [1, 2] {
            events.push(event(
                101,
                sender,
                EventKind::SlotStarted,
                None,
                json!({"host": "node1"}),
            ));
            events.push(event(103, sender, EventKind::FirstOutput, Some(0), json!({})));
            events.push(event(104, sender, EventKind::Discarded, Some(0), json!({})));
        }
        events.push(event(105, 1, EventKind::SlotEnded, None, json!({"status": 0})));
        for (kind, detail) in last {
            let vm = (*kind != EventKind::SlotEnded).then_some(0);
            events.push(event(106, 2, *kind, vm, detail.clone()));
        }
        JobHistory::of(&job, &events).unwrap()
    }

    #[test]
    fn a_launch_is_over_when_every_slot_is_and_a_failure_says_where() {
        let scenario = Scenario {
            image: "minimal".to_owned(),
            vms: 1,
            jobs: 2,
        };
        let done = Outcome::Done {
            first_line: vec![3.5, 3.5],
            all_discarded: 4.5,
        };
        let failed = |words: &str| Outcome::Failed(words.to_owned());
        for (last, expected) in [
            (vec![], Outcome::Running),
            (vec![(EventKind::SlotEnded, json!({"status": 0}))], done),
            (
                vec![(EventKind::SlotEnded, json!({"status": 7}))],
                failed("node1: a slot ended with status 7"),
            ),
            (
                vec![
                    (EventKind::Failed, json!({"code": "HV4101", "message": "no memory"})),
                    (EventKind::SlotEnded, json!({"status": 122})),
                ],
                failed("node1: HV4101: no memory"),
            ),
            (
                vec![(EventKind::StopRequested, json!({"signal": 15}))],
                failed("node1: the job was told to stop"),
            ),
        ] {
            assert_eq!(outcome(&history(&last), &scenario), expected, "{last:?}");
        }
    }
}
