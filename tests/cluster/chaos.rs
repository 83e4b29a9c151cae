//! Ends at random moments: whatever comes and whenever, every VM tells a true end, and nothing is left.
//!
//! `HPCVM_TEST_KILL_ROUNDS` is how many rounds are made (`ci/cluster/kill-rounds`); without it, some until a
//! minute is over. `HPCVM_TEST_KILL_SEED` repeats the choices of an earlier run, as far as time allows.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, wait_until};
use super::site::{BOTH, Site};

const NODES: u32 = 4;
const TASKS: u32 = 8;
const VMS: usize = 4;

/// Says when it starts, when it is told to end, and when it ends by itself.
const JOB: &str = "trap 'echo told; exit 7' TERM; echo up; sleep 3 & wait $!; echo done";

/// Numbers that look random (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(limit)).unwrap()
    }

    fn moment(&mut self, longest: Duration) -> Duration {
        longest * self.below(1000) / 1000
    }
}

/// What was done to a job that may leave tasks without a word of their own.
#[derive(Debug, Default)]
struct Done {
    deleted_all: bool,
    deleted: Vec<u32>,
    launchers_killed: usize,
    log: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn kills_at_random_moments_leave_nothing_and_every_status_is_right() {
    let test = "kills_at_random_moments_leave_nothing_and_every_status_is_right";
    let options = Options::new(Scheduler::Both)
        .nodes(NODES)
        .with("--gridengine-notify", "60")
        .with("--slurm-kill-wait", "60");
    let Some(site) = Site::start_or_skip(test, &options) else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = number("HPCVM_TEST_KILL_SEED").unwrap_or(now);
    let rounds = number("HPCVM_TEST_KILL_ROUNDS");
    eprintln!("HPCVM_TEST_KILL_SEED={seed}");
    let began = Instant::now();
    let mut ends = BTreeMap::new();
    let mut left_over = false;
    for round in 0.. {
        // A few in any case: each scheduler, cold and warm.
        let is_enough = round >= 2 && began.elapsed() > Duration::from_mins(1);
        if rounds.map_or(is_enough, |rounds| round >= rounds) {
            break;
        }
        let mut random = Random((seed + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let scheduler = BOTH[usize::try_from(round % 2).unwrap()];
        let killed = one_round(&site, scheduler, round, &mut random, &mut ends);
        // What a launcher that was killed outright left waits for the next launch on its node.
        left_over |= killed > 0;
        if !left_over {
            site.wait_until_clean(NODES);
        }
    }
    // Now there is one on each.
    for node in 1..=NODES {
        let there = format!("node{node}");
        let (scheduler, native) = match node % 2 {
            0 => ("gridengine", format!("-q main.q@{there}")),
            _ => ("slurm", format!("--nodelist={there}")),
        };
        site.submit(scheduler, &["--native", &native, "--wait"], "true");
    }
    site.wait_until_clean(NODES);
    eprintln!("{ends:?} in {:.0} s", began.elapsed().as_secs_f64());
}

/// Submits an array, does harm to it, waits for its end and looks at what each VM told; how many launchers
/// were killed outright. `ends` counts the VMs' statuses.
fn one_round(site: &Site, scheduler: &str, round: u64, random: &mut Random, ends: &mut BTreeMap<u8, usize>) -> usize {
    let start = ["cold", "auto"][random.below(2) as usize];
    let name = format!("round{round}");
    let (tasks, vms) = (format!("1-{TASKS}"), VMS.to_string());
    let options = ["-t", &tasks, "--vms-per-slot", &vms, "--name", &name, "--retries", "0"];
    let began = Instant::now();
    let job = site.submit(scheduler, &[&options[..], &["--start", start]].concat(), JOB);
    let mut done = Done::default();
    for _ in 0..=random.below(3) {
        std::thread::sleep(random.moment(Duration::from_secs(8)));
        harm(site, scheduler, &job, random, &mut done, began);
    }
    let told = format!("round {round}, {scheduler}, {start}, {:?}", done.log);
    wait_until(&format!("{told}: the job is over"), || {
        let listed = site.said(&["ps", "--json", "--scheduler", scheduler, &job]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let states = listed["jobs"][0]["states"].as_object().unwrap();
        states
            .keys()
            .all(|state| ["done", "failed", "deleted", "lost"].contains(&state.as_str()))
    });
    wait_until(&format!("{told}: no hypervisor is left"), || {
        !site.traces(NODES).contains("qemu-system")
    });
    let statuses = look(site, scheduler, &job, &name, &done, &told, ends);
    agree(site, scheduler, &job, &statuses, &told);
    eprintln!(
        "{told}: {} tasks told their end, {:.0} s",
        statuses.len(),
        began.elapsed().as_secs_f64()
    );
    done.launchers_killed
}

/// Does one of the things that happen to jobs.
fn harm(site: &Site, scheduler: &str, job: &str, random: &mut Random, done: &mut Done, began: Instant) {
    let node = format!("node{}", 1 + random.below(NODES));
    let task = 1 + random.below(TASKS);
    // One process of those that fit.
    let signal = |signal: &str, pattern: &str| {
        let line = format!("pkill -{signal} --oldest {pattern} && echo hit; true");
        !site.cluster.shell(ROOT, &node, &line).is_empty()
    };
    let what = match random.below(6) {
        0 => {
            done.deleted_all = site.hpcvm(&["kill", "--scheduler", scheduler, job]).status.success();
            "kill".to_owned()
        }
        1 => {
            let name = format!("{job}.{task}");
            if site.hpcvm(&["kill", "--scheduler", scheduler, &name]).status.success() {
                done.deleted.push(task);
            }
            format!("kill task {task}")
        }
        2 => {
            let hit = signal("KILL", "-f '[h]pcvm launch'");
            done.launchers_killed += usize::from(hit);
            format!("SIGKILL to a launcher on {node}: {hit}")
        }
        3 => format!("SIGKILL to a hypervisor on {node}: {}", signal("KILL", "qemu-system")),
        4 => format!(
            "SIGTERM to a launcher on {node}: {}",
            signal("TERM", "-f '[h]pcvm launch'")
        ),
        _ => {
            let (stop, go_on) = match scheduler {
                "slurm" => (format!("scontrol suspend {job}"), format!("scontrol resume {job}")),
                _ => (format!("qmod -sj {job}"), format!("qmod -usj {job}")),
            };
            // What has ended cannot be suspended.
            let as_root = |line: &str| drop(site.cluster.exec_as(ROOT, HEAD, ["bash", "-c", line]));
            as_root(&stop);
            std::thread::sleep(Duration::from_secs(1));
            as_root(&go_on);
            "suspend and resume".to_owned()
        }
    };
    done.log.push(format!("{what} at {:.1}", began.elapsed().as_secs_f64()));
}

/// Compares what each task and VM told of its end with what it wrote; the statuses of the tasks that told.
fn look(
    site: &Site,
    scheduler: &str,
    job: &str,
    name: &str,
    done: &Done,
    told: &str,
    ends: &mut BTreeMap<u8, usize>,
) -> BTreeMap<u32, u8> {
    let home = site.cluster.home(USER_A);
    let folder = fs::read_link(home.join(format!(".local/state/hpcvm/jobs/{scheduler}-{job}"))).unwrap();
    let mut statuses = BTreeMap::new();
    let mut silent = 0;
    for task in 1..=TASKS {
        let Ok(status) = fs::read_to_string(folder.join(format!("status/{task}.json"))) else {
            silent += usize::from(!done.deleted_all && !done.deleted.contains(&task));
            continue;
        };
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let number = |value: &serde_json::Value| u8::try_from(value.as_u64().unwrap()).unwrap();
        let vms: Vec<u8> = status["vms"].as_array().unwrap().iter().map(number).collect();
        let slot = number(&status["status"]);
        assert!(
            if vms.iter().all(|&vm| vm == 0) {
                slot == 0
            } else {
                slot != 0 && vms.contains(&slot)
            },
            "{told}: task {task}: {status}"
        );
        for (vm, status) in vms.iter().enumerate() {
            let said = site.file(&format!("{name}.o{job}.{task}.vm{vm}"));
            let fits = match status {
                0 => said == "up\ndone\n",
                // The signal may come before the first word.
                7 => said == "up\ntold\n" || said == "told\n",
                // The hypervisor was killed: output until then.
                122 => "up\ndone\n".starts_with(&said) || "up\ntold\n".starts_with(&said),
                // Before there was a job, or before its trap was set.
                130 | 138 | 140 | 143 => said.is_empty(),
                _ => false,
            };
            assert!(fits, "{told}: task {task}, VM {vm}: {status}, {said:?}");
            *ends.entry(*status).or_insert(0) += 1;
        }
        statuses.insert(task, slot);
    }
    assert!(
        silent <= done.launchers_killed,
        "{told}: {silent} tasks did not tell their end"
    );
    statuses
}

/// The scheduler has recorded the same statuses.
fn agree(site: &Site, scheduler: &str, job: &str, statuses: &BTreeMap<u32, u8>, told: &str) {
    let line = match scheduler {
        "slurm" => format!(
            "scontrol --oneliner show job {job} | \
             sed -nE 's/.* ArrayTaskId=([0-9]+) .* ExitCode=([0-9]+):.*/\\1 \\2/p'"
        ),
        _ => format!(
            "qacct -j {job} 2>/dev/null | awk '$1 == \"taskid\" {{ task = $2 }} $1 == \"exit_status\" {{ print task, $2 }}'"
        ),
    };
    let mut recorded = BTreeMap::new();
    wait_until(&format!("{told}: the scheduler's records are there"), || {
        let said = site.cluster.shell(ROOT, HEAD, &line);
        let pairs = said.lines().filter_map(|line| line.split_once(' '));
        recorded = pairs
            .map(|(task, status)| (task.parse::<u32>().unwrap(), status.trim().parse::<u8>().unwrap()))
            .collect();
        statuses.keys().all(|task| recorded.contains_key(task))
    });
    for (task, status) in statuses {
        assert_eq!(recorded.get(task), Some(status), "{told}: task {task}: {recorded:?}");
    }
}
