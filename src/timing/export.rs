//! A job's history as tables and as a trace.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::event::EventKind;
use super::history::{JobHistory, PHASES, spans};

/// Phases with percentiles, and what the slots' time went into; times in seconds.
#[must_use]
pub fn text(history: &JobHistory) -> String {
    let mut text = heading(history);
    text += "\n  median    90 %    99 %  slowest  phase\n";
    for phase in history.phases() {
        let of = phase.seconds;
        let _ = writeln!(
            text,
            "{:8.3}{:8.3}{:8.3}{:9.3}  {}",
            of.p50, of.p90, of.p99, of.max, phase.work
        );
    }
    for (event, what) in [
        (EventKind::JobStarted, "from submit to the job's process"),
        (EventKind::FirstOutput, "from submit to the job's first output"),
    ] {
        if let Some(of) = history.until(event) {
            let _ = writeln!(text, "{:8.3}{:8.3}{:8.3}{:9.3}  {what}", of.p50, of.p90, of.p99, of.max);
        }
    }
    let seconds = history.slot_seconds();
    if seconds.all > 0.0 {
        let _ = writeln!(
            text,
            "\n{:.1} slot-seconds, {:.1} of them without the job running ({:.0} %)",
            seconds.all,
            seconds.all - seconds.job,
            (1.0 - seconds.job / seconds.all) * 100.0
        );
    }
    text
}

/// One line that says which job it is.
#[must_use]
pub fn heading(history: &JobHistory) -> String {
    let word = |key: &str| {
        let value = history.submission.get(key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
    };
    let mut line = match word("id") {
        Some(id) => format!("job {id}"),
        None => format!("job {}", history.job),
    };
    for (key, before) in [("name", " "), ("image", " in "), ("scheduler", " by ")] {
        if let Some(value) = word(key) {
            line = line + before + &value;
        }
    }
    let _ = write!(line, ", {} slots, {} VMs", history.slots.len(), history.vms().count());
    if let Ok(began) = jiff::Timestamp::from_nanosecond(i128::from(history.began)) {
        let _ = write!(line, ", submitted {}", began.strftime("%Y-%m-%d %H:%M:%S UTC"));
    }
    line + "\n"
}

/// One line for each moment of each VM: `task,attempt,vm,host,event,seconds`.
#[must_use]
pub fn csv(history: &JobHistory) -> String {
    let mut text = "task,attempt,vm,host,event,seconds\n".to_owned();
    for slot in &history.slots {
        let task = slot.task.map(|task| task.to_string()).unwrap_or_default();
        let host = slot.host.as_deref().map(field).unwrap_or_default();
        let of_slot = slot.moments.iter().map(|moment| (String::new(), moment));
        let of_vms = slot
            .vms
            .iter()
            .flat_map(|vm| vm.moments.iter().map(move |moment| (vm.vm.to_string(), moment)));
        for (vm, moment) in of_slot.chain(of_vms) {
            let (attempt, event, seconds) = (slot.attempt, moment.event.name(), moment.seconds);
            let _ = writeln!(text, "{task},{attempt},{vm},{host},{event},{seconds:.6}");
        }
    }
    text
}

/// A field of a CSV file (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A trace that Chrome's `about:tracing` and Perfetto show: a row for each VM, grouped by slot
/// (Trace Event Format, complete events; times in microseconds).
#[must_use]
pub fn chrome_trace(history: &JobHistory) -> Value {
    let mut events = Vec::new();
    for (process, slot) in history.slots.iter().enumerate() {
        let task = slot
            .task
            .map_or_else(|| "slot".to_owned(), |task| format!("task {task}"));
        let host = slot.host.as_deref().unwrap_or("unknown node");
        let name = format!("{task}, attempt {}, {host}", slot.attempt);
        events.push(json!({"name": "process_name", "ph": "M", "pid": process, "args": {"name": name}}));
        for vm in &slot.vms {
            events.push(json!({
                "name": "thread_name", "ph": "M", "pid": process, "tid": vm.vm,
                "args": {"name": format!("VM {}", vm.vm)},
            }));
            for span in spans(slot, vm) {
                events.push(json!({
                    "name": span.work, "cat": "launch", "ph": "X", "pid": process, "tid": vm.vm,
                    "ts": span.start * 1e6, "dur": (span.end - span.start) * 1e6,
                }));
            }
            let known = |event| PHASES.iter().any(|(phase, _)| *phase == event);
            for moment in vm.moments.iter().filter(|moment| !known(moment.event)) {
                events.push(json!({
                    "name": moment.event.name(), "ph": "i", "s": "t", "pid": process, "tid": vm.vm,
                    "ts": moment.seconds * 1e6, "args": moment.detail,
                }));
            }
        }
    }
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::example;
    use super::*;

    #[test]
    fn the_text_says_where_the_time_went() {
        insta::assert_snapshot!(text(&example()), @"
        job 01010101010101010101010101010101, 1 slots, 2 VMs, submitted 1970-01-01 00:16:40 UTC

          median    90 %    99 %  slowest  phase
           0.500   0.500   0.500    0.500  waiting for a slot
           0.100   0.100   0.100    0.100  clone and job disk made
           1.400   2.000   2.000    2.000  identity, mounts, job process
           2.000   2.500   2.500    2.500  until the job's end
           2.000   2.500   2.500    2.500  from submit to the job's process

        5.5 slot-seconds, 2.5 of them without the job running (45 %)
        ");
    }

    #[test]
    fn the_csv_has_a_line_for_each_moment() {
        insta::assert_snapshot!(csv(&example()), @"
        task,attempt,vm,host,event,seconds
        1,1,,,slot-started,0.500000
        1,1,,,slot-ended,6.000000
        1,1,0,,cloned,0.600000
        1,1,0,,job-started,2.000000
        1,1,0,,job-ended,4.000000
        1,1,1,,job-started,2.500000
        1,1,1,,job-ended,5.000000
        ");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn the_trace_has_a_row_for_each_vm() {
        let trace = chrome_trace(&example());
        let rows = trace["traceEvents"].as_array().unwrap();
        let complete = rows.iter().filter(|row| row["ph"] == "X").count();
        assert_eq!(complete, 7, "{trace:#}");
    }
}
