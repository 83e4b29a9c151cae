//! What launches tell the timing log, through real schedulers.

use super::harness::{HEAD, Options, ROOT, Scheduler, wait_until};
use super::site::{BOTH, Site};

/// What every VM of a job that went well has told.
const MOMENTS: [&str; 11] = [
    "staged",
    "cloned",
    "hypervisor-started",
    "init-started",
    "guest-ready",
    "job-started",
    "first-output",
    "job-ended",
    "powered-off",
    "discarded",
    "slot-ended",
];

#[test]
fn every_vm_of_an_array_tells_all_its_moments() {
    let test = "every_vm_of_an_array_tells_all_its_moments";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Both).nodes(2)) else {
        return;
    };
    for scheduler in BOTH {
        let options = ["-t", "1-4", "--vms-per-slot", "2", "--timing-log", "--stage", "always"];
        let more = ["--start", "cold", "--wait", "--name", scheduler];
        let job = site.submit(scheduler, &[&options[..], &more].concat(), "echo here");
        let log_of_all = || site.said(&["log", &site.key(scheduler)]);
        // A slot tells of its end after its status is known.
        wait_until("all slots have told of their end", || {
            log_of_all().matches("slot-ended").count() == 4
        });
        let log = log_of_all();
        for moment in MOMENTS {
            let told = log
                .lines()
                .filter(|line| line.contains(&format!("\"event\":\"{moment}\"")))
                .count();
            // A slot tells of its image, too.
            let expected = match moment {
                "slot-ended" => 4,
                "staged" => 12,
                _ => 8,
            };
            if moment == "init-started" {
                // It is known in the guest's time, which is of no use where a busy host misled the guest.
                assert!((1..=8).contains(&told), "{scheduler}: {moment}: {told}\n{log}");
            } else {
                assert_eq!(told, expected, "{scheduler}: {moment}\n{log}");
            }
        }
        let timeline = site.said(&["timeline", &site.key(scheduler)]);
        assert!(timeline.contains("4 slots, 8 VMs"), "{timeline}");
        assert!(timeline.contains("from submit to the job's first output"), "{timeline}");
        let explained = site.said(&["explain", &site.key(scheduler)]);
        assert!(
            explained.contains("every VM that was started ended and was discarded"),
            "{explained}"
        );
        for (task, vm) in [(1, 0), (1, 1), (4, 0), (4, 1)] {
            assert_eq!(site.file(&format!("{scheduler}.o{job}.{task}.vm{vm}")), "here\n");
        }
    }
}

#[test]
fn a_logger_that_is_gone_changes_nothing() {
    let Some(site) = Site::start_or_skip(
        "a_logger_that_is_gone_changes_nothing",
        &Options::new(Scheduler::Slurm).nodes(1),
    ) else {
        return;
    };
    let run = || site.submit("slurm", &["--timing-log", "--hold"], "echo here; exit 3");
    let job = run();
    site.cluster.shell(ROOT, HEAD, "pkill -KILL -f '[l]og serve'");
    site.cluster.shell(ROOT, HEAD, &format!("scontrol release {job}"));
    site.wait_for_state("slurm", &job, "1 with 3");
    wait_until("the output is there", || site.file(&format!("sh.o{job}")) == "here\n");
    // The next submission starts another on the same folder.
    let job = run();
    site.cluster.shell(ROOT, HEAD, &format!("scontrol release {job}"));
    site.wait_for_state("slurm", &job, "1 with 3");
    wait_until("the log has heard of its end", || {
        site.said(&["log", &job]).contains("slot-ended")
    });
}
