//! Warm starts of submitted jobs: the tasks of a node share a template, and end like others.

use hpcvm::exec::Host;
use hpcvm::hypervisor::qemu_version::too_old_to_save;

use super::harness::{Options, Scheduler, skip, wait_until};
use super::site::{BOTH, Site};

/// A job that says when it is told to end.
const TRAP: &str = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn tasks_of_a_node_share_a_template_and_are_killed_like_others() {
    let test = "tasks_of_a_node_share_a_template_and_are_killed_like_others";
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    if let Some(version) = too_old_to_save(&host, "qemu-system-i386") {
        return skip(
            test,
            &format!("needs QEMU 8.2 or later to save machines, this is {version}"),
        );
    }
    let options = Options::new(Scheduler::Both)
        .nodes(1)
        .with("--gridengine-notify", "30")
        .with("--slurm-kill-wait", "30");
    let Some(site) = Site::start_or_skip(test, &options) else {
        return;
    };
    let mut templates = 0;
    for scheduler in BOTH {
        let options = [
            "--start",
            "warm",
            "-t",
            "1-4",
            "--timing-log",
            "--wait",
            "--name",
            scheduler,
        ];
        let job = site.submit(scheduler, &options, "echo here");
        let log = || site.said(&["log", &site.key(scheduler)]);
        wait_until("all slots have told of their end", || {
            log().matches("\"slot-ended\"").count() == 4
        });
        let log = log();
        let count = |moment: &str| log.matches(&format!("\"event\":\"{moment}\"")).count();
        let (made, restored, failed) = (count("template-made"), count("restored"), count("restore-failed"));
        // A host that is too busy has a machine boot after all, and the template made anew.
        assert!(
            restored > 0 && restored + count("guest-ready") == 4,
            "{scheduler}: {log}"
        );
        assert!(made <= 1 + failed, "{scheduler}: {log}");
        templates += made;
        for task in 1..=4 {
            assert_eq!(site.file(&format!("{scheduler}.o{job}.{task}")), "here\n");
        }
        let explained = site.said(&["explain", &site.key(scheduler)]);
        assert!(explained.contains("the restored machine reported"), "{explained}");
        assert!(
            site.said(&["timeline", &site.key(scheduler)]).contains("restore"),
            "{scheduler}"
        );

        let name = format!("killed-{scheduler}");
        let job = site.submit(scheduler, &["--start", "warm", "--name", &name], TRAP);
        wait_until("the job runs", || site.file(&format!("{name}.o{job}")) == "up\n");
        site.said(&["kill", "--scheduler", scheduler, &job]);
        site.wait_for_state(scheduler, &job, "1 with 7");
        assert_eq!(site.file(&format!("{name}.o{job}")), "up\ntold\n");
        site.wait_until_clean(1);
    }
    assert!(templates > 0, "the first task made a template");
}
