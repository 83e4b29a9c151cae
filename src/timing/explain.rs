//! A job's history in words: what happened, what the scheduler asked for, and what was cleaned.

use std::fmt::Write as _;

use super::event::{Detail, EventKind};
use super::export::heading;
use super::history::{JobHistory, Moment, Slot, Vm, spans};

/// One page about a job. With more than `most` slots, those that went well are only counted.
#[must_use]
pub fn explain(history: &JobHistory, most: usize) -> String {
    let mut text = heading(history);
    let all = history.slots.len() <= most;
    let mut unremarkable = 0;
    for slot in &history.slots {
        if all || !findings_of(slot).is_empty() || slot.attempt > 1 {
            text += "\n";
            tell_slot(&mut text, slot);
        } else {
            unremarkable += 1;
        }
    }
    if unremarkable > 0 {
        let _ = writeln!(text, "\n{unremarkable} more slots went well");
    }
    let findings: Vec<String> = history.slots.iter().flat_map(findings_of).collect();
    text += "\n";
    if findings.is_empty() {
        text += "every VM that was started ended and was discarded\n";
    }
    for finding in findings {
        let _ = writeln!(text, "- {finding}");
    }
    text
}

fn name(slot: &Slot) -> String {
    let mut name = slot
        .task
        .map_or_else(|| "the job".to_owned(), |task| format!("task {task}"));
    if slot.attempt > 1 {
        let _ = write!(name, ", attempt {}", slot.attempt);
    }
    if let Some(host) = &slot.host {
        let _ = write!(name, ", on {host}");
    }
    name
}

fn tell_slot(text: &mut String, slot: &Slot) {
    let _ = writeln!(text, "{}", name(slot));
    for moment in &slot.moments {
        tell(text, moment);
    }
    for vm in &slot.vms {
        if slot.vms.len() > 1 {
            let _ = writeln!(text, "  VM {}", vm.vm);
        }
        for moment in &vm.moments {
            tell(text, moment);
        }
        if let Some(line) = longest(slot, vm) {
            let _ = writeln!(text, "            {line}");
        }
    }
}

fn tell(text: &mut String, moment: &Moment) {
    let _ = writeln!(text, "  {:8.3}  {}", moment.seconds, sentence(moment));
}

/// What took longest on the way to the job.
fn longest(slot: &Slot, vm: &Vm) -> Option<String> {
    let start = slot.at(EventKind::SlotStarted)?;
    let job = vm.at(EventKind::JobStarted)?;
    let way = spans(slot, vm)
        .into_iter()
        .filter(|span| span.start >= start && span.end <= job);
    let longest = way.max_by(|a, b| (a.end - a.start).total_cmp(&(b.end - b.start)))?;
    Some(format!(
        "{:.3} s from the slot's start to the job; longest: {}, {:.3} s",
        job - start,
        longest.work,
        longest.end - longest.start
    ))
}

fn number(detail: &Detail, key: &str) -> Option<i64> {
    detail.get(key)?.as_i64()
}

fn word<'a>(detail: &'a Detail, key: &str) -> Option<&'a str> {
    detail.get(key)?.as_str()
}

fn signal(number: i64) -> String {
    let known = i32::try_from(number).ok().and_then(signal_hook::low_level::signal_name);
    known.map_or_else(|| format!("signal {number}"), ToOwned::to_owned)
}

fn sentence(moment: &Moment) -> String {
    let detail = &moment.detail;
    match moment.event {
        EventKind::Submitted => "the scheduler took the job".to_owned(),
        EventKind::SlotStarted => match number(detail, "restart") {
            Some(restart) if restart > 0 => format!("the wrapper started, for the {}. time", restart + 1),
            _ => "the wrapper started".to_owned(),
        },
        EventKind::Staged => match (
            detail.get("cached").and_then(serde_json::Value::as_bool),
            number(detail, "bytes"),
        ) {
            (Some(true), _) => "the image was on the node already".to_owned(),
            (_, Some(bytes)) => format!("the image was brought to the node: {bytes} bytes"),
            _ => "the image was found".to_owned(),
        },
        EventKind::Cloned => "clone and job disk were made".to_owned(),
        EventKind::HypervisorStarted => "the hypervisor's process was started".to_owned(),
        EventKind::TemplateMade => "a template to restore machines from was made".to_owned(),
        EventKind::RestoreFailed => "the machine could not be restored and was started cold".to_owned(),
        EventKind::Restored => "the restored machine reported".to_owned(),
        EventKind::InitStarted => "the kernel was up".to_owned(),
        EventKind::GuestReady => "the guest reported".to_owned(),
        EventKind::JobStarted => "the job's process was started".to_owned(),
        EventKind::FirstOutput => "the job's first output arrived".to_owned(),
        EventKind::StopRequested => match (number(detail, "signal"), word(detail, "limit")) {
            (Some(number), _) => format!("{} came: the job was told to stop", signal(number)),
            (None, Some(limit)) => format!("the {limit} limit was reached: the job was told to stop"),
            (None, None) => "the job was told to stop".to_owned(),
        },
        EventKind::Paused => "the job was suspended: the VM was paused".to_owned(),
        EventKind::Continued => "the VM went on".to_owned(),
        EventKind::JobEnded => match (number(detail, "status"), number(detail, "signal")) {
            (_, Some(number)) => format!("{} ended the job", signal(number)),
            (Some(status), None) => format!("the job exited with status {status}"),
            (None, None) => "the job ended".to_owned(),
        },
        EventKind::PoweredOff => "the hypervisor's process was gone".to_owned(),
        EventKind::Discarded => "the clone and the VM's folder were removed".to_owned(),
        EventKind::Failed => {
            let class = word(detail, "class")
                .map(|class| format!(" (the {class}'s fault)"))
                .unwrap_or_default();
            let code = word(detail, "code").unwrap_or("an error");
            let message = word(detail, "message").unwrap_or("no reason was told");
            format!("the launch failed with {code}{class}: {message}")
        }
        EventKind::Retried => {
            let reason = word(detail, "reason").unwrap_or("no reason was told");
            let asked = format!("the scheduler was asked to try again elsewhere: {reason}");
            match (word(detail, "avoids"), word(detail, "not-avoided")) {
                (Some(node), _) => format!("{asked}; it is to leave out {node}"),
                (None, Some(why)) => format!("{asked}; it may choose the same node again: {why}"),
                (None, None) => asked,
            }
        }
        EventKind::SlotEnded => match number(detail, "status") {
            Some(status) => format!("the wrapper ended with status {status}"),
            None => "the wrapper ended".to_owned(),
        },
        EventKind::Unknown => "something this hpcvm has no word for".to_owned(),
    }
}

/// What did not go as it should.
fn findings_of(slot: &Slot) -> Vec<String> {
    let mut findings = Vec::new();
    let name = name(slot);
    let of_vms = slot
        .vms
        .iter()
        .flat_map(|vm| vm.moments.iter().map(move |moment| (Some(vm.vm), moment)));
    for (vm, moment) in slot.moments.iter().map(|moment| (None, moment)).chain(of_vms) {
        let failed_job = number(&moment.detail, "status").is_some_and(|status| status != 0)
            || number(&moment.detail, "signal").is_some();
        let worth = match moment.event {
            EventKind::Failed | EventKind::Retried | EventKind::StopRequested => true,
            EventKind::JobEnded => failed_job,
            _ => false,
        };
        if worth {
            let vm = vm.map(|vm| format!(", VM {vm}")).unwrap_or_default();
            findings.push(format!("{name}{vm}: {}", sentence(moment)));
        }
    }
    let ended = slot.at(EventKind::SlotEnded).is_some();
    for vm in &slot.vms {
        let started = vm.at(EventKind::HypervisorStarted).is_some();
        if started && vm.at(EventKind::Discarded).is_none() && !ended {
            findings.push(format!(
                "{name}, VM {}: its discarding was not heard of: it runs still, or its launcher was killed outright \
                 (then the VM died with it, and the next launch on the node removes its folder)",
                vm.vm
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::example;
    use super::*;

    fn moment(event: EventKind, detail: serde_json::Value) -> Moment {
        Moment {
            event,
            seconds: 7.0,
            detail: serde_json::from_value(detail).unwrap(),
        }
    }

    #[test]
    fn a_page_says_what_happened_and_what_did_not_go_well() {
        let mut history = example();
        let slot = &mut history.slots[0];
        slot.host = Some("node3".to_owned());
        let more = [
            moment(EventKind::HypervisorStarted, serde_json::json!({})),
            moment(EventKind::StopRequested, serde_json::json!({"signal": 12})),
            moment(
                EventKind::Failed,
                serde_json::json!({"code": "HV4101", "class": "node", "message": "no memory"}),
            ),
        ];
        slot.vms[1].moments.extend(more);
        insta::assert_snapshot!(explain(&history, 10), @"
        job 01010101010101010101010101010101, 1 slots, 2 VMs, submitted 1970-01-01 00:16:40 UTC

        task 1, on node3
             0.500  the wrapper started
             6.000  the wrapper ended
          VM 0
             0.600  clone and job disk were made
             2.000  the job's process was started
             4.000  the job ended
                    1.500 s from the slot's start to the job; longest: identity, mounts, job process, 1.400 s
          VM 1
             2.500  the job's process was started
             5.000  the job ended
             7.000  the hypervisor's process was started
             7.000  SIGUSR2 came: the job was told to stop
             7.000  the launch failed with HV4101 (the node's fault): no memory
                    2.000 s from the slot's start to the job; longest: identity, mounts, job process, -4.500 s

        - task 1, on node3, VM 1: SIGUSR2 came: the job was told to stop
        - task 1, on node3, VM 1: the launch failed with HV4101 (the node's fault): no memory
        ");
        assert!(explain(&example(), 0).contains("1 more slots went well"));
    }
}
