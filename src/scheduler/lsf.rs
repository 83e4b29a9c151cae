//! LSF: bsub(1), bjobs(1), bkill(1) of Spectrum LSF 10.1. Never run here: its manual's words only.

use std::path::Path;
use std::time::Duration;

use super::interface::{Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given, Style, read};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// LSF's dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lsf;

impl Scheduler for Lsf {
    fn kind(&self) -> Kind {
        Kind::Lsf
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &["bsub", "bjobs", "bkill"],
            not: &[],
            variable: "LSF_ENVDIR",
            prefixes: &["LSF_", "LSB_"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        Some("#BSUB")
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        read(line, Style::Words, says)
    }

    fn template(&self) -> &'static str {
        include_str!("templates/lsf.sh")
    }

    fn refuses(&self, tasks: &Tasks) -> Option<&'static str> {
        (tasks.lowest() == 0).then_some("its task numbers begin at 1")
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        // [hours:]minutes, and after a slash the host that the time is meant for.
        let clock = text.split('/').next()?;
        let mut minutes: u64 = 0;
        for part in clock.split(':') {
            minutes = minutes.checked_mul(60)?.checked_add(part.parse().ok()?)?;
        }
        Some(Duration::from_secs(minutes.checked_mul(60)?))
    }

    fn submit(&self, _wrapper: &Path, hold: bool) -> Call {
        let hold = if hold { ["-H"].as_slice() } else { &[] };
        Call {
            // Only a script on standard input has its #BSUB lines read.
            invocation: Invocation::new("bsub").args(hold),
            reads_wrapper: true,
        }
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        // `Job <7> is submitted to queue <normal>.`
        answer
            .lines()
            .find_map(|line| line.trim().strip_prefix("Job <")?.split_once('>'))
            .and_then(|(job, _)| JobId::leading_digits(job))
    }

    fn query(&self, _uid: u32, user: &str) -> Invocation {
        let columns = "jobid jobindex stat delimiter='|'";
        Invocation::new("bjobs").args(["-a", "-u", user, "-noheader", "-o", columns])
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        let lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .filter(|line| !line.starts_with("No "))
            .map(|line| entry(line).ok_or_else(|| format!("the line '{line}' has not three columns")))
            .collect()
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        let job = match task {
            Some(task) => format!("{job}[{task}]"),
            None => job.to_string(),
        };
        Invocation::new("bkill").arg(job)
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            job: &["LSB_JOBID"],
            task: &["LSB_JOBINDEX"],
            task_is_index: false,
            slots: &["LSB_DJOB_NUMPROC"],
            scratch: &["TMPDIR"],
            restarts: &[],
            node: &[],
            own: &[],
            passed: &["LSB_JOB", "LSB_QUEUE=", "LSB_HOSTS=", "LSB_DJOB_NUMPROC="],
        }
    }

    fn meaning(&self, signal: i32) -> Meaning {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR2, SIGXCPU};
        match signal {
            // SIGUSR2 says that the run limit is over; bkill sends SIGINT, then SIGTERM, then SIGKILL.
            SIGUSR2 | SIGINT | SIGTERM | SIGHUP | SIGXCPU => Meaning::Stop,
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
            "LSF is down",
            "LSF daemon not responding",
            "batch daemon not responding",
            "Failed in an LSF library call",
        ]
        .iter()
        .any(|sign| words.contains(sign))
    }
}

fn says(option: &str, values: &[&str]) -> Vec<(Concern, String)> {
    let all = values.join(" ");
    let concern = match option {
        "-J" => return name_and_tasks(&all),
        "-n" => Concern::Slots,
        "-M" => Concern::Memory,
        "-W" => Concern::Time,
        "-o" | "-oo" => Concern::Output,
        "-e" | "-eo" => Concern::Error,
        "-H" => Concern::Hold,
        "-L" => Concern::Shell,
        _ => return Vec::new(),
    };
    vec![(concern, all)]
}

/// `name`, `name[1-8]`, `name[1-8]%2`.
fn name_and_tasks(text: &str) -> Vec<(Concern, String)> {
    let Some((name, rest)) = text.split_once('[') else {
        return vec![(Concern::Name, text.to_owned())];
    };
    let tasks = rest.replacen(']', "", 1);
    vec![(Concern::Name, name.to_owned()), (Concern::Tasks, tasks)]
}

fn entry(line: &str) -> Option<Entry> {
    let mut columns = line.split('|').map(str::trim);
    let (job, index, state_name) = (columns.next()?, columns.next()?, columns.next()?);
    let index = index.parse().ok().filter(|&index| index > 0);
    Some(Entry {
        job: job.to_owned(),
        tasks: index.map(Tasks::one),
        state: state(state_name),
        reason: None,
    })
}

/// The states of bjobs(1).
fn state(name: &str) -> State {
    match name {
        "PEND" | "PROV" | "WAIT" => State::Waiting,
        "PSUSP" => State::Held,
        "RUN" => State::Running,
        "USUSP" | "SSUSP" => State::Suspended,
        "DONE" | "EXIT" => State::Ended,
        "ZOMBI" => State::Ending,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::options::last_about;

    #[test]
    fn recorded_answers_are_read() {
        let entries = Lsf.read_states("12|1|RUN\n12|2|PEND\n13|0|PSUSP\n").unwrap();
        let told: Vec<(&str, State)> = entries.iter().map(|e| (e.job.as_str(), e.state)).collect();
        assert_eq!(
            told,
            [("12", State::Running), ("12", State::Waiting), ("13", State::Held)]
        );
        assert_eq!(
            (entries[0].tasks.clone(), entries[2].tasks.clone()),
            (Some(Tasks::one(1)), None)
        );
        assert!(Lsf.read_states("No unfinished job found\n").unwrap().is_empty());
        assert!(Lsf.read_states("12 RUN").is_err());
        let job = Lsf.submitted("Job <12> is submitted to default queue <normal>.\n");
        assert_eq!(job.unwrap().as_str(), "12");
        assert_eq!(Lsf.submitted("Request aborted by esub"), None);
    }

    #[test]
    fn options_that_matter_are_understood() {
        let given = Lsf.read_options(r#"-J "sim[1-8]%2" -n 4 -W 1:30 -q long"#).unwrap();
        let about = |concern| last_about(&given, concern);
        assert_eq!(
            (about(Concern::Name), about(Concern::Tasks)),
            (Some("sim"), Some("1-8%2"))
        );
        assert_eq!(about(Concern::Slots), Some("4"));
        assert_eq!(
            about(Concern::Time).and_then(|t| Lsf.read_time(t)),
            Some(Duration::from_mins(90))
        );
    }
}
