//! Which process of a job gets which signal, and when: the facts of docs/cluster.md.

use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use super::harness::{Cluster, HEAD, Options, ROOT, Scheduler, USER_A, wait_until};
use super::observe::{Probe, ROLES, now};

const QSUB: &str = "qsub -terse -j y -o /dev/null";
const SBATCH: &str = "sbatch --parsable -o /dev/null";
/// How a process that was not warned, or did not listen, is killed: `notify`, `KillWait` (5 s each).
pub(crate) const AFTER_GRACE: Option<Range<f64>> = Some(3.5..9.0);
const AT_ONCE: Option<Range<f64>> = Some(-1.0..2.5);
/// Still runs at the end.
pub(crate) const LIVES: Option<Range<f64>> = None;

/// What is done to one job, and what its processes must have seen.
pub(crate) struct Case {
    name: &'static str,
    submit: &'static str,
    /// What root does on the head once the job runs; nothing means that the job's limits do it.
    action: &'static str,
    /// What root does some seconds later.
    later: &'static str,
    expected: Vec<Expected>,
    /// What the scheduler's records must have of it.
    record: &'static str,
}

/// Roles; the kinds of their signals, sorted; seconds from the action after which they are killed.
pub(crate) type Expected = (&'static [&'static str], &'static str, Option<Range<f64>>);

pub(crate) fn case(name: &'static str, submit: &'static str, action: &'static str, expected: Vec<Expected>) -> Case {
    Case {
        name,
        submit,
        action,
        later: "",
        expected,
        record: "",
    }
}

impl Case {
    pub(crate) fn later(mut self, line: &'static str) -> Self {
        self.later = line;
        self
    }

    pub(crate) fn record(mut self, record: &'static str) -> Self {
        self.record = record;
        self
    }
}

/// Makes all cases side by side, prints what was seen, and compares.
pub(crate) fn observe(cluster: &Cluster, submit: &str, records: impl Fn(&str) -> String, cases: &[Case]) {
    let probes: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let line = format!("{submit} {}", case.submit);
            Probe::submit(cluster, &format!("case-{index}"), &line).running()
        })
        .collect();
    let moments: Vec<_> = cases
        .iter()
        .zip(&probes)
        .map(|(case, probe)| {
            if case.action.is_empty() {
                probe.started()
            } else {
                probe.act(cluster, case.action)
            }
        })
        .collect();
    sleep(Duration::from_secs(9));
    for (case, probe) in cases.iter().zip(&probes).filter(|(case, _)| !case.later.is_empty()) {
        probe.act(cluster, case.later);
    }
    sleep(Duration::from_secs(3));

    let mut wrong = Vec::new();
    for ((case, probe), &moment) in cases.iter().zip(&probes).zip(&moments) {
        for role in ROLES {
            let (_, kinds, gone) = case.expected.iter().find(|(roles, ..)| roles.contains(&role)).unwrap();
            if gone.is_some() {
                wait_until(&format!("{}: {role} is gone", case.name), || probe.is_gone(role));
            }
            let seen = probe.seen(role, moment);
            println!("{} | {role} | {seen}", case.name);
            let as_expected = match gone {
                Some(range) => range.contains(&seen.last_alive),
                None => now() - moment - seen.last_alive < 3.0,
            };
            if !as_expected || seen.kinds() != *kinds {
                wrong.push(format!(
                    "{} | {role} | {seen}; expected {kinds}, gone {gone:?}",
                    case.name
                ));
            }
        }
        if !case.record.is_empty() {
            let mut said = String::new();
            wait_until(&format!("{}: records say {}", case.name, case.record), || {
                said = records(&probe.job);
                !said.is_empty()
            });
            println!("{} | {said}", case.name);
            if said != case.record {
                wrong.push(format!("{}: records say {said}, expected {}", case.name, case.record));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Fields `failed` and `exit_status` of a finished job.
fn gridengine_record(cluster: &Cluster, job: &str) -> String {
    let line =
        format!("qacct -j {job} 2>/dev/null | awk '$1 == \"failed\" || $1 == \"exit_status\" {{ print $1, $2 }}'");
    cluster.shell(ROOT, HEAD, &line).lines().collect::<Vec<_>>().join(" ")
}

/// State and exit code of a job that runs no longer.
fn slurm_record(cluster: &Cluster, job: &str) -> String {
    let line = format!("scontrol show job {job} | grep -oE '(JobState|ExitCode)=[^ ]*'");
    let said = cluster.shell(ROOT, HEAD, &line).lines().collect::<Vec<_>>().join(" ");
    // COMPLETING jobs are being killed yet.
    if said.contains("RUNNING") || said.contains("COMPLETING") {
        String::new()
    } else {
        said
    }
}

#[test]
fn grid_engine_warns_only_jobs_that_asked_for_it_and_then_every_process() {
    let options = Options::new(Scheduler::GridEngine);
    let Some(cluster) = Cluster::start_or_skip("signals of Grid Engine", &options) else {
        return;
    };
    let all: &[&str] = &ROLES;
    let cases = [
        case("qdel", "", "qdel JOB", vec![(all, "", AT_ONCE)]).record("failed 100 exit_status 137"),
        case("-notify, qdel", "-notify", "qdel JOB", vec![(all, "USR2", AFTER_GRACE)])
            .record("failed 100 exit_status 137"),
        case(
            "qmod -sj, qmod -usj",
            "",
            "qmod -sj JOB",
            vec![(all, "CONT stopped", LIVES)],
        )
        .later("qmod -usj JOB"),
        case(
            "-notify, qmod -sj, qmod -usj",
            "-notify",
            "qmod -sj JOB",
            vec![(all, "CONT USR1 stopped", LIVES)],
        )
        .later("qmod -usj JOB"),
        case("-l h_rt=6", "-l h_rt=6", "", vec![(all, "", Some(5.0..12.0))]).record("failed 37 exit_status 137"),
        case(
            "-notify -l h_rt=6",
            "-notify -l h_rt=6",
            "",
            vec![(all, "USR2", Some(9.0..18.0))],
        )
        .record("failed 37 exit_status 137"),
        case("-l s_rt=6", "-l s_rt=6", "", vec![(all, "USR1", LIVES)]),
    ];
    observe(&cluster, QSUB, |job| gridengine_record(&cluster, job), &cases);
}

#[test]
fn grid_engine_sends_sigterm_where_the_site_says_so() {
    let options = Options::new(Scheduler::GridEngine)
        .nodes(2)
        .with("--gridengine-conf", "execd_params NOTIFY_KILL=TERM");
    let Some(cluster) = Cluster::start_or_skip("NOTIFY_KILL of Grid Engine", &options) else {
        return;
    };
    let cases = [case(
        "NOTIFY_KILL=TERM, -notify, qdel",
        "-notify",
        "qdel JOB",
        vec![(&ROLES, "TERM", AFTER_GRACE)],
    )
    .record("failed 100 exit_status 137")];
    observe(&cluster, QSUB, |job| gridengine_record(&cluster, job), &cases);
}

#[test]
fn terminate_method_sigterm_never_kills() {
    let options = Options::new(Scheduler::GridEngine)
        .nodes(2)
        .with("--gridengine-terminate-method", "SIGTERM");
    let Some(cluster) = Cluster::start_or_skip("terminate_method of Grid Engine", &options) else {
        return;
    };
    let all: &[&str] = &ROLES;
    let cases = [
        case(
            "terminate_method SIGTERM, qdel",
            "",
            "qdel JOB",
            vec![(all, "TERM", LIVES)],
        ),
        case(
            "terminate_method SIGTERM, -notify, qdel",
            "-notify",
            "qdel JOB",
            vec![(all, "TERM USR2", LIVES)],
        ),
        case(
            "terminate_method SIGTERM, -l h_rt=6",
            "-l h_rt=6",
            "",
            vec![(all, "TERM", LIVES)],
        ),
    ];
    observe(&cluster, QSUB, |job| gridengine_record(&cluster, job), &cases);
}

/// The site's own method: here one that asks first and waits as long as jobs may take.
#[test]
fn a_terminate_method_decides_alone_until_the_first_process_is_dead() {
    let options = Options::new(Scheduler::GridEngine).nodes(1);
    let Some(cluster) = Cluster::start_or_skip("terminate_method of Grid Engine", &options) else {
        return;
    };
    let method = "#!/bin/sh\nkill -TERM -$1\nsleep 4\nkill -KILL -$1\n";
    let path = cluster.write(USER_A, "terminate", method);
    let line = format!(
        "qconf -mattr queue terminate_method '{} $job_pid' main.q",
        path.display()
    );
    cluster.shell(ROOT, HEAD, &line);
    let cases = [case(
        "terminate_method program, qdel",
        "",
        "qdel JOB",
        vec![
            (&["script", "child"], "TERM", AFTER_GRACE),
            (&["group", "session", "daemon"], "", AFTER_GRACE),
        ],
    )
    .record("failed 100 exit_status 137")];
    observe(&cluster, QSUB, |job| gridengine_record(&cluster, job), &cases);
}

const TREE: &[&str] = &["script", "child", "group", "session"];
const SCRIPT: &[&str] = &["script"];
const OTHERS: &[&str] = &["child", "group", "session", "daemon"];
const DAEMON: &[&str] = &["daemon"];
/// Slurm looks for jobs beyond their limit every 30 s only.
const AT_LIMIT: Option<Range<f64>> = Some(3.0..45.0);

#[test]
fn slurm_linuxproc_tells_the_tree_and_misses_daemons() {
    let options = Options::new(Scheduler::Slurm).with("--slurm-proctrack", "linuxproc");
    let Some(cluster) = Cluster::start_or_skip("signals of Slurm (linuxproc)", &options) else {
        return;
    };
    let cases = [
        case(
            "scancel",
            "",
            "scancel JOB",
            vec![(TREE, "CONT TERM", AFTER_GRACE), (DAEMON, "", LIVES)],
        )
        .record("JobState=CANCELLED ExitCode=0:9"),
        case(
            "scancel --signal=TERM --batch",
            "",
            "scancel --signal=TERM --batch JOB",
            vec![(SCRIPT, "TERM", LIVES), (OTHERS, "", LIVES)],
        ),
        case(
            "scontrol suspend, resume",
            "",
            "scontrol suspend JOB",
            vec![(TREE, "CONT TSTP stopped", LIVES), (DAEMON, "", LIVES)],
        )
        .later("scontrol resume JOB"),
        case(
            "scontrol requeue",
            "",
            "scontrol requeue JOB",
            vec![(TREE, "CONT TERM", AFTER_GRACE), (DAEMON, "", LIVES)],
        )
        .record("JobState=PENDING ExitCode=0:0"),
        case(
            "time limit",
            "",
            SOON,
            vec![(TREE, "CONT TERM", AT_LIMIT), (DAEMON, "", LIVES)],
        )
        .record("JobState=TIMEOUT ExitCode=0:9"),
        warned(),
    ];
    observe(&cluster, SBATCH, |job| slurm_record(&cluster, job), &cases);
}

#[test]
fn slurm_cgroup_tells_the_first_process_and_kills_all() {
    let options = Options::new(Scheduler::Slurm).with("--slurm-proctrack", "cgroup");
    let Some(cluster) = Cluster::start_or_skip("signals of Slurm (cgroup)", &options) else {
        return;
    };
    let cases = [
        case(
            "scancel",
            "",
            "scancel JOB",
            vec![(SCRIPT, "CONT TERM", AFTER_GRACE), (OTHERS, "", AFTER_GRACE)],
        )
        .record("JobState=CANCELLED ExitCode=0:9"),
        case(
            "scancel --signal=TERM --batch",
            "",
            "scancel --signal=TERM --batch JOB",
            vec![(SCRIPT, "TERM", LIVES), (OTHERS, "", LIVES)],
        ),
        case(
            "scontrol suspend, resume",
            "",
            "scontrol suspend JOB",
            vec![(SCRIPT, "CONT TSTP stopped", LIVES), (OTHERS, "stopped", LIVES)],
        )
        .later("scontrol resume JOB"),
        case(
            "scontrol requeue",
            "",
            "scontrol requeue JOB",
            vec![(SCRIPT, "CONT TERM", AFTER_GRACE), (OTHERS, "", AFTER_GRACE)],
        )
        .record("JobState=PENDING ExitCode=0:0"),
        case(
            "time limit",
            "",
            SOON,
            vec![(SCRIPT, "CONT TERM", AT_LIMIT), (OTHERS, "", AT_LIMIT)],
        )
        .record("JobState=TIMEOUT ExitCode=0:9"),
        warned(),
    ];
    observe(&cluster, SBATCH, |job| slurm_record(&cluster, job), &cases);
}

#[test]
fn slurm_pgid_reaches_the_process_group_only() {
    let options = Options::new(Scheduler::Slurm)
        .nodes(1)
        .with("--slurm-proctrack", "pgid");
    let Some(cluster) = Cluster::start_or_skip("signals of Slurm (pgid)", &options) else {
        return;
    };
    let cases = [case(
        "scancel",
        "",
        "scancel JOB",
        vec![
            (&["script", "child"], "CONT TERM", AFTER_GRACE),
            (&["group", "session", "daemon"], "", LIVES),
        ],
    )
    .record("JobState=CANCELLED ExitCode=0:9")];
    observe(&cluster, SBATCH, |job| slurm_record(&cluster, job), &cases);
}

/// Moves a job's time limit to where a test can wait for it.
const SOON: &str = "scontrol update jobid=JOB EndTime=$(date -d '+3 sec' +%FT%T)";

/// The warning comes up to a minute earlier than asked for: here at once.
fn warned() -> Case {
    case(
        "--signal=B:USR1@60",
        "--time=1 --signal=B:USR1@60",
        "true",
        vec![(SCRIPT, "CONT USR1", LIVES), (OTHERS, "", LIVES)],
    )
}
