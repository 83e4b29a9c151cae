//! `HTCondor`: `condor_submit(1)`, `condor_q(1)`, `condor_rm(1)` of 25.0. The wrapper is a submit
//! description file: its executable is the launcher itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::interface::{Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// `HTCondor`'s dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct HtCondor;

impl Scheduler for HtCondor {
    fn kind(&self) -> Kind {
        Kind::HtCondor
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &["condor_submit", "condor_q", "condor_rm"],
            not: &[],
            variable: "CONDOR_CONFIG",
            prefixes: &["CONDOR_", "_CONDOR_"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        None
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        if line.contains(['\n', '\r', '\0']) {
            return Err("it has a line break".to_owned());
        }
        let line = line.trim();
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), value.trim()),
            None => match line.split_once(char::is_whitespace) {
                Some((word, rest)) if word.eq_ignore_ascii_case("queue") => ("queue".to_owned(), rest.trim()),
                _ if line.eq_ignore_ascii_case("queue") => ("queue".to_owned(), ""),
                _ => return Err("it is not of the form 'name = value'".to_owned()),
            },
        };
        Ok(vec![Given {
            says: says(&name, value),
            option: name,
            raw: line.to_owned(),
        }])
    }

    fn template(&self) -> &'static str {
        include_str!("templates/htcondor.sub")
    }

    fn refuses(&self, _tasks: &Tasks) -> Option<&'static str> {
        None
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        text.parse().ok().map(Duration::from_secs)
    }

    /// Two settings: the program, and its arguments in the new syntax (`condor_submit(1)`).
    fn launch_line(&self, words: &[&OsStr]) -> Option<Vec<u8>> {
        let (program, arguments) = words.split_first()?;
        let mut text = b"executable = ".to_vec();
        text.extend(escaped(program.as_bytes(), false)?);
        text.extend(b"\narguments = \"");
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.push(b'\'');
            text.extend(escaped(argument.as_bytes(), true)?);
            text.push(b'\'');
        }
        text.push(b'"');
        Some(text)
    }

    fn submit(&self, wrapper: &Path, hold: bool) -> Call {
        let hold = if hold {
            ["-append", "hold = true"].as_slice()
        } else {
            &[]
        };
        Call::with_path(Invocation::new("condor_submit").arg("-terse").args(hold).arg(wrapper))
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        // `7.0 - 7.7`
        answer.lines().rev().find_map(|line| {
            let (first, _) = line.trim().split_once('.')?;
            let digits = first.bytes().all(|byte| byte.is_ascii_digit());
            JobId::new(first).filter(|_| digits)
        })
    }

    fn query(&self, _uid: u32, user: &str) -> Invocation {
        let attributes = "ClusterId,ProcId,JobStatus,HoldReason";
        Invocation::new("condor_q").args([user, "-json", "-attributes", attributes])
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        // With no job at all nothing is printed, not an empty list.
        if answer.trim().is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<serde_json::Value> = serde_json::from_str(answer).map_err(|error| error.to_string())?;
        jobs.iter()
            .map(|job| entry(job).ok_or_else(|| format!("a job has no numbers: {job}")))
            .collect()
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        // A task's process number is its place in the array; see `Registry`.
        let job = match task {
            Some(task) => format!("{job}.{task}"),
            None => job.to_string(),
        };
        Invocation::new("condor_rm").arg(job)
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            // The wrapper sets them: HTCondor itself tells neither.
            job: &["HPCVM_CONDOR_CLUSTER"],
            task: &["HPCVM_CONDOR_PROCESS"],
            task_is_index: true,
            slots: &["OMP_NUM_THREADS"],
            scratch: &["_CONDOR_SCRATCH_DIR"],
            restarts: &[],
            node: &[],
            own: &[],
            passed: &["_CONDOR_SLOT=", "HPCVM_CONDOR_", "BATCH_SYSTEM="],
        }
    }

    fn meaning(&self, signal: i32) -> Meaning {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
        match signal {
            SIGTERM | SIGINT | SIGHUP => Meaning::Stop,
            SIGTSTP => Meaning::Pause,
            SIGCONT => Meaning::Resume,
            _ => Meaning::Nothing,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Asked
    }

    fn is_down(&self, words: &str) -> bool {
        [
            "Can't find address of local schedd",
            "Failed to connect to local queue manager",
            "Failed to fetch ads",
            "Failed to connect",
        ]
        .iter()
        .any(|sign| words.contains(sign))
    }
}

/// `text` inside a submit description: `$` begins a macro there, and quotes are doubled inside
/// arguments. A line break cannot be written.
fn escaped(text: &[u8], quoted: bool) -> Option<Vec<u8>> {
    let mut escaped = Vec::new();
    for &byte in text {
        match byte {
            b'\n' | b'\r' | 0 => return None,
            b'$' => escaped.extend(b"$(DOLLAR)"),
            b'\'' | b'"' if quoted => escaped.extend([byte, byte]),
            _ => escaped.push(byte),
        }
    }
    Some(escaped)
}

fn says(name: &str, value: &str) -> Vec<(Concern, String)> {
    let concern = match name {
        "queue" => Concern::Tasks,
        "max_materialize" => Concern::TaskLimit,
        "request_cpus" => Concern::Slots,
        "request_memory" => Concern::Memory,
        "allowed_job_duration" => Concern::Time,
        "batch_name" => Concern::Name,
        "output" => Concern::Output,
        "error" => Concern::Error,
        "hold" => Concern::Hold,
        _ => return Vec::new(),
    };
    vec![(concern, value.to_owned())]
}

fn entry(job: &serde_json::Value) -> Option<Entry> {
    let number = |name: &str| job.get(name).and_then(serde_json::Value::as_u64);
    let process = number("ProcId").and_then(|process| u32::try_from(process).ok())?;
    let reason = job.get("HoldReason").and_then(serde_json::Value::as_str);
    Some(Entry {
        job: number("ClusterId")?.to_string(),
        tasks: Some(Tasks::one(process)),
        state: number("JobStatus").map_or(State::Unknown, state),
        reason: reason.map(str::to_owned),
    })
}

/// `JobStatus` of the job's `ClassAd`.
fn state(number: u64) -> State {
    match number {
        1 => State::Waiting,
        2 | 6 => State::Running,
        3 => State::Ending,
        4 => State::Ended,
        5 => State::Held,
        7 => State::Suspended,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_answers_are_read() {
        let answer = r#"[
{ "ClusterId": 7, "JobStatus": 2, "ProcId": 0 }
,
{ "ClusterId": 7, "HoldReason": "Failed to unshare", "JobStatus": 5, "ProcId": 1 }
]"#;
        let entries = HtCondor.read_states(answer).unwrap();
        assert_eq!((entries[0].job.as_str(), entries[0].state), ("7", State::Running));
        assert_eq!(entries[1].reason.as_deref(), Some("Failed to unshare"));
        assert!(HtCondor.read_states("").unwrap().is_empty());
        assert!(HtCondor.read_states("-- Failed to fetch ads").is_err());
        assert!(HtCondor.read_states("[{}]").is_err());
        for (answer, job) in [
            ("7.0 - 7.7\n", Some("7")),
            ("8.0 - 8.0", Some("8")),
            ("ERROR: 7 bad", None),
        ] {
            assert_eq!(HtCondor.submitted(answer).as_ref().map(JobId::as_str), job, "{answer}");
        }
    }

    #[test]
    fn the_launcher_s_path_keeps_its_bytes() {
        let words = ["/opt/a b/hpcvm", "launch", r#"/home/u/$x/it's "7".json"#].map(OsStr::new);
        let line = String::from_utf8(HtCondor.launch_line(&words).unwrap()).unwrap();
        assert_eq!(
            line,
            "executable = /opt/a b/hpcvm\narguments = \"'launch' '/home/u/$(DOLLAR)x/it''s \"\"7\"\".json'\""
        );
        assert_eq!(HtCondor.launch_line(&[OsStr::new("/a\nqueue 9")]), None);
    }

    #[test]
    fn settings_are_read_and_nothing_else() {
        let given = HtCondor.read_options(" request_cpus = 4 ").unwrap();
        assert_eq!(given[0].about(Concern::Slots), Some("4"));
        assert_eq!(
            HtCondor.read_options("queue 8").unwrap()[0].about(Concern::Tasks),
            Some("8")
        );
        for text in ["nonsense", "a = b\nqueue 3"] {
            assert!(HtCondor.read_options(text).is_err(), "{text}");
        }
    }
}
