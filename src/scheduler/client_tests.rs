use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::diagnostic::Problem as _;
use crate::exec::Scripted;
use crate::scheduler::State;

fn failing(stderr: &str) -> Scripted {
    Scripted::answering([Err(ExecError::Failed {
        command: "command".to_owned(),
        status: ExitStatus::from_raw(256),
        stderr: stderr.to_owned(),
    })])
}

fn submit(kind: Kind, runner: &Scripted) -> Result<JobId, SchedulerError> {
    Client::new(kind, runner, &[]).submit(Path::new("/j/wrapper"), false, Path::new("/work"))
}

#[test]
fn each_scheduler_is_submitted_to_by_its_own_command() {
    for (kind, answer, job, line) in [
        (Kind::GridEngine, "7.1-8:1\n", "7", "qsub -terse /j/wrapper"),
        (Kind::Slurm, "8\n", "8", "sbatch --parsable /j/wrapper"),
        (Kind::Pbs, "9[].head\n", "9", "qsub /j/wrapper"),
        (Kind::HtCondor, "10.0 - 10.7\n", "10", "condor_submit -terse /j/wrapper"),
        (
            Kind::Local,
            "12\n",
            "12",
            "/proc/self/exe local-queue submit /j/wrapper",
        ),
    ] {
        let runner = Scripted::answering([Scripted::says(answer)]);
        assert_eq!(submit(kind, &runner).unwrap().as_str(), job, "{kind}");
        assert!(runner.seen()[0].ends_with(line), "{:?}", runner.seen());
    }
}

#[test]
fn lsf_reads_the_wrapper() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapper");
    std::fs::write(&path, "#BSUB -n 1\n").unwrap();
    let runner = Scripted::answering([Scripted::says("Job <11> is submitted to queue <normal>.\n")]);
    let job = Client::new(Kind::Lsf, &runner, &[])
        .submit(&path, true, folder.path())
        .unwrap();
    assert_eq!(job.as_str(), "11");
    assert!(runner.seen()[0].ends_with("bsub -H"), "{:?}", runner.seen());
}

#[test]
fn commands_see_only_the_variables_that_are_meant_for_them() {
    let variables = [
        ("SGE_ROOT", "/sge"),
        ("SLURM_CONF", "/s"),
        ("LD_PRELOAD", "/x"),
        ("USER", "u"),
    ]
    .map(|(name, value)| (name.into(), value.into()));
    let runner = Scripted::answering([Scripted::says("1\n")]);
    let client = Client::new(Kind::GridEngine, &runner, &variables);
    client.submit(Path::new("/w"), false, Path::new("/")).unwrap();
    assert_eq!(
        runner.seen(),
        ["SGE_ROOT=/sge TZ=:/etc/localtime USER=u qsub -terse /w"]
    );
}

#[test]
fn failures_are_told_in_the_scheduler_s_own_words() {
    let texts: Vec<String> = [
        submit(
            Kind::Slurm,
            &Scripted::answering([Err(ExecError::NotFound {
                program: "sbatch".to_owned(),
            })]),
        ),
        submit(
            Kind::Slurm,
            &failing("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"),
        ),
        submit(
            Kind::GridEngine,
            &failing("error: commlib error: got select error (Connection refused)\nUnable to run job: unable to contact qmaster using port 6444 on host \"head\".\nExiting."),
        ),
        submit(
            Kind::GridEngine,
            &failing("Unable to run job: job rejected: the requested parallel environment \"smp\" does not exist.\nExiting."),
        ),
        submit(Kind::HtCondor, &failing("ERROR: Can't find address of local schedd")),
        submit(Kind::Slurm, &Scripted::answering([Scripted::says("Submitted\n")])),
    ]
    .into_iter()
    .map(|result| {
        let error = result.unwrap_err();
        format!("{}: {error}\nhelp: {}", error.code(), error.help().unwrap_or_default())
    })
    .collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    HV5001: slurm cannot be used here: sbatch is not installed
    help: put the scheduler's commands on PATH, name another with --scheduler, or run here with --scheduler local
    HV5002: slurm does not answer
      | sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)
    help: ask whether slurm is up; SLURM_CONF tells your commands where it is
    HV5002: gridengine does not answer
      | error: commlib error: got select error (Connection refused)
      | Unable to run job: unable to contact qmaster using port 6444 on host "head".
      | Exiting.
    help: ask whether gridengine is up; SGE_ROOT tells your commands where it is
    HV5003: gridengine refused to take the job
      | Unable to run job: job rejected: the requested parallel environment "smp" does not exist.
      | Exiting.
    help: `hpcvm wrapper` with the same arguments prints what was submitted; --native passes options of the scheduler
    HV5002: htcondor does not answer
      | ERROR: Can't find address of local schedd
    help: ask whether htcondor is up; CONDOR_CONFIG tells your commands where it is
    HV5004: the answer of slurm to sbatch cannot be read: it names no job: 'Submitted'
    help: send the command's output with a report: this version does not know it
    "#);
}

#[test]
fn all_jobs_are_asked_for_at_once() {
    let runner = Scripted::answering([Scripted::says("1|1-1000|PENDING|Priority\n2|N/A|RUNNING|None\n")]);
    let entries = Client::new(Kind::Slurm, &runner, &[]).states(1001, "u").unwrap();
    assert_eq!(runner.seen().len(), 1);
    assert_eq!((entries[0].count(), entries[0].state), (1000, State::Waiting));
    let runner = Scripted::answering([Scripted::says("what?\n")]);
    let error = Client::new(Kind::Slurm, &runner, &[]).states(1001, "u").unwrap_err();
    assert_eq!(error.code(), "HV5004");
}

#[test]
fn a_task_is_deleted_by_each_scheduler_s_own_command() {
    for (kind, all, one) in [
        (Kind::GridEngine, "qdel 7", "qdel 7.3"),
        (Kind::Slurm, "scancel 7", "scancel 7_3"),
        (Kind::Pbs, "qdel 7", "qdel -t 3 '7[]'"),
        (Kind::HtCondor, "condor_rm 7", "condor_rm 7.3"),
        (Kind::Lsf, "bkill 7", "bkill '7[3]'"),
    ] {
        let runner = Scripted::default();
        let client = Client::new(kind, &runner, &[]);
        let job = JobId::new("7").unwrap();
        client.delete(&job, None).unwrap();
        client.delete(&job, Some(3)).unwrap();
        assert!(
            runner.seen()[0].ends_with(all) && runner.seen()[1].ends_with(one),
            "{:?}",
            runner.seen()
        );
    }
}

#[test]
fn the_pbs_commands_of_slurm_are_asked_in_their_own_words() {
    let failed = |status: i32, stderr: &str| {
        Err(ExecError::Failed {
            command: "qstat".to_owned(),
            status: ExitStatus::from_raw(status << 8),
            stderr: stderr.to_owned(),
        })
    };
    let unknown = "Unknown option: t\nUsage:";
    let states = |answers: Vec<Result<Completed, ExecError>>| {
        let runner = Scripted::answering(answers);
        let states = Client::new(Kind::Pbs, &runner, &[("TZ".into(), "UTC".into())]).states(1, "u");
        (states.map(|states| states.len()), runner.seen())
    };
    let (listed, seen) = states(vec![
        failed(2, unknown),
        Scripted::says("Job Id:\t7\n\tjob_state = R\n"),
    ]);
    assert_eq!(listed.unwrap(), 1);
    assert_eq!(seen, ["TZ=UTC qstat -t -f", "TZ=UTC qstat -f"]);
    assert_eq!(states(vec![failed(2, unknown), failed(153, "")]).0.unwrap(), 0);
    // A server that is down is not asked twice.
    let (listed, seen) = states(vec![failed(111, "Connection refused")]);
    assert_eq!(listed.unwrap_err().code(), "HV5002");
    assert_eq!(seen.len(), 1);
}

#[test]
fn commands_that_are_not_on_path_are_found_where_the_slot_has_them() {
    let missing = Err(ExecError::NotFound {
        program: "qalter".to_owned(),
    });
    let runner = Scripted::answering([missing, Scripted::says("modified\n")]);
    let variables = [
        ("SGE_BINARY_PATH".into(), "/sge/bin".into()),
        ("TZ".into(), "UTC".into()),
    ];
    let client = Client::new(Kind::GridEngine, &runner, &variables);
    let said = client.ask(&Invocation::new("qalter").arg("7"));
    assert_eq!(said.as_deref(), Ok("modified\n"));
    assert!(runner.seen()[1].ends_with("/sge/bin/qalter 7"), "{:?}", runner.seen());
}
