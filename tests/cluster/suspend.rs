//! Suspension by the schedulers: the VM is paused, and goes on.

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, wait_until};
use super::site::{BOTH, Site};

#[test]
fn a_suspended_job_stands_still_and_goes_on() {
    let test = "a_suspended_job_stands_still_and_goes_on";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Both).nodes(1)) else {
        return;
    };
    for scheduler in BOTH {
        // Its time limit is shorter than the pause and the run together.
        let script = "for i in $(seq 60); do echo $i; sleep 0.1; done; exit 5";
        // Both schedulers' first jobs have the number 1.
        let options = ["--timing-log", "--timeout", "16s", "--name", scheduler];
        let job = site.submit(scheduler, &options, script);
        let output = || site.file(&format!("{scheduler}.o{job}"));
        wait_until("the job runs", || output().lines().count() > 3);
        let (suspend, resume) = match scheduler {
            "slurm" => (format!("scontrol suspend {job}"), format!("scontrol resume {job}")),
            _ => (format!("qmod -sj {job}"), format!("qmod -usj {job}")),
        };
        site.cluster.shell(ROOT, HEAD, &suspend);
        let states = "for p in $(pgrep qemu-system); do sed 's/.*) //' /proc/$p/stat | cut -c 1; done";
        wait_until("the hypervisor is stopped", || {
            // T: stopped by a signal. Slurm with control groups would freeze it.
            site.cluster.shell(ROOT, "node1", states).trim() == "T"
        });
        std::thread::sleep(std::time::Duration::from_secs(1));
        let before = output();
        std::thread::sleep(std::time::Duration::from_secs(12));
        assert_eq!(output(), before, "{scheduler}: nothing runs");
        site.cluster.shell(ROOT, HEAD, &resume);
        site.wait_for_state(scheduler, &job, "1 with 5");
        let end = output();
        assert_eq!(end.lines().count(), 60, "{scheduler}: {end}");
        wait_until("the log has heard of the end", || {
            site.said(&["log", &job]).contains("slot-ended")
        });
        let explained = site.said(&["explain", &job]);
        assert!(
            explained.contains("the VM was paused") && explained.contains("the VM went on"),
            "{explained}"
        );
        site.cluster.shell(USER_A, HEAD, "rm -rf .local/state/hpcvm/log");
        site.cluster.shell(ROOT, HEAD, "pkill -f '[l]og serve'; true");
    }
}
