//! Nodes lose power and come back; clusters end however they end, and leave nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::{Cluster, HEAD, Options, ROOT, Scheduler, USER_A, wait_until};

#[test]
fn jobs_of_a_node_that_lost_power_run_elsewhere() {
    let test = "jobs_of_a_node_that_lost_power_run_elsewhere";
    let Some(cluster) = Cluster::start_or_skip(test, &Options::new(Scheduler::Both).nodes(2)) else {
        return;
    };
    let job = "#!/bin/sh\nhostname >> $1.nodes\necho > /var/tmp/of-$1\nexec sleep 300\n";
    cluster.write(USER_A, "job.sh", job);
    let nodes = |name: &str| -> Vec<String> {
        let said = fs::read_to_string(cluster.home(USER_A).join(name)).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    };
    cluster.shell(
        USER_A,
        HEAD,
        "qsub -r y -q main.q@node1 -j y -o /dev/null job.sh gridengine",
    );
    cluster.shell(USER_A, HEAD, "sbatch --requeue -o /dev/null job.sh slurm");
    wait_until("both jobs run", || {
        !nodes("gridengine.nodes").is_empty() && !nodes("slurm.nodes").is_empty()
    });
    let slurm_on = nodes("slurm.nodes")[0].clone();

    // Both lose their node: Grid Engine's first, for it may only run on node1 and so waits for it.
    cluster.crash("node1");
    if slurm_on != "node1" {
        cluster.crash(&slurm_on);
    }
    let down = cluster.exec_as(ROOT, "node1", ["true"]);
    assert!(!down.status.success(), "a node without power answers");
    wait_until("Slurm takes the job back", || {
        cluster
            .shell(ROOT, HEAD, "squeue --noheader --format=%T")
            .contains("PENDING")
            || nodes("slurm.nodes").len() == 2
    });
    cluster.reboot("node1");
    if slurm_on != "node1" {
        cluster.reboot(&slurm_on);
    }
    // What was on the node's disk is there, what was in its memory is not.
    assert_eq!(
        cluster.shell(ROOT, "node1", "ls /var/tmp/of-gridengine; ls /tmp | wc -l"),
        "/var/tmp/of-gridengine\n1\n"
    );
    cluster.shell(ROOT, HEAD, "scontrol update jobid=1 StartTime=now || true");
    wait_until("Slurm starts the job again", || nodes("slurm.nodes").len() == 2);
    wait_until("Grid Engine starts the job again", || {
        nodes("gridengine.nodes").len() == 2
    });
}

/// Processes of this host that belong to the cluster in `folder`: its mounts are before their eyes.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let ids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo")).unwrap_or_default();
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (mounts.contains(folder) || line.contains(folder)).then(|| format!("{id} {line}"))
    })
    .collect()
}

/// The control group that all jobs of the cluster are below.
fn freezer(folder: &Path) -> PathBuf {
    let said = fs::read_to_string(folder.join("cluster.conf")).unwrap();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("declare -g FREEZER="))
        .unwrap();
    line.trim_matches('"').into()
}

#[test]
fn a_cluster_leaves_nothing_however_it_ends() {
    let test = "a_cluster_leaves_nothing_however_it_ends";
    let options = Options::new(Scheduler::Slurm)
        .nodes(2)
        .with("--slurm-proctrack", "cgroup");
    for killed in [false, true] {
        let Some(mut cluster) = Cluster::start_or_skip(test, &options) else {
            return;
        };
        cluster.write(USER_A, "job.sh", "#!/bin/sh\nsetsid sleep 1000 &\nexec sleep 1000\n");
        let id = cluster.shell(USER_A, HEAD, "sbatch --parsable -o out job.sh");
        wait_until("the job runs", || cluster.home(USER_A).join("out").exists());
        // A frozen process could not even die.
        cluster.shell(ROOT, HEAD, &format!("scontrol suspend {}", id.trim()));
        let folder = cluster.path().to_owned();
        assert!(processes(&folder).len() > 5, "{:?}", processes(&folder));
        let freezer = freezer(&folder);
        assert!(freezer.exists());
        if killed {
            cluster.kill();
            wait_until("all processes are gone", || processes(&folder).is_empty());
            cluster.clear();
        }
        drop(cluster);
        assert_eq!(processes(&folder), [""; 0]);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(folder.to_str().unwrap()));
        assert!(!freezer.exists() && !folder.exists());
    }
}
