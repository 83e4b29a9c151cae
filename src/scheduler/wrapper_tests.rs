use super::*;
use crate::diagnostic::Problem as _;

pub(crate) fn submission() -> Submission {
    Submission {
        name: Wish::or(None, "sum".to_owned()),
        tasks: "1-8:2%3".parse().ok(),
        slots: Wish::or(None, 2),
        memory: Wish::or(None, Bytes::mebibytes(640)),
        time: Some(Wish::or(Some(Duration::from_mins(90)), Duration::ZERO)),
        warning: Duration::from_secs(30),
        retries: 2,
        hold: false,
        script: Vec::new(),
        native: Vec::new(),
        launch: ["/opt/hpcvm/bin/hpcvm", "launch", "/home/u/it's here/.hpcvm/x/job.json"]
            .map(OsString::from)
            .into(),
    }
}

fn text(kind: Kind, submission: &Submission) -> String {
    let wrapper = submission.wrapper(kind.scheduler(), None).unwrap();
    String::from_utf8(wrapper.text)
        .unwrap()
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

fn with(kind: Kind, script: &str, native: &str) -> Submission {
    let read = |line: &str| kind.scheduler().read_options(line).unwrap();
    Submission {
        script: read(script),
        native: if native.is_empty() { Vec::new() } else { read(native) },
        ..submission()
    }
}

#[test]
fn grid_engine() {
    insta::assert_snapshot!(text(Kind::GridEngine, &submission()), @r"
    #!/bin/sh
    # A VM job of hpcvm VERSION. What it runs is in the job file that the last line names.
    #$ -S /bin/sh
    #$ -cwd
    # Tell the job before it is killed (SIGUSR2) and before it is stopped (SIGUSR1).
    #$ -notify
    #$ -N sum
    #$ -t 1-8:2
    #$ -tc 3
    #$ -pe smp 2
    # Not h_vmem: it limits addresses, of which a hypervisor reserves more than it uses.
    #$ -l mem_free=320M
    #$ -l h_rt=5400
    # A node that goes down does not take the job with it.
    #$ -r y
    exec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\''s here/.hpcvm/x/job.json'
    ");
}

#[test]
fn slurm() {
    insta::assert_snapshot!(text(Kind::Slurm, &submission()), @r"
    #!/bin/sh
    # A VM job of hpcvm VERSION. What it runs is in the job file that the last line names.
    #SBATCH --nodes=1
    #SBATCH --ntasks=1
    #SBATCH --job-name=sum
    #SBATCH --output=%x.o%A.%a
    #SBATCH --error=%x.e%A.%a
    # A job that is started again goes on with its output.
    #SBATCH --open-mode=append
    #SBATCH --array=1-8:2%3
    #SBATCH --cpus-per-task=2
    #SBATCH --mem=640M
    #SBATCH --time=90
    # Tell this script, which becomes the launcher, before the time is up. It may come a minute early.
    #SBATCH --signal=B:TERM@30
    #SBATCH --requeue
    exec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\''s here/.hpcvm/x/job.json'
    ");
}

#[test]
fn htcondor() {
    insta::assert_snapshot!(text(Kind::HtCondor, &submission()), @r#"
    # A VM job of hpcvm VERSION. What it runs is in the job file that the arguments name.
    universe = vanilla
    executable = /opt/hpcvm/bin/hpcvm
    arguments = "'launch' '/home/u/it''s here/.hpcvm/x/job.json'"
    transfer_executable = false
    should_transfer_files = NO
    environment = "HPCVM_CONDOR_CLUSTER=$(Cluster) HPCVM_CONDOR_PROCESS=$(Process)"
    # Tell the job before it is killed, and wait for it.
    kill_sig = SIGTERM
    job_max_vacate_time = 30
    batch_name = sum
    output = sum.o$(Cluster).$(Process)
    error = sum.e$(Cluster).$(Process)
    request_cpus = 2
    request_memory = 640
    allowed_job_duration = 5400
    # Only a failure of the node is worth another one.
    max_retries = 2
    retry_until = ExitCode =!= 122
    # The one that failed the job last may have it again when no other has taken it in two minutes.
    requirements = TARGET.Machine =!= split(MY.LastRemoteHost, "@")[1] || time() - MY.EnteredCurrentStatus > 120
    max_materialize = 3
    queue 4
    "#);
}

#[test]
fn lsf() {
    insta::assert_snapshot!(text(Kind::Lsf, &submission()), @r#"
    #!/bin/sh
    # A VM job of hpcvm VERSION. What it runs is in the job file that the last line names.
    # SIGUSR2 comes when the time is up, SIGINT and SIGTERM before a kill.
    #BSUB -L /bin/sh
    #BSUB -J "sum[1-8:2]%3"
    #BSUB -o sum.o%J.%I
    #BSUB -e sum.e%J.%I
    #BSUB -n 2
    #BSUB -R "span[hosts=1]"
    #BSUB -R "rusage[mem=640MB]"
    #BSUB -W 90
    # A node that fails the job is not tried again.
    #BSUB -Q "EXCLUDE(122)"
    exec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\''s here/.hpcvm/x/job.json'
    "#);
}

#[test]
fn pbs() {
    let submission = Submission {
        tasks: "1-8%3".parse().ok(),
        ..submission()
    };
    insta::assert_snapshot!(text(Kind::Pbs, &submission), @r"
    #!/bin/sh
    # A VM job of hpcvm VERSION. What it runs is in the job file that the last line names.
    # SIGTERM comes before the kill by itself.
    #PBS -S /bin/sh
    #PBS -N sum
    #PBS -t 1-8%3
    #PBS -l nodes=1:ppn=2
    #PBS -l mem=640mb
    #PBS -l walltime=1:30:00
    exec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\''s here/.hpcvm/x/job.json'
    ");
}

#[test]
fn local() {
    insta::assert_snapshot!(text(Kind::Local, &submission()), @r"
    #!/bin/sh
    # A VM job of hpcvm VERSION. What it runs is in the job file that the last line names.
    #HPCVM -N sum
    #HPCVM -t 1-8:2%3
    #HPCVM -n 2
    #HPCVM -W 5400
    exec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\''s here/.hpcvm/x/job.json'
    ");
}

#[test]
fn a_job_script_s_lines_pass_unless_the_command_line_says_otherwise() {
    let line = "-N own -t 1-4 -pe threads 8 -l h_rt=60,arch=lx-amd64 -S /bin/bash -q 'long one' -o out";
    let submission = Submission {
        tasks: None,
        time: None,
        ..with(Kind::GridEngine, line, "-P physics")
    };
    let wrapper = submission.wrapper(Kind::GridEngine.scheduler(), None).unwrap();
    assert_eq!(wrapper.tasks, "1-4".parse().ok());
    assert_eq!((wrapper.name.as_str(), wrapper.slots), ("own", Some(8)));
    assert_eq!(wrapper.time, Some(Duration::from_mins(1)));
    let options: Vec<String> = text(Kind::GridEngine, &submission)
        .lines()
        .filter(|line| line.starts_with("#$"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        options,
        [
            "#$ -S /bin/sh",
            "#$ -cwd",
            "#$ -notify",
            "#$ -N own",
            "#$ -t 1-4",
            "#$ -pe threads 8",
            "#$ -l h_rt=60,arch=lx-amd64",
            "#$ -q 'long one'",
            "#$ -o out",
            "#$ -l mem_free=320M",
            "#$ -r y",
            "#$ -P physics",
        ]
    );
    let overruled = Submission {
        name: Wish::or(Some("new".to_owned()), String::new()),
        ..with(Kind::GridEngine, line, "")
    };
    let wrapper = overruled.wrapper(Kind::GridEngine.scheduler(), None).unwrap();
    assert_eq!((wrapper.name.as_str(), wrapper.tasks), ("new", "1-8:2%3".parse().ok()));
    let text = text(Kind::GridEngine, &overruled);
    assert!(
        !text.contains("-N own") && !text.contains("-t 1-4") && text.contains("#$ -N new"),
        "{text}"
    );
}

#[test]
fn two_names_for_one_thing_are_refused() {
    for (kind, native, ours) in [
        (Kind::GridEngine, "-t 1-4", "-t"),
        (Kind::GridEngine, "-q long -l h_rt=60", "--time"),
        (Kind::Slurm, "--array=1-4", "-t"),
        (Kind::Slurm, "-t 60", "--time"),
        (Kind::Pbs, "-l walltime=1:0:0", "--time"),
        (Kind::Lsf, "-W 10", "--time"),
        (Kind::HtCondor, "queue 4", "-t"),
    ] {
        let submission = Submission {
            tasks: "1-8".parse().ok(),
            ..with(kind, "x = 1", native)
        };
        let submission = Submission {
            script: Vec::new(),
            ..submission
        };
        match submission.wrapper(kind.scheduler(), None).unwrap_err() {
            SchedulerError::Conflict { ours: found, theirs } => {
                assert_eq!(found, ours, "{kind}: {native}");
                assert!(theirs.starts_with("--native '"), "{theirs}");
            }
            other => panic!("{kind}: {other}"),
        }
    }
}

#[test]
fn arrays_that_a_scheduler_cannot_have_are_refused() {
    for (kind, tasks) in [
        (Kind::GridEngine, "0-3"),
        (Kind::GridEngine, "1,4"),
        (Kind::Pbs, "1-9:2"),
        (Kind::Lsf, "0-3"),
    ] {
        let submission = Submission {
            tasks: tasks.parse().ok(),
            ..submission()
        };
        let error = submission.wrapper(kind.scheduler(), None).unwrap_err();
        assert_eq!(error.code(), "HV5007", "{kind} {tasks}");
    }
}

#[test]
fn names_that_would_be_options_or_lines_are_refused() {
    for name in ["", "-t", "a b", "a\nexec sh", "1st", "$(id)", &"x".repeat(65)] {
        let submission = Submission {
            name: Wish::or(Some(name.to_owned()), String::new()),
            ..submission()
        };
        let error = submission.wrapper(Kind::Slurm.scheduler(), None).unwrap_err();
        assert_eq!(error.code(), "HV5008", "{name:?}");
    }
}

#[test]
fn a_site_may_have_its_own_template() {
    let site = tempfile::tempdir().unwrap();
    let path = site.path().join("slurm.sh");
    let scheduler = Kind::Slurm.scheduler();
    std::fs::write(
        &path,
        "#!/bin/sh\n#SBATCH -A {{ name }}\nmodule load qemu\nexec {{ launch }}\n",
    )
    .unwrap();
    let wrapper = submission().wrapper(scheduler, Some(site.path())).unwrap();
    assert_eq!(
        String::from_utf8(wrapper.text).unwrap(),
        "#!/bin/sh\n#SBATCH -A sum\nmodule load qemu\nexec /opt/hpcvm/bin/hpcvm launch '/home/u/it'\\''s here/.hpcvm/x/job.json'\n"
    );
    for (bad, why) in [
        ("{{ nmae }} {{ launch }}", "undefined"),
        ("{% if", "unexpected"),
        ("true", "{{ launch }}"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = submission().wrapper(scheduler, Some(site.path())).unwrap_err();
        assert_eq!(error.code(), "HV5009");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(
        submission()
            .wrapper(Kind::GridEngine.scheduler(), Some(site.path()))
            .is_ok()
    );
}

#[test]
fn an_array_of_a_thousand_tasks_is_one_wrapper() {
    let submission = Submission {
        tasks: "1-1000%50".parse().ok(),
        ..submission()
    };
    for kind in Kind::ALL {
        let wrapper = submission.wrapper(kind.scheduler(), None).unwrap();
        assert!(wrapper.text.len() < 2000, "{kind}");
        assert_eq!(wrapper.tasks.map(|tasks| tasks.count()), Some(1000), "{kind}");
    }
}

#[test]
fn a_real_shell_runs_the_last_line_as_it_was_meant() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = OsStr::from_bytes(b"a 'b' \"c\" $HOME `id` \n\\ \xff.json");
    for kind in [Kind::GridEngine, Kind::Slurm, Kind::Pbs, Kind::Lsf, Kind::Local] {
        let submission = Submission {
            tasks: "1-8".parse().ok(),
            launch: vec!["/usr/bin/printf".into(), "%s|".into(), "launch".into(), odd.to_owned()],
            ..submission()
        };
        let wrapper = submission.wrapper(kind.scheduler(), None).unwrap();
        let path = folder.path().join("wrapper");
        std::fs::write(&path, wrapper.text).unwrap();
        let output = std::process::Command::new("sh").arg(&path).output().unwrap();
        assert_eq!(output.stdout, [b"launch|", odd.as_bytes(), b"|"].concat(), "{kind}");
        assert!(output.stderr.is_empty(), "{kind}");
    }
}
