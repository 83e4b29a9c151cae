//! Slurm: sbatch(1), squeue(1), scancel(1) of 22.05.

use std::path::Path;
use std::time::Duration;

use super::avoid::{self, Ask};
use super::interface::{Again, Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given, Style, read};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// Slurm's dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slurm;

/// Array job, task or tasks, state, reason: what squeue(1) is asked for.
const COLUMNS: &str = "%F|%K|%T|%r";

impl Scheduler for Slurm {
    fn kind(&self) -> Kind {
        Kind::Slurm
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &["sbatch", "squeue", "scancel"],
            not: &[],
            variable: "SLURM_CONF",
            prefixes: &["SLURM_", "SBATCH_"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        Some("#SBATCH")
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        read(line, Style::Long, says)
    }

    fn template(&self) -> &'static str {
        include_str!("templates/slurm.sh")
    }

    fn refuses(&self, _tasks: &Tasks) -> Option<&'static str> {
        None
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        seconds(text).map(Duration::from_secs)
    }

    fn submit(&self, wrapper: &Path, hold: bool) -> Call {
        let hold = if hold { ["--hold"].as_slice() } else { &[] };
        Call::with_path(Invocation::new("sbatch").arg("--parsable").args(hold).arg(wrapper))
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        // `7`, or `7;cluster` where there are several.
        answer.lines().rev().find_map(|line| JobId::leading_digits(line.trim()))
    }

    fn query(&self, uid: u32, _user: &str) -> Invocation {
        let user = format!("--user={uid}");
        Invocation::new("squeue").args(["--noheader", "--states=all", &user, &format!("--format={COLUMNS}")])
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        answer
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| entry(line).ok_or_else(|| format!("the line '{line}' has not four columns")))
            .collect()
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        let job = match task {
            Some(task) => format!("{job}_{task}"),
            None => job.to_string(),
        };
        Invocation::new("scancel").arg(job)
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            // Each task but the last has a job number of its own besides.
            job: &["SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID"],
            task: &["SLURM_ARRAY_TASK_ID"],
            task_is_index: false,
            slots: &["SLURM_CPUS_ON_NODE"],
            scratch: &["TMPDIR"],
            restarts: &["SLURM_RESTART_COUNT"],
            node: &["SLURMD_NODENAME"],
            own: &[],
            passed: &["SLURM_", "SLURMD_NODENAME="],
        }
    }

    fn meaning(&self, signal: i32) -> Meaning {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU};
        match signal {
            // The user may have asked for SIGUSR1 or SIGUSR2 as the warning of the time limit.
            SIGTERM | SIGINT | SIGHUP | SIGUSR1 | SIGUSR2 | SIGXCPU => Meaning::Stop,
            SIGTSTP => Meaning::Pause,
            SIGCONT => Meaning::Resume,
            _ => Meaning::Nothing,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Command(&["scontrol", "requeue"])
    }

    fn avoid(&self, again: &Again<'_>, ask: &mut Ask<'_>) -> Result<Option<Invocation>, String> {
        avoid::slurm(again, ask).map(Some)
    }

    fn is_down(&self, words: &str) -> bool {
        [
            "Unable to contact slurm controller",
            "Connection refused",
            "Socket timed out",
            "Could not establish a configuration source",
            "Zero Bytes were transmitted",
        ]
        .iter()
        .any(|sign| words.contains(sign))
    }
}

fn says(option: &str, values: &[&str]) -> Vec<(Concern, String)> {
    let concern = match option {
        "-a" | "--array" => Concern::Tasks,
        "-c" | "--cpus-per-task" => Concern::Slots,
        "--mem" | "--mem-per-cpu" => Concern::Memory,
        "-t" | "--time" => Concern::Time,
        "-J" | "--job-name" => Concern::Name,
        "-o" | "--output" => Concern::Output,
        "-e" | "--error" => Concern::Error,
        "-H" | "--hold" => Concern::Hold,
        _ => return Vec::new(),
    };
    vec![(concern, values.join(" "))]
}

/// `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`.
fn seconds(text: &str) -> Option<u64> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(days.parse::<u64>().ok()?), clock),
        None => (None, text),
    };
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    minutes.checked_mul(60)?.checked_add(seconds)
}

fn entry(line: &str) -> Option<Entry> {
    let mut columns = line.splitn(4, '|');
    let mut column = || columns.next().map(str::trim);
    let (job, tasks, state_name, reason) = (column()?, column()?, column()?, column()?);
    Some(Entry {
        job: job.to_owned(),
        tasks: tasks.parse().ok(),
        state: state(state_name, reason),
        reason: (reason != "None").then(|| reason.to_owned()),
    })
}

/// The job state codes of squeue(1).
fn state(name: &str, reason: &str) -> State {
    match name {
        "PENDING" if reason.starts_with("JobHeld") => State::Held,
        "PENDING" | "REQUEUED" | "REQUEUE_FED" => State::Waiting,
        "RUNNING" | "CONFIGURING" | "RESIZING" | "SIGNALING" | "STAGE_OUT" => State::Running,
        "SUSPENDED" | "STOPPED" => State::Suspended,
        "COMPLETING" => State::Ending,
        "SPECIAL_EXIT" | "REQUEUE_HOLD" | "RESV_DEL_HOLD" => State::Failed,
        "COMPLETED" | "FAILED" | "CANCELLED" | "TIMEOUT" | "PREEMPTED" | "NODE_FAIL" | "OUT_OF_MEMORY"
        | "BOOT_FAIL" | "DEADLINE" | "REVOKED" => State::Ended,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::options::last_about;

    #[test]
    fn a_list_of_jobs_is_read() {
        let answer = "12|3-8%2|PENDING|JobArrayTaskLimit\n12|1|RUNNING|None\n12|2|COMPLETED|None\n\
                      13|N/A|PENDING|JobHeldUser\n14|N/A|RUNNING|None\n15|N/A|SPECIAL_EXIT|JobHeldUser\n16|N/A|NEW_STATE|None\n";
        let entries = Slurm.read_states(answer).unwrap();
        let told: Vec<(&str, State, u64)> = entries.iter().map(|e| (e.job.as_str(), e.state, e.count())).collect();
        assert_eq!(
            told,
            [
                ("12", State::Waiting, 6),
                ("12", State::Running, 1),
                ("12", State::Ended, 1),
                ("13", State::Held, 1),
                ("14", State::Running, 1),
                ("15", State::Failed, 1),
                ("16", State::Unknown, 1)
            ]
        );
        assert!(Slurm.read_states("").unwrap().is_empty());
        assert!(Slurm.read_states("slurm_load_jobs error").is_err());
    }

    #[test]
    fn answers_to_sbatch_are_read() {
        for (answer, job) in [
            ("12\n", Some("12")),
            ("12;test\n", Some("12")),
            ("", None),
            ("sbatch: error", None),
        ] {
            assert_eq!(Slurm.submitted(answer).as_ref().map(JobId::as_str), job, "{answer}");
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        for (text, seconds) in [
            ("90", 5400),
            ("1:30", 90),
            ("2:0:0", 7200),
            ("1-0", 86400),
            ("1-1:30", 91800),
            ("1-1:30:5", 91805),
        ] {
            assert_eq!(Slurm.read_time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(Slurm.read_time("UNLIMITED"), None);
    }

    #[test]
    fn options_that_matter_are_understood() {
        let given = Slurm
            .read_options("--array=1-8%2 -c4 --mem 1G -t 90 -J name --exclusive -p long")
            .unwrap();
        let about = |concern| last_about(&given, concern);
        assert_eq!(about(Concern::Tasks), Some("1-8%2"));
        assert_eq!(about(Concern::Slots), Some("4"));
        assert_eq!(about(Concern::Memory), Some("1G"));
        assert_eq!(about(Concern::Time), Some("90"));
        assert_eq!(about(Concern::Name), Some("name"));
    }
}
