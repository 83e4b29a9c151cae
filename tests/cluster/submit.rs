//! `hpcvm submit` through the real schedulers: VMs in slots of nodes.

use std::fs;

use super::harness::{Options, Scheduler, USER_A, text, wait_until};
use super::site::{BOTH, Site};

#[test]
fn arrays_run_their_vms_and_a_deleted_job_is_told() {
    let Some(site) = Site::start_or_skip(
        "arrays_run_their_vms_and_a_deleted_job_is_told",
        &Options::new(Scheduler::Both).nodes(2),
    ) else {
        return;
    };
    for scheduler in BOTH {
        site.cluster.write(
            USER_A,
            "job.sh",
            "#!/bin/sh\n#$ -t 2-3 -N gridengine\n#SBATCH --array=2-3 --job-name=slurm\n\
             echo $((HPCVM_TASK_ID + HPCVM_VM_INDEX)) \"$1\"; exit $HPCVM_VM_INDEX\n",
        );
        let odd = "a  'b' $HOME\n`id`";
        let submit = [
            "submit",
            "--scheduler",
            scheduler,
            "--vms-per-slot",
            "2",
            "--stage",
            "always",
        ];
        let line = [&submit[..], &["--wait", "minimal-i386", "job.sh", "--", odd]].concat();
        let output = site.hpcvm(&line);
        assert_eq!(output.status.code(), Some(1), "{scheduler}: {}", text(&output.stderr));
        let job = text(&output.stdout).trim().to_owned();
        for (task, vm) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
            let said = site.file(&format!("{scheduler}.o{job}.{task}.vm{vm}"));
            let complaint = site.file(&format!("{scheduler}.e{job}.{task}"));
            assert_eq!(
                said,
                format!("{} {odd}\n", task + vm),
                "{scheduler} {task} {vm}: {complaint}"
            );
        }
        // The scheduler may need a moment to let go of the last task.
        wait_until("both tasks have failed", || {
            site.said(&["ps", "--scheduler", scheduler, &job]).contains("2 failed")
        });

        let name = format!("trap-{scheduler}");
        let trap = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done";
        let line = [
            "submit",
            "--scheduler",
            scheduler,
            "--name",
            &name,
            "minimal-i386",
            "--",
            "sh",
            "-c",
            trap,
        ];
        let job = site.said(&line).trim().to_owned();
        wait_until("the job runs", || site.file(&format!("{name}.o{job}")) == "up\n");
        site.said(&["kill", "--scheduler", scheduler, &job]);
        wait_until("the job has ended", || {
            site.said(&["ps", "--scheduler", scheduler, &job]).contains("1 with 7")
        });
        assert_eq!(site.file(&format!("{name}.o{job}")), "up\ntold\n", "{scheduler}");
    }
}

#[test]
fn a_thousand_tasks_are_one_job_and_refusals_leave_nothing() {
    let Some(site) = Site::start_or_skip(
        "a_thousand_tasks_are_one_job_and_refusals_leave_nothing",
        &Options::new(Scheduler::Both).nodes(2),
    ) else {
        return;
    };
    let folders = || {
        let entries = fs::read_dir(site.cluster.home(USER_A).join(".hpcvm"));
        entries.map_or(0, Iterator::count)
    };
    for (count, scheduler) in BOTH.into_iter().enumerate() {
        let submit = [
            "submit",
            "--scheduler",
            scheduler,
            "-t",
            "1-1000%2",
            "--hold",
            "minimal-i386",
            "--",
            "true",
        ];
        let job = site.said(&submit).trim().to_owned();
        assert_eq!(folders(), count + 1, "one folder for all tasks");
        assert!(
            site.said(&["ps", "--scheduler", scheduler]).contains("1000 held"),
            "{scheduler}"
        );
        site.said(&["kill", "--scheduler", scheduler, &job]);
        wait_until("all tasks are gone", || {
            site.said(&["ps", "--scheduler", scheduler, &job])
                .contains("1000 deleted")
        });
    }
    for (scheduler, native, words) in [
        ("gridengine", "-q nowhere", "nowhere"),
        ("slurm", "--partition=nowhere", "invalid partition"),
    ] {
        let line = [
            "submit",
            "--scheduler",
            scheduler,
            "--native",
            native,
            "minimal-i386",
            "--",
            "true",
        ];
        let output = site.hpcvm(&line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(120), "{said}");
        assert!(said.contains("error[HV5003]") && said.contains(words), "{said}");
    }
    assert_eq!(folders(), 2, "refused jobs leave nothing");
}

#[test]
fn the_pbs_dialect_is_taken_by_slurm_s_commands() {
    let test = "the_pbs_dialect_is_taken_by_slurm_s_commands";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Pbs).nodes(2)) else {
        return;
    };
    let array = site.submit("pbs", &["--name", "array", "-t", "1-2"], "echo task $HPCVM_TASK_ID");
    let trap = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let job = site.submit("pbs", &["--name", "told"], trap);
    // These commands heed no `#PBS -o`, and put all tasks of an array into one file.
    wait_until("the job runs", || site.file(&format!("wrapper.o{job}")) == "up\n");
    site.wait_for_state("pbs", &job, "1 running");
    site.said(&["kill", "--scheduler", "pbs", &job]);
    site.wait_for_state("pbs", &job, "1 with 7");
    assert_eq!(site.file(&format!("wrapper.o{job}")), "up\ntold\n");
    site.wait_for_state("pbs", &array, "2 done");
    let said = site.file(&format!("wrapper.o{array}"));
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["task 1", "task 2"]);

    // Two nodes of two slots: one of five tasks waits. Those that run are jobs of other numbers to these commands.
    let name = ["--name", "five", "-t", "1-5", "--timing-log"];
    let five = site.submit("pbs", &name, "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done");
    site.wait_for_state("pbs", &five, "4 running, 1 waiting");
    let output = format!("wrapper.o{five}");
    wait_until("four jobs run", || site.file(&output).matches("up").count() == 4);
    let all = site.said(&["ps", "--scheduler", "pbs"]);
    assert!(all.contains("2 done") && all.contains("1 failed"), "{all}");
    // Their `qdel` cannot delete one task: nothing may be deleted then.
    let refused = site.hpcvm(&["kill", "--scheduler", "pbs", &format!("{five}.2")]);
    let said = text(&refused.stderr);
    assert!(
        said.contains("error[HV5003]") && said.contains("Unknown option: t"),
        "{said}"
    );
    site.wait_for_state("pbs", &five, "4 running, 1 waiting");
    site.said(&["kill", "--scheduler", "pbs", &five]);
    // The one that waited never began.
    site.wait_for_state("pbs", &five, "1 deleted, 4 failed");
    let explained = site.said(&["explain", &five]);
    for words in [
        "task 2, on node",
        "SIGTERM came",
        "exited with status 7",
        "task 4, on node",
    ] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
    site.wait_until_clean(2);
}
