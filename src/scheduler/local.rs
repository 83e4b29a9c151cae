//! This machine without a scheduler: hpcvm's own queue, which runs the same wrappers.
//!
//! The queue is spoken to like any other scheduler, by commands: those of `hpcvm local-queue`.

use std::path::Path;
use std::time::Duration;

use super::interface::{Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given, Style, read, seconds_of_clock};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// The dialect of `hpcvm local-queue`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

/// The running program: the queue is part of it.
const OURSELVES: &str = "/proc/self/exe";

fn queue(verb: &str) -> Invocation {
    Invocation::new(OURSELVES).args(["local-queue", verb])
}

impl Scheduler for Local {
    fn kind(&self) -> Kind {
        Kind::Local
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &[],
            not: &[],
            variable: "HPCVM_LOCAL",
            prefixes: &["HPCVM_", "XDG_", "TMPDIR"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        Some("#HPCVM")
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        read(line, Style::Words, says)
    }

    fn template(&self) -> &'static str {
        include_str!("templates/local.sh")
    }

    fn refuses(&self, _tasks: &Tasks) -> Option<&'static str> {
        None
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        seconds_of_clock(text).map(Duration::from_secs)
    }

    fn submit(&self, wrapper: &Path, hold: bool) -> Call {
        let hold = if hold { ["--hold"].as_slice() } else { &[] };
        Call::with_path(queue("submit").args(hold).arg(wrapper))
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        JobId::leading_digits(answer.trim())
    }

    fn query(&self, _uid: u32, _user: &str) -> Invocation {
        queue("list")
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        answer
            .lines()
            .map(|line| entry(line).ok_or_else(|| format!("the line '{line}' has not three columns")))
            .collect()
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        let invocation = queue("delete").arg(job.as_str());
        match task {
            Some(task) => invocation.arg(task.to_string()),
            None => invocation,
        }
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            job: &["HPCVM_LOCAL_JOB"],
            task: &["HPCVM_LOCAL_TASK"],
            task_is_index: false,
            slots: &["HPCVM_LOCAL_SLOTS"],
            scratch: &["TMPDIR"],
            restarts: &[],
            node: &[],
            own: &[],
            passed: &["HPCVM_LOCAL_"],
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
        // There is no other node.
        Retry::Never
    }

    fn is_down(&self, _words: &str) -> bool {
        false
    }
}

fn says(option: &str, values: &[&str]) -> Vec<(Concern, String)> {
    let concern = match option {
        "-t" => Concern::Tasks,
        "-N" => Concern::Name,
        "-n" => Concern::Slots,
        "-W" => Concern::Time,
        "-o" => Concern::Output,
        "-e" => Concern::Error,
        _ => return Vec::new(),
    };
    vec![(concern, values.join(" "))]
}

/// `job task state`, with `-` for the task of a job that is no array.
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let (job, tasks, state) = (words.next()?, words.next()?, words.next()?);
    Some(Entry {
        job: job.to_owned(),
        tasks: tasks.parse().ok(),
        state: match state {
            "waiting" => State::Waiting,
            "held" => State::Held,
            "running" => State::Running,
            "ended" => State::Ended,
            _ => State::Unknown,
        },
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_s_list_is_read() {
        let entries = Local
            .read_states("3 1-2 running\n3 3-1000 waiting\n4 - ended\n")
            .unwrap();
        let told: Vec<(State, u64)> = entries.iter().map(|e| (e.state, e.count())).collect();
        assert_eq!(told, [(State::Running, 2), (State::Waiting, 998), (State::Ended, 1)]);
        assert!(Local.read_states("3 1").is_err());
    }
}
