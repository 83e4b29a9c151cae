//! Nodes that fail a job: another one has it, and not for ever.

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, wait_until};
use super::site::{BOTH, Site};

/// A job that stands still the first time, and says so when it is started again.
const SECOND_TIME: &str =
    "[ \"${RESTARTED:-${SLURM_RESTART_COUNT:-0}}\" = 0 ] || { echo again; exit 6; }; echo up; sleep 1000";

#[test]
fn a_node_that_fails_is_left_for_another_and_not_for_ever() {
    let options = Options::new(Scheduler::Both).nodes(2);
    let Some(site) = Site::start_or_skip("a_node_that_fails_is_left_for_another_and_not_for_ever", &options) else {
        return;
    };
    for scheduler in BOTH {
        // No node has this folder, so that each fails the job.
        let options = [
            "--timing-log",
            "--stage",
            "always",
            "--node-cache",
            "/no/such/disk",
            "--retries",
            "1",
            "-t",
            "3-3",
        ];
        let job = site.submit(scheduler, &options, "echo here");
        wait_until("the retry was over", || {
            start_now(&site, scheduler, &job);
            let told = site.said(&["ps", "--scheduler", scheduler, &job]);
            told.contains("1 with 122")
        });
        wait_until("the log has heard of both", || {
            site.said(&["log", &job]).matches("slot-ended").count() == 2
        });
        let explained = site.said(&["explain", &job]);
        assert_eq!(
            explained.matches("asked to try again elsewhere").count(),
            2,
            "{explained}"
        );
        // The second time it was on the other.
        let tries = [("node1", "node2"), ("node2", "node1")].map(|(first, second)| {
            explained.contains(&format!("task 3, on {first}"))
                && explained.contains(&format!("task 3, attempt 2, on {second}"))
                && explained.contains(&format!("; it is to leave out {first}"))
        });
        assert!(tries[0] || tries[1], "{explained}");
        // There is one other node, and none besides.
        assert!(explained.contains("it is to leave out node"), "{explained}");
        assert!(explained.contains("(the node's fault)"), "{explained}");
        site.cluster.shell(USER_A, HEAD, "rm -rf .local/state/hpcvm/log");
        site.cluster.shell(ROOT, HEAD, "pkill -f '[l]og serve'; true");
    }
}

/// Lets `node` have jobs of both schedulers, or no more.
fn open(site: &Site, node: &str, is_open: bool) {
    let (gridengine, slurm) = if is_open {
        ("-e", "resume")
    } else {
        ("-d", "drain reason=test")
    };
    let line = format!("qmod {gridengine} main.q@{node}; scontrol update nodename={node} state={slurm}");
    site.cluster.shell(ROOT, HEAD, &line);
}

/// Slurm lets a job that was taken back wait for two minutes, unless it is told otherwise. It must not be told so at once: a
/// node refuses a job's second try in the second of the first one's end ("Job credential revoked").
fn start_now(site: &Site, scheduler: &str, job: &str) {
    if scheduler == "slurm" {
        let now = format!(
            "if [ \"$(squeue --noheader --job {job} --format %T)\" = PENDING ]; then
                 sleep 3; scontrol update jobid={job} StartTime=now; fi"
        );
        site.cluster.exec_as(ROOT, HEAD, ["bash", "-c", &now]);
    }
}

/// Waits for a job that was taken back to end in `state`.
#[track_caller]
fn wait_for_second_try(site: &Site, scheduler: &str, job: &str, state: &str) {
    let mut last = String::new();
    wait_until(&format!("{scheduler}: {state}"), || {
        start_now(site, scheduler, job);
        let now = site.said(&["ps", "--scheduler", scheduler, job]);
        if now != last {
            eprintln!("{now}");
            last = now;
        }
        assert!(
            !last.contains("1 with 122"),
            "{scheduler} was not asked, or did not hear"
        );
        last.contains(state)
    });
}

#[test]
fn another_node_has_the_job_when_one_fails_it() {
    let options = Options::new(Scheduler::Both).nodes(2);
    let Some(site) = Site::start_or_skip("another_node_has_the_job_when_one_fails_it", &options) else {
        return;
    };
    // The disk for images is on one node only, and the other is the first to be asked.
    site.cluster.shell(ROOT, "node2", "mkdir -m 1777 /var/tmp/disk");
    open(&site, "node2", false);
    let jobs = BOTH.map(|scheduler| {
        let options = ["--timing-log", "--stage", "always", "--node-cache", "/var/tmp/disk"];
        // Grid Engine may well choose the same node again, until that is closed.
        let more = ["--retries", "20", "--name", scheduler];
        let job = site.submit(scheduler, &[&options[..], &more].concat(), "echo here");
        wait_until("the node has failed the job", || {
            site.file(&format!("{scheduler}.e{job}")).contains("asking for another")
        });
        (scheduler, job)
    });
    open(&site, "node1", false);
    open(&site, "node2", true);
    for (scheduler, job) in &jobs {
        wait_for_second_try(&site, scheduler, job, "1 done");
        assert_eq!(site.file(&format!("{scheduler}.o{job}")), "here\n");
    }
    for scheduler in BOTH {
        let explained = site.said(&["explain", &site.key(scheduler)]);
        // The other node was closed when the first failed it: the job might have waited for ever.
        let alone = "it may choose the same node again: no other node is up that has node1's size";
        for words in ["the job, on node1", "attempt 2, on node", alone] {
            assert!(explained.contains(words), "{explained}");
        }
    }

    // The node's memory is used up, so that it kills the hypervisor.
    for scheduler in BOTH {
        let name = format!("killed-{scheduler}");
        let job = site.submit(scheduler, &["--name", &name], SECOND_TIME);
        wait_until("the job runs", || site.file(&format!("{name}.o{job}")) == "up\n");
        site.cluster.shell(ROOT, "node2", "pkill -KILL qemu-system");
        wait_until("the node is blamed", || {
            site.file(&format!("{name}.e{job}")).contains("asking for another")
        });
        wait_for_second_try(&site, scheduler, &job, "1 with 6");
        assert_eq!(site.file(&format!("{name}.o{job}")), "up\nagain\n");
        let told = site.file(&format!("{name}.e{job}"));
        assert!(told.contains("error[HV4107]"), "{told}");
    }

    // The node loses power.
    let jobs = BOTH.map(|scheduler| {
        let name = format!("power-{scheduler}");
        let job = site.submit(scheduler, &["--name", &name], SECOND_TIME);
        wait_until("the job runs", || site.file(&format!("{name}.o{job}")) == "up\n");
        (scheduler, name, job)
    });
    site.cluster.crash("node2");
    open(&site, "node1", true);
    for (scheduler, name, job) in jobs {
        wait_for_second_try(&site, scheduler, &job, "1 with 6");
        assert_eq!(site.file(&format!("{name}.o{job}")), "up\nagain\n");
    }
    assert!(site.traces_on("node1").is_empty());
}
