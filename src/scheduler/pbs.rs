//! PBS in Torque's dialect: qsub(1), qstat(1), qdel(1) of Torque 6.
//!
//! Tried with the commands that Slurm brings for users of PBS, which is weak evidence for a
//! real one: they say the same words and mean Slurm.

use std::path::Path;
use std::time::Duration;

use super::interface::{Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given, Style, read, seconds_of_clock};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// Torque's dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pbs;

impl Scheduler for Pbs {
    fn kind(&self) -> Kind {
        Kind::Pbs
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &["qsub", "pbsnodes", "qstat"],
            not: &["qconf"],
            variable: "PBS_DEFAULT",
            prefixes: &["PBS_", "SLURM_CONF"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        Some("#PBS")
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        read(line, Style::Letters, says)
    }

    fn template(&self) -> &'static str {
        include_str!("templates/pbs.sh")
    }

    fn refuses(&self, tasks: &Tasks) -> Option<&'static str> {
        tasks.has_step().then_some("Torque's arrays have no step")
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        seconds_of_clock(text).map(Duration::from_secs)
    }

    fn submit(&self, wrapper: &Path, hold: bool) -> Call {
        let hold = if hold { ["-h"].as_slice() } else { &[] };
        Call::with_path(Invocation::new("qsub").args(hold).arg(wrapper))
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        // `7.server`, or `7[].server` for an array.
        answer.lines().rev().find_map(|line| JobId::leading_digits(line.trim()))
    }

    fn query(&self, _uid: u32, _user: &str) -> Invocation {
        Invocation::new("qstat").args(["-t", "-f"])
    }

    fn query_in_older_words(&self) -> Option<Invocation> {
        // The commands that Slurm brings do not know -t.
        Some(Invocation::new("qstat").arg("-f"))
    }

    fn is_nothing(&self, status: i32) -> bool {
        // The last byte of PBSE_UNKJOBID, 15001 (pbs_error.h of Torque).
        status == 153
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for line in answer.lines() {
            if let Some(id) = line.trim_end().strip_prefix("Job Id:") {
                entries.push(unnamed(id.trim())?);
            } else if let Some((name, value)) = line.trim().split_once(" = ") {
                let entry = entries.last_mut().ok_or("a setting comes before the first job")?;
                match name {
                    "job_state" => entry.state = state(value),
                    "exec_host" | "comment" => entry.reason = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        Ok(entries)
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        match task {
            Some(task) => Invocation::new("qdel").args(["-t", &task.to_string(), &format!("{job}[]")]),
            None => Invocation::new("qdel").arg(job.as_str()),
        }
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            // Slurm's commands for users of PBS give each task a number of its own there.
            job: &["SLURM_ARRAY_JOB_ID", "PBS_JOBID"],
            task: &["PBS_ARRAYID", "PBS_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID"],
            task_is_index: false,
            slots: &["PBS_NP", "PBS_NUM_PPN"],
            scratch: &["TMPDIR"],
            restarts: &[],
            node: &[],
            // Slurm's commands for users of PBS number tasks as jobs.
            own: &["SLURM_JOB_ID"],
            passed: &["PBS_"],
        }
    }

    fn meaning(&self, signal: i32) -> Meaning {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU};
        match signal {
            SIGTERM | SIGINT | SIGHUP | SIGUSR1 | SIGUSR2 | SIGXCPU => Meaning::Stop,
            SIGTSTP => Meaning::Pause,
            SIGCONT => Meaning::Resume,
            _ => Meaning::Nothing,
        }
    }

    fn retry(&self) -> Retry {
        // qrerun(1) is for operators.
        Retry::Never
    }

    fn is_down(&self, words: &str) -> bool {
        [
            "cannot connect to server",
            "Connection refused",
            "Unable to contact slurm controller",
        ]
        .iter()
        .any(|sign| words.contains(sign))
    }
}

fn says(option: &str, values: &[&str]) -> Vec<(Concern, String)> {
    let all = values.join(" ");
    let concern = match option {
        // -t is Torque's, -J that of other descendants of PBS.
        "-t" | "-J" => Concern::Tasks,
        "-N" => Concern::Name,
        "-o" => Concern::Output,
        "-e" => Concern::Error,
        "-h" => Concern::Hold,
        "-S" => Concern::Shell,
        "-l" => return resources(&all),
        _ => return Vec::new(),
    };
    vec![(concern, all)]
}

/// What a list of resources such as `nodes=1:ppn=4,walltime=1:0:0` says.
fn resources(list: &str) -> Vec<(Concern, String)> {
    let mut said = Vec::new();
    for setting in list.split(',') {
        let Some((name, value)) = setting.split_once('=') else {
            continue;
        };
        let (concern, value) = match name.trim() {
            "walltime" => (Concern::Time, value),
            "mem" | "pmem" | "vmem" => (Concern::Memory, value),
            "ncpus" => (Concern::Slots, value),
            "nodes" => match value.split(':').find_map(|part| part.strip_prefix("ppn=")) {
                Some(processors) => (Concern::Slots, processors),
                None => (Concern::Slots, "1"),
            },
            _ => continue,
        };
        said.push((concern, value.trim().to_owned()));
    }
    said
}

/// The job that `7.server`, `7[].server` or `7[3].server` names.
fn unnamed(id: &str) -> Result<Entry, String> {
    let digits = id.find(|c: char| !c.is_ascii_digit()).unwrap_or(id.len());
    if digits == 0 {
        return Err(format!("'{id}' is not a job number"));
    }
    let task = id[digits..]
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(task, _)| task.parse().ok());
    Ok(Entry {
        job: id[..digits].to_owned(),
        tasks: task.map(Tasks::one),
        state: State::Unknown,
        reason: None,
    })
}

/// The letters of qstat(1).
fn state(letter: &str) -> State {
    match letter {
        "Q" | "W" => State::Waiting,
        "H" => State::Held,
        "R" | "B" => State::Running,
        "S" | "T" | "U" => State::Suspended,
        "E" => State::Ending,
        "C" | "F" | "X" => State::Ended,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::options::last_about;

    #[test]
    fn a_list_of_jobs_is_read() {
        let answer = "Job Id: 12[1].head\n    Job_Name = sim-1\n    job_state = R\n    exec_host = node1/0\n\
                      \tVariable_List = PBS_O_HOME=/home/u,\n\tPBS_O_LANG=C\n\n\
                      Job Id: 12[2].head\n    job_state = Q\n\nJob Id:\t13\n\tjob_state = C\n";
        let entries = Pbs.read_states(answer).unwrap();
        let told: Vec<(&str, State, Option<String>)> = entries
            .iter()
            .map(|e| (e.job.as_str(), e.state, e.tasks.as_ref().map(ToString::to_string)))
            .collect();
        assert_eq!(
            told,
            [
                ("12", State::Running, Some("1".to_owned())),
                ("12", State::Waiting, Some("2".to_owned())),
                ("13", State::Ended, None)
            ]
        );
        assert!(Pbs.read_states("Job Id: nothing").is_err());
        assert!(Pbs.read_states("a = b").is_err());
    }

    #[test]
    fn answers_to_qsub_are_read() {
        for (answer, job) in [
            ("12.head\n", Some("12")),
            ("12[].head.example.org\n", Some("12")),
            ("", None),
        ] {
            assert_eq!(Pbs.submitted(answer).as_ref().map(JobId::as_str), job, "{answer}");
        }
    }

    #[test]
    fn options_that_matter_are_understood() {
        let given = Pbs
            .read_options("-t 1-8%2 -l nodes=1:ppn=4,walltime=1:0:0 -lmem=1gb -N n -q long")
            .unwrap();
        let about = |concern| last_about(&given, concern);
        assert_eq!(about(Concern::Tasks), Some("1-8%2"));
        assert_eq!(about(Concern::Slots), Some("4"));
        assert_eq!(about(Concern::Memory), Some("1gb"));
        assert_eq!(
            about(Concern::Time).and_then(|t| Pbs.read_time(t)),
            Some(Duration::from_hours(1))
        );
    }
}
