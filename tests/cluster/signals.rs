//! Which process of a job gets which signal, and when.

use super::harness::{Cluster, Options, Scheduler};
use super::observe::{Probe, now, watch};

const QSUB: &str = "qsub -terse -j y -o /dev/null";
const SBATCH: &str = "sbatch --parsable -o /dev/null";

#[test]
fn explore_gridengine() {
    let options = Options::new(Scheduler::GridEngine);
    let cluster = Cluster::start_or_skip("x", &options).unwrap();
    let submit = |name: &str, extra: &str| Probe::submit(&cluster, name, &format!("{QSUB} {extra}"));
    let plain = submit("plain", "").running();
    let notify = submit("notify", "-notify").running();
    let suspend = submit("suspend", "").running();
    let suspend_notify = submit("suspend-notify", "-notify").running();
    let rerun = submit("rerun", "-notify -r y").running();
    let limit_at = now();
    let h_rt = submit("hrt", "-l h_rt=6").running();
    let h_rt_notify = submit("hrtn", "-notify -l h_rt=6").running();
    let s_rt = submit("srt", "-l s_rt=6").running();
    let t1 = plain.act(&cluster, "qdel JOB");
    let t2 = notify.act(&cluster, "qdel JOB");
    let t3 = suspend.act(&cluster, "qmod -sj JOB");
    let t4 = suspend_notify.act(&cluster, "qmod -sj JOB");
    let t5 = rerun.act(&cluster, "qmod -rj JOB");
    watch(9);
    suspend.act(&cluster, "qmod -usj JOB");
    suspend_notify.act(&cluster, "qmod -usj JOB");
    watch(8);
    plain.print("qdel", t1);
    notify.print("-notify qdel", t2);
    suspend.print("qmod -sj, -usj", t3);
    suspend_notify.print("-notify qmod -sj, -usj", t4);
    rerun.print("-notify qmod -rj", t5);
    h_rt.print("h_rt=6", limit_at);
    h_rt_notify.print("-notify h_rt=6", limit_at);
    s_rt.print("s_rt=6", limit_at);
    println!("{}", cluster.shell("root", "head", "for i in 1 2 3 4 5 6 7 8; do qacct -j $i | grep -E 'jobnumber|failed|exit_st'; done; qstat -u '*'"));
}

#[test]
fn explore_terminate() {
    let options = Options::new(Scheduler::GridEngine).nodes(2).with("--gridengine-terminate-method", "SIGTERM");
    let cluster = Cluster::start_or_skip("x", &options).unwrap();
    let submit = |name: &str, extra: &str| Probe::submit(&cluster, name, &format!("{QSUB} {extra}"));
    let plain = submit("plain", "").running();
    let notify = submit("notify", "-notify").running();
    let limit_at = now();
    let h_rt = submit("hrt", "-l h_rt=6").running();
    let t1 = plain.act(&cluster, "qdel JOB");
    let t2 = notify.act(&cluster, "qdel JOB");
    watch(15);
    plain.print("terminate_method SIGTERM qdel", t1);
    notify.print("terminate_method SIGTERM -notify qdel", t2);
    h_rt.print("terminate_method SIGTERM h_rt=6", limit_at);
}

fn slurm(world: &str) {
    let options = Options::new(Scheduler::Slurm).with("--slurm-proctrack", world);
    let cluster = Cluster::start_or_skip("x", &options).unwrap();
    let submit = |name: &str, extra: &str| Probe::submit(&cluster, name, &format!("{SBATCH} {extra}"));
    let limit_at = now();
    let limit = submit("limit", "--time=1").running();
    let warned = submit("warned", "--time=1 --signal=B:USR1@30").running();
    let plain = submit("plain", "").running();
    let term = submit("term", "").running();
    let full = submit("full", "").running();
    let suspend = submit("suspend", "").running();
    let rerun = submit("rerun", "").running();
    let soon = submit("soon", "").running();
    let t1 = plain.act(&cluster, "scancel JOB");
    let t2 = term.act(&cluster, "scancel --signal=TERM --batch JOB");
    let t3 = full.act(&cluster, "scancel --signal=USR2 --full JOB");
    let t4 = suspend.act(&cluster, "scontrol suspend JOB");
    let t5 = rerun.act(&cluster, "scontrol requeue JOB");
    let t6 = soon.act(&cluster, "scontrol update jobid=JOB EndTime=$(date -d '+3 sec' +%FT%T)");
    watch(8);
    suspend.act(&cluster, "scontrol resume JOB");
    watch(70);
    plain.print(&format!("{world} scancel"), t1);
    term.print(&format!("{world} scancel --signal=TERM --batch"), t2);
    full.print(&format!("{world} scancel --signal=USR2 --full"), t3);
    suspend.print(&format!("{world} suspend, resume"), t4);
    rerun.print(&format!("{world} requeue"), t5);
    soon.print(&format!("{world} EndTime +3"), t6);
    limit.print(&format!("{world} --time=1"), limit_at);
    warned.print(&format!("{world} --time=1 --signal=B:USR1@30"), limit_at);
    println!("{}", cluster.shell("root", "head", "scontrol show job | grep -E 'JobId|JobState|ExitCode|Restarts'"));
}

#[test]
fn explore_slurm_linuxproc() {
    slurm("linuxproc");
}

#[test]
fn explore_slurm_cgroup() {
    slurm("cgroup");
}
