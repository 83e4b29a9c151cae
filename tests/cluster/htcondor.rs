//! `HTCondor`, whose jobs are described by files and kept by their owner until told otherwise.

use std::fs;

use super::harness::{Cluster, HEAD, Options, ROOT, Scheduler, USER_A, wait_until};
use super::signals::{AFTER_GRACE, Case, LIVES, case, observe};
use super::site::Site;

#[test]
fn htcondor_runs_jobs_and_records_their_status() {
    let test = "htcondor_runs_jobs_and_records_their_status";
    let Some(cluster) = Cluster::start_or_skip(test, &Options::new(Scheduler::HtCondor)) else {
        return;
    };
    cluster.write(USER_A, "job.sh", "#!/bin/sh\necho $(hostname) $(id -un) $1\nexit $1\n");
    cluster.write(
        USER_A,
        "job.sub",
        "executable = job.sh\narguments = $(Process)\noutput = out.$(Process)\nlog = log\n\
         should_transfer_files = NO\nrequest_memory = 64\nqueue 8\n",
    );
    cluster.shell(
        USER_A,
        HEAD,
        "condor_submit -terse job.sub && condor_wait -wait 120 log",
    );
    for task in 0..8 {
        let said = fs::read_to_string(cluster.home(USER_A).join(format!("out.{task}"))).unwrap();
        assert!(
            said.starts_with("node") && said.ends_with(&format!(" {USER_A} {task}\n")),
            "{said}"
        );
    }
    let records = "condor_history -autoformat ProcId ExitCode | sort -n";
    wait_until("all jobs are on record", || {
        cluster.shell(USER_A, HEAD, records) == "0 0\n1 1\n2 2\n3 3\n4 4\n5 5\n6 6\n7 7\n"
    });
}

const SCRIPT: &[&str] = &["script"];
const OTHERS: &[&str] = &["child", "group", "session", "daemon"];
const ALL: &[&str] = &["script", "child", "group", "session", "daemon"];

/// The submitting command: describes the job script, which comes last, as the file that `condor_submit` reads.
const SUBMIT: &str = "$HOME/submit 5";

fn asked_first(name: &'static str, action: &'static str) -> Case {
    case(
        name,
        "",
        action,
        vec![(SCRIPT, "TERM", AFTER_GRACE), (OTHERS, "", AFTER_GRACE)],
    )
}

#[test]
fn htcondor_tells_the_first_process_and_kills_all() {
    let test = "htcondor_tells_the_first_process_and_kills_all";
    let Some(cluster) = Cluster::start_or_skip(test, &Options::new(Scheduler::HtCondor)) else {
        return;
    };
    let submit = "#!/bin/sh\nprintf '%s\\n' \"executable = $2\" \"job_max_vacate_time = $1\" \\\n\
                  'should_transfer_files = NO' 'request_memory = 64' queue >\"$2.sub\"\n\
                  condor_submit -terse \"$2.sub\" | cut -d ' ' -f 1\n";
    cluster.write(USER_A, "submit", submit);
    let cases = [
        // 3 is removed, 5 is held.
        asked_first("condor_rm", "condor_rm JOB").record("3"),
        asked_first("condor_hold", "condor_hold JOB").record("5"),
        case(
            "condor_suspend, condor_continue",
            "",
            "condor_suspend JOB",
            vec![(ALL, "CONT stopped", LIVES)],
        )
        .later("condor_continue JOB"),
    ];
    let record = |job: &str| {
        let line = format!("condor_q {job} -autoformat JobStatus; condor_history {job} -autoformat JobStatus");
        cluster.shell(ROOT, HEAD, &line).trim().to_owned()
    };
    observe(&cluster, SUBMIT, record, &cases);
}

#[test]
fn vms_run_and_end_under_htcondor() {
    let options = Options::new(Scheduler::HtCondor).nodes(2);
    let Some(site) = Site::start_or_skip("vms_run_and_end_under_htcondor", &options) else {
        return;
    };
    let submit = |options: &[&str], script: &str| site.submit("htcondor", options, script);
    let array = submit(
        &["--name", "array", "-t", "3-4"],
        "echo task $HPCVM_TASK_ID; exit $HPCVM_TASK_ID",
    );
    let held = submit(&["--name", "held", "--hold"], "echo released");
    let trap = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let told = submit(&["--name", "told"], trap);
    // No node has this folder: each fails the job, which goes to another and then ends.
    let options = [
        "--timing-log",
        "--stage",
        "always",
        "--node-cache",
        "/no/such/disk",
        "--retries",
        "1",
    ];
    let fails = submit(&[&options[..], &["--name", "fails"]].concat(), "true");

    wait_until("the job runs", || site.file(&format!("told.o{told}")) == "up\n");
    site.said(&["kill", "--scheduler", "htcondor", &told]);
    site.wait_for_state("htcondor", &told, "1 with 7");
    assert_eq!(site.file(&format!("told.o{told}")), "up\ntold\n");
    site.wait_for_state("htcondor", &array, "1 with 3, 1 with 4");
    for task in 0..2 {
        assert_eq!(
            site.file(&format!("array.o{array}.{task}")),
            format!("task {}\n", task + 3)
        );
    }
    site.wait_for_state("htcondor", &fails, "1 with 122");
    let starts = format!("condor_history {fails} -autoformat ExitCode NumJobStarts");
    wait_until("both tries are on record", || {
        site.cluster.shell(USER_A, HEAD, &starts) == "122 2\n"
    });
    let explained = site.said(&["explain", &site.key("htcondor")]);
    let tries = [("node1", "node2"), ("node2", "node1")].map(|(first, second)| {
        explained.contains(&format!("the job, on {first}"))
            && explained.contains(&format!("the job, attempt 2, on {second}"))
    });
    assert!(tries[0] || tries[1], "{explained}");
    site.wait_for_state("htcondor", &held, "1 held");
    site.cluster.shell(USER_A, HEAD, &format!("condor_release {held}"));
    site.wait_for_state("htcondor", &held, "1 done");
    assert_eq!(site.file(&format!("held.o{held}")), "released\n");
    site.wait_until_clean(2);
}
