//! Ends that schedulers, users and nodes bring about, in the four worlds of signals: the guest's job
//! hears of it, what it said is kept, and nothing is left on the node.

use super::harness::{HEAD, Options, ROOT, Scheduler, wait_until};
use super::site::Site;

/// A job that says when it is told to end.
const TRAP: &str = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done";

/// What a site that asks first might use: it tells all of the job, waits, and kills.
const ASKS_FIRST: &str = "#!/bin/sh\nkill -TERM -\"$1\"\ni=0\n\
     while [ $i -lt 80 ] && kill -0 -\"$1\" 2>/dev/null; do sleep 0.1; i=$((i+1)); done\nkill -KILL -\"$1\"\n";

fn slurm(proctrack: &str) -> Options {
    // Longer than hpcvm takes: a guest without KVM needs a second or two to power off.
    Options::new(Scheduler::Slurm)
        .nodes(1)
        .with("--slurm-proctrack", proctrack)
        .with("--slurm-kill-wait", "30")
}

fn gridengine() -> Options {
    Options::new(Scheduler::GridEngine)
        .nodes(1)
        .with("--gridengine-notify", "30")
}

/// Deletes jobs while they run and while they boot.
fn deletes(site: &Site, scheduler: &str) {
    let job = site.submit(scheduler, &["--timing-log", "--name", "running"], TRAP);
    wait_until("the job runs", || site.file(&format!("running.o{job}")) == "up\n");
    site.said(&["kill", "--scheduler", scheduler, &job]);
    site.wait_for_state(scheduler, &job, "1 with 7");
    assert_eq!(site.file(&format!("running.o{job}")), "up\ntold\n");
    site.wait_until_clean(1);
    wait_until("the log has heard of the end", || {
        site.said(&["log", &job]).contains("slot-ended")
    });
    let explained = site.said(&["explain", &job]);
    for words in ["came: the job was told to stop", "the job exited with status 7"] {
        assert!(explained.contains(words), "{scheduler}: {words}\n{explained}");
    }

    let job = site.submit(scheduler, &["--start", "cold", "--name", "booting"], TRAP);
    wait_until("the hypervisor runs", || site.traces(1).contains("qemu-system"));
    site.said(&["kill", "--scheduler", scheduler, &job]);
    site.wait_until_clean(1);
    assert_eq!(site.file(&format!("booting.o{job}")), "");
    wait_until("its end is told", || {
        let told = site.said(&["ps", "--scheduler", scheduler, &job]);
        told.contains("1 with 1") || told.contains("1 deleted")
    });
}

/// Kills a launcher outright: its VM dies with it, and the next launch tidies up.
fn outright(site: &Site, scheduler: &str) {
    let job = site.submit(scheduler, &["--name", "outright"], TRAP);
    wait_until("the job runs", || site.file(&format!("outright.o{job}")) == "up\n");
    site.cluster.shell(ROOT, "node1", "pkill -KILL -f '[h]pcvm launch'");
    wait_until("the hypervisor is gone", || !site.traces(1).contains("qemu-system"));
    wait_until("the job is seen to be lost", || {
        let told = site.said(&["ps", "--scheduler", scheduler, &job]);
        !told.contains("running") && !told.contains("ending")
    });
    let next = site.submit(scheduler, &["--name", "next"], "echo next; exit 4");
    site.wait_for_state(scheduler, &next, "1 with 4");
    site.wait_until_clean(1);
}

/// The node is shut down: whoever does that tells its processes, and the scheduler has not said a word.
fn told_by_the_node(site: &Site, scheduler: &str) {
    let job = site.submit(scheduler, &["--name", "shutdown"], TRAP);
    wait_until("the job runs", || site.file(&format!("shutdown.o{job}")) == "up\n");
    site.cluster.shell(ROOT, "node1", "pkill -TERM -f '[h]pcvm launch'");
    site.wait_for_state(scheduler, &job, "1 with 7");
    assert_eq!(site.file(&format!("shutdown.o{job}")), "up\ntold\n");
    site.wait_until_clean(1);
}

/// Both ways in which Slurm tells that a slot's time is up, at once: it looks every 30 s only.
fn slurm_time_limits(site: &Site) {
    let limited = [("warned", "4m", "30"), ("limited", "1m", "2")].map(|(name, time, left)| {
        let job = site.submit("slurm", &["--timing-log", "--name", name, "--time", time], TRAP);
        wait_until("the job runs", || site.file(&format!("{name}.o{job}")) == "up\n");
        let sooner = format!("scontrol update jobid={job} EndTime=$(date -d '+{left} sec' +%FT%T)");
        site.cluster.shell(ROOT, HEAD, &sooner);
        (name, job)
    });
    for (name, job) in limited {
        site.wait_for_state("slurm", &job, "1 with 7");
        assert_eq!(site.file(&format!("{name}.o{job}")), "up\ntold\n");
        let state = format!("scontrol show job {job} | grep -o 'JobState=[A-Z]*'");
        // Who was warned ends in time; who was not has had the limit, and its grace time.
        let expected = match name {
            "warned" => "JobState=FAILED\n",
            _ => "JobState=TIMEOUT\n",
        };
        assert_eq!(site.cluster.shell(ROOT, HEAD, &state), expected, "{name}");
    }
    site.wait_until_clean(1);
}

#[test]
fn slurm_that_follows_processes_by_the_process_tree() {
    let Some(site) = Site::start_or_skip("kills under Slurm (linuxproc)", &slurm("linuxproc")) else {
        return;
    };
    deletes(&site, "slurm");
    outright(&site, "slurm");
    slurm_time_limits(&site);
}

#[test]
fn slurm_that_follows_processes_by_control_groups() {
    let Some(site) = Site::start_or_skip("kills under Slurm (cgroup)", &slurm("cgroup")) else {
        return;
    };
    deletes(&site, "slurm");
    outright(&site, "slurm");
    told_by_the_node(&site, "slurm");
}

#[test]
fn grid_engine_that_notifies() {
    let Some(site) = Site::start_or_skip("kills under Grid Engine (-notify)", &gridengine()) else {
        return;
    };
    deletes(&site, "gridengine");
    outright(&site, "gridengine");
    told_by_the_node(&site, "gridengine");
    time_limit(&site, "gridengine", "8s");
}

#[test]
fn grid_engine_with_a_terminate_method() {
    // The program has to be there before the cluster reads of it.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ask-first");
    std::fs::write(&program, ASKS_FIRST).unwrap();
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let method = format!("{} $job_pid", program.display());
    let options = gridengine()
        .with("--share", folder.path())
        .with("--gridengine-terminate-method", method);
    let Some(site) = Site::start_or_skip("kills under Grid Engine (terminate_method)", &options) else {
        return;
    };
    deletes(&site, "gridengine");
}

/// A slot's time limit: its warning lets the job end in its own way.
fn time_limit(site: &Site, scheduler: &str, time: &str) {
    let job = site.submit(scheduler, &["--timing-log", "--name", "limited", "--time", time], TRAP);
    site.wait_for_state(scheduler, &job, "1 with 7");
    assert_eq!(site.file(&format!("limited.o{job}")), "up\ntold\n");
    site.wait_until_clean(1);
}
