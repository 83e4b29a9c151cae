//! Plain shell jobs from submission to their output, through both schedulers.

use std::collections::BTreeSet;
use std::fs;

use super::harness::{Cluster, HEAD, Options, ROOT, Scheduler, USER_A, USER_B, text, wait_until};

/// Output of the jobs NAME.* in the home of [`USER_A`], once there are `count` that end with a line.
fn outputs(cluster: &Cluster, name: &str, count: usize) -> Vec<String> {
    let mut outputs = Vec::new();
    wait_until(&format!("{count} outputs of {name}"), || {
        let files = fs::read_dir(cluster.home(USER_A)).unwrap().map(Result::unwrap);
        let files = files.filter(|file| text(file.file_name().as_encoded_bytes()).starts_with(&format!("{name}.")));
        outputs = files.map(|file| fs::read_to_string(file.path()).unwrap()).collect();
        outputs.retain(|output| output.ends_with('\n'));
        outputs.len() == count
    });
    outputs
}

#[test]
fn both_schedulers_run_jobs_on_the_same_nodes() {
    let test = "both_schedulers_run_jobs_on_the_same_nodes";
    let Some(cluster) = Cluster::start_or_skip(test, &Options::new(Scheduler::Both)) else {
        return;
    };
    let job = "#!/bin/sh\nsleep 1\necho $(hostname) $(id -un) $(ps -e | wc -l) ${SGE_TASK_ID:-$SLURM_ARRAY_TASK_ID}\nexit 7\n";
    cluster.write(USER_A, "job.sh", job);
    for (name, line) in [
        ("gridengine", "qsub -terse -t 1-8 -j y -o 'gridengine.$TASK_ID' job.sh"),
        ("slurm", "sbatch --parsable --array=1-8 -o slurm.%a job.sh"),
    ] {
        let id = cluster.shell(USER_A, HEAD, line);
        let id = id.trim().split('.').next().unwrap();
        let outputs = outputs(&cluster, name, 8);
        let mut nodes = BTreeSet::new();
        let mut tasks = BTreeSet::new();
        for output in &outputs {
            let words: Vec<_> = output.split_whitespace().collect();
            assert!(words[0].starts_with("node") && words[1] == USER_A, "{output}");
            // The host has hundreds; a node has the schedulers' daemons and two tasks at most.
            assert!(words[2].parse::<u32>().unwrap() < 40, "{output}");
            nodes.insert(words[0].to_owned());
            tasks.insert(words[3].parse::<u32>().unwrap());
        }
        assert!(nodes.len() >= 4, "{nodes:?}");
        assert_eq!(tasks, (1..=8).collect());

        // The status that the job ended with is on record.
        let record = match name {
            "gridengine" => format!("qacct -j {id} 2>/dev/null | grep -c '^exit_status  *7 ' || true"),
            _ => format!("scontrol show job {id} | grep -c 'ExitCode=7:0' || true"),
        };
        wait_until("the job is on record", || {
            cluster.shell(ROOT, HEAD, &record).trim() == "8"
        });
    }
}

#[test]
fn nodes_share_homes_and_nothing_else() {
    let options = Options::new(Scheduler::Slurm).nodes(2);
    let Some(cluster) = Cluster::start_or_skip("nodes_share_homes_and_nothing_else", &options) else {
        return;
    };
    for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
        cluster.shell(USER_A, "node1", &format!("echo here > {folder}/own-file"));
        let there = cluster.exec_as(USER_A, "node2", ["ls", &format!("{folder}/own-file")]);
        assert!(!there.status.success(), "{folder} is shared");
    }
    cluster.shell(USER_A, "node1", "echo from node1 > file");
    assert_eq!(
        cluster.shell(USER_A, "node2", "hostname; cat file"),
        "node2\nfrom node1\n"
    );
    let stolen = cluster.exec_as(
        USER_B,
        "node1",
        ["cat", cluster.home(USER_A).join("file").to_str().unwrap()],
    );
    assert!(text(&stolen.stderr).contains("Permission denied"));
    // Of the schedulers, only the cluster's are there.
    cluster.shell(USER_A, "node1", "! command -v qsub && command -v sbatch");
    // The host does not know the users.
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains(USER_A));
}

#[test]
fn an_ordinary_user_runs_qemu_and_hpcvm_on_a_node() {
    let options = Options::new(Scheduler::Slurm).nodes(1);
    let Some(cluster) = Cluster::start_or_skip("an_ordinary_user_runs_qemu_and_hpcvm_on_a_node", &options) else {
        return;
    };
    let line = "timeout 20 qemu-system-i386 -accel tcg -nographic -monitor none -serial stdio -net none \
                < /dev/null | grep -m 1 -o SeaBIOS";
    assert_eq!(cluster.shell(USER_B, "node1", line), "SeaBIOS\n");
    let hpcvm = cluster.install(env!("CARGO_BIN_EXE_hpcvm").as_ref());
    let said = cluster.exec_as(USER_B, "node1", [hpcvm.as_os_str(), "--version".as_ref()]);
    assert!(text(&said.stdout).starts_with("hpcvm "), "{said:?}");
}

#[test]
fn a_job_that_ends_with_99_runs_again() {
    let Some(cluster) = Cluster::start_or_skip(
        "a_job_that_ends_with_99_runs_again",
        &Options::new(Scheduler::Both).nodes(2),
    ) else {
        return;
    };
    let job = "#!/bin/sh\n[ -e $1.once ] || { touch $1.once; exit 99; }\n\
               echo again ${RESTARTED-} ${SLURM_RESTART_COUNT-}\n";
    cluster.write(USER_A, "job.sh", job);
    cluster.shell(USER_A, HEAD, "qsub -j y -o gridengine.out job.sh g");
    let id = cluster.shell(USER_A, HEAD, "sbatch --parsable -o slurm.out job.sh s");
    let id = id.trim();
    assert_eq!(outputs(&cluster, "gridengine", 1), ["again 1\n"]);
    // Slurm would wait for two minutes.
    let state = format!("scontrol show job {id}");
    wait_until("Slurm holds the job back", || {
        cluster.shell(ROOT, HEAD, &state).contains("Reason=BeginTime")
    });
    wait_until("Slurm starts the job", || {
        let line = format!("scontrol update jobid={id} StartTime=now");
        cluster.exec_as(USER_A, HEAD, ["sh", "-c", &line]).status.success()
    });
    assert_eq!(outputs(&cluster, "slurm", 1), ["again 1\n"]);
}

#[test]
fn the_pbs_commands_reach_slurm() {
    let options = Options::new(Scheduler::Pbs).nodes(2);
    let Some(cluster) = Cluster::start_or_skip("the_pbs_commands_reach_slurm", &options) else {
        return;
    };
    let job = "#!/bin/sh\n#PBS -l nodes=1:ppn=1,walltime=00:05:00\n#PBS -N named\n\
               echo $PBS_JOBNAME $PBS_JOBID $PBS_O_HOME\n";
    cluster.write(USER_A, "job.sh", job);
    let id = cluster.shell(USER_A, HEAD, "qsub -j oe -o pbs.out job.sh");
    let said = outputs(&cluster, "pbs", 1);
    assert_eq!(
        said,
        [format!("named {} {}\n", id.trim(), cluster.home(USER_A).display())]
    );
    let long = cluster.shell(
        USER_A,
        HEAD,
        "printf '#!/bin/sh\nsleep 100\n' > long.sh; qsub -N long long.sh",
    );
    let long = long.trim();
    let listed = cluster.shell(USER_A, HEAD, "qstat");
    assert!(listed.contains("long"), "{listed}");
    assert!(cluster.shell(USER_A, HEAD, "pbsnodes").contains("node2"));
    cluster.shell(USER_A, HEAD, &format!("qdel {long}"));
    wait_until("the job is gone", || {
        !cluster.shell(USER_A, HEAD, "squeue --noheader").contains("long")
    });
}
