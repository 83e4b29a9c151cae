//! Grid Engine: qsub(1), qstat(1), qdel(1), `sge_conf(5)`, `queue_conf(5)` of 8.1.9.

use std::path::Path;
use std::time::Duration;

use roxmltree::{Document, Node};

use super::avoid::{self, Ask};
use super::interface::{Again, Call, JobId, Meaning, Retry, Scheduler, Signs};
use super::kind::Kind;
use super::options::{Concern, Given, Style, read, seconds_of_clock};
use super::slot::SlotNames;
use super::state::{Entry, State};
use super::tasks::Tasks;
use crate::exec::Invocation;

/// Grid Engine's dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct GridEngine;

/// The status that asks Grid Engine to start the job again, elsewhere where it can (qsub(1)).
const RESCHEDULE: u8 = 99;

impl Scheduler for GridEngine {
    fn kind(&self) -> Kind {
        Kind::GridEngine
    }

    fn signs(&self) -> Signs {
        Signs {
            programs: &["qsub", "qconf", "qstat"],
            not: &[],
            variable: "SGE_ROOT",
            prefixes: &["SGE_"],
        }
    }

    fn directive(&self) -> Option<&'static str> {
        Some("#$")
    }

    fn read_options(&self, line: &str) -> Result<Vec<Given>, String> {
        read(line, Style::Words, says)
    }

    fn template(&self) -> &'static str {
        include_str!("templates/gridengine.sh")
    }

    fn refuses(&self, tasks: &Tasks) -> Option<&'static str> {
        match tasks {
            tasks if !tasks.is_one_range() => Some("it takes one range only"),
            tasks if tasks.lowest() == 0 => Some("its task numbers begin at 1"),
            _ => None,
        }
    }

    fn read_time(&self, text: &str) -> Option<Duration> {
        seconds_of_clock(text).map(Duration::from_secs)
    }

    fn submit(&self, wrapper: &Path, hold: bool) -> Call {
        let hold = if hold { ["-h"].as_slice() } else { &[] };
        Call::with_path(Invocation::new("qsub").arg("-terse").args(hold).arg(wrapper))
    }

    fn submitted(&self, answer: &str) -> Option<JobId> {
        // Warnings may come before: the number stands on the last line, `7` or `7.1-8:1`.
        answer.lines().rev().find_map(|line| JobId::leading_digits(line.trim()))
    }

    fn query(&self, _uid: u32, user: &str) -> Invocation {
        Invocation::new("qstat").args(["-u", user, "-xml"])
    }

    fn read_states(&self, answer: &str) -> Result<Vec<Entry>, String> {
        let document = Document::parse(answer).map_err(|error| error.to_string())?;
        let lists = document.descendants().filter(|node| node.has_tag_name("job_list"));
        lists.map(entry).collect()
    }

    fn delete(&self, job: &JobId, task: Option<u32>) -> Invocation {
        let job = match task {
            Some(task) => format!("{job}.{task}"),
            None => job.to_string(),
        };
        Invocation::new("qdel").arg(job)
    }

    fn slot(&self) -> SlotNames {
        SlotNames {
            job: &["JOB_ID"],
            task: &["SGE_TASK_ID"],
            task_is_index: false,
            slots: &["NSLOTS"],
            scratch: &["TMPDIR"],
            restarts: &["RESTARTED"],
            node: &["HOSTNAME"],
            own: &[],
            passed: &[
                "SGE_",
                "JOB_ID=",
                "JOB_NAME=",
                "NSLOTS=",
                "NHOSTS=",
                "NQUEUES=",
                "QUEUE=",
                "PE=",
                "PE_HOSTFILE=",
                "RESTARTED=",
                "REQUEST=",
                "ENVIRONMENT=",
            ],
        }
    }

    fn meaning(&self, signal: i32) -> Meaning {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU};
        match signal {
            // -notify announces the kill by SIGUSR2; terminate_method and NOTIFY_KILL by SIGTERM.
            SIGUSR2 | SIGTERM | SIGINT | SIGHUP | SIGXCPU => Meaning::Stop,
            // -notify announces the stop by SIGUSR1. It also says that a soft limit is over,
            // which the wrapper never asks for.
            SIGUSR1 | SIGTSTP => Meaning::Pause,
            SIGCONT => Meaning::Resume,
            _ => Meaning::Nothing,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Exit(RESCHEDULE)
    }

    fn avoid(&self, again: &Again<'_>, ask: &mut Ask<'_>) -> Result<Option<Invocation>, String> {
        avoid::grid_engine(again, ask).map(Some)
    }

    fn is_down(&self, words: &str) -> bool {
        [
            "unable to contact qmaster",
            "unable to send message to qmaster",
            "commlib error",
            "got no connection",
            "act_qmaster",
        ]
        .iter()
        .any(|sign| words.contains(sign))
            || words.contains("SGE_ROOT")
    }
}

fn says(option: &str, values: &[&str]) -> Vec<(Concern, String)> {
    let all = values.join(" ");
    let concern = match option {
        "-t" => Concern::Tasks,
        "-tc" => Concern::TaskLimit,
        "-N" => Concern::Name,
        "-o" => Concern::Output,
        "-e" => Concern::Error,
        "-h" => Concern::Hold,
        "-S" => Concern::Shell,
        "-pe" => {
            let slots = values.get(1).copied().unwrap_or_default();
            return vec![(Concern::Slots, slots.to_owned())];
        }
        "-l" => return resources(&all),
        _ => return Vec::new(),
    };
    vec![(concern, all)]
}

/// What a list of resources such as `h_rt=1:0:0,mem_free=1G` says.
fn resources(list: &str) -> Vec<(Concern, String)> {
    let settings = list.split(',').filter_map(|setting| setting.split_once('='));
    let known = settings.filter_map(|(name, value)| {
        let concern = match name.trim() {
            "h_rt" => Concern::Time,
            "mem_free" | "h_vmem" | "virtual_free" => Concern::Memory,
            _ => return None,
        };
        Some((concern, value.trim().to_owned()))
    });
    known.collect()
}

/// One `job_list` element of `qstat -xml` (schema qstat/qstat.xsd of the distribution).
fn entry(node: Node<'_, '_>) -> Result<Entry, String> {
    let text = |name: &str| -> Option<&str> {
        let child = node.children().find(|child| child.has_tag_name(name))?;
        child.text().map(str::trim).filter(|text| !text.is_empty())
    };
    let job = text("JB_job_number").ok_or("a job_list has no JB_job_number")?;
    let letters = text("state").unwrap_or_default();
    Ok(Entry {
        job: job.to_owned(),
        tasks: text("tasks").and_then(|tasks| tasks.parse().ok()),
        state: state(letters),
        reason: text("queue_name").map(str::to_owned),
    })
}

/// The letters of qstat(1), the worst first.
fn state(letters: &str) -> State {
    let has = |set: &str| letters.contains(|c| set.contains(c));
    match letters {
        _ if has("E") => State::Failed,
        _ if has("d") => State::Ending,
        _ if has("h") => State::Held,
        _ if has("sSTN") => State::Suspended,
        _ if has("rt") => State::Running,
        _ if has("qw") => State::Waiting,
        _ if has("z") => State::Ended,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::options::last_about;

    const QSTAT: &str = r#"<?xml version='1.0'?>
<job_info  xmlns:xsd="http://example.org/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>2</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>sim &amp; co</JB_name>
      <JB_owner>user</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-01-01T00:00:00</JAT_start_time>
      <queue_name>main.q@node1</queue_name>
      <slots>1</slots>
      <tasks>1</tasks>
    </job_list>
    <job_list state="running"><JB_job_number>4</JB_job_number><state>dr</state><queue_name>main.q@node2</queue_name></job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>2</JB_job_number><state>qw</state><queue_name></queue_name><tasks>3-8:1</tasks>
    </job_list>
    <job_list state="pending"><JB_job_number>5</JB_job_number><state>Eqw</state></job_list>
    <job_list state="pending"><JB_job_number>6</JB_job_number><state>hqw</state></job_list>
  </job_info>
</job_info>
"#;

    #[test]
    fn a_list_of_jobs_is_read() {
        let entries = GridEngine.read_states(QSTAT).unwrap();
        let told: Vec<(&str, State, u64)> = entries.iter().map(|e| (e.job.as_str(), e.state, e.count())).collect();
        assert_eq!(
            told,
            [
                ("2", State::Running, 1),
                ("4", State::Ending, 1),
                ("2", State::Waiting, 6),
                ("5", State::Failed, 1),
                ("6", State::Held, 1)
            ]
        );
        assert_eq!(entries[0].reason.as_deref(), Some("main.q@node1"));
        assert!(GridEngine.read_states("error: commlib").is_err());
        assert!(GridEngine.read_states("<a><job_list/></a>").is_err());
        assert!(GridEngine.read_states("<job_info/>").unwrap().is_empty());
    }

    #[test]
    fn answers_to_qsub_are_read() {
        for (answer, job) in [
            ("7\n", Some("7")),
            ("12.1-8:1\n", Some("12")),
            ("warning: no queue yet\n3\n", Some("3")),
            ("", None),
            ("Unable to run job", None),
        ] {
            let found = GridEngine.submitted(answer);
            assert_eq!(found.as_ref().map(JobId::as_str), job, "{answer}");
        }
    }

    #[test]
    fn options_that_matter_are_understood() {
        let given = GridEngine
            .read_options("-t 1-8:2 -tc 3 -pe smp 4 -l h_rt=1:30:0,arch=lx-amd64 -notify -N n -q long")
            .unwrap();
        let about = |concern| last_about(&given, concern);
        assert_eq!(about(Concern::Tasks), Some("1-8:2"));
        assert_eq!(about(Concern::TaskLimit), Some("3"));
        assert_eq!(about(Concern::Slots), Some("4"));
        assert_eq!(about(Concern::Name), Some("n"));
        let time = about(Concern::Time).and_then(|text| GridEngine.read_time(text));
        assert_eq!(time, Some(Duration::from_mins(90)));
    }
}
