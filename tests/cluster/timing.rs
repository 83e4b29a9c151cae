//! What launches tell the timing log, through real schedulers; and what another user can do about it.

use std::fs;

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, USER_B, text, wait_until};
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
fn every_vm_of_an_array_tells_all_its_moments_and_nobody_else_can_read_or_tell() {
    let test = "every_vm_of_an_array_tells_all_its_moments_and_nobody_else_can_read_or_tell";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Both).nodes(2)) else {
        return;
    };
    // Files of jobs are private even where the folder is everybody's.
    let shared = site.cluster.path().join("shared");
    site.cluster
        .shell(ROOT, HEAD, &format!("install -d -m 1777 {}", shared.display()));
    for scheduler in BOTH {
        let options = ["-t", "1-4", "--vms-per-slot", "2", "--timing-log", "--stage", "always"];
        let job_folder = shared.to_str().unwrap();
        let more = ["--wait", "--console", "console", "--job-folder", job_folder];
        let job = site.submit(scheduler, &[&options[..], &more].concat(), "echo here");
        let log = site.said(&["log", &key(&site, scheduler)]);
        for moment in MOMENTS {
            let told = log
                .lines()
                .filter(|line| line.contains(&format!("\"event\":\"{moment}\"")));
            // A slot tells of its image, too.
            let expected = match moment {
                "slot-ended" => 4,
                "staged" => 12,
                _ => 8,
            };
            assert_eq!(told.count(), expected, "{scheduler}: {moment}\n{log}");
        }
        let timeline = site.said(&["timeline", &key(&site, scheduler)]);
        assert!(timeline.contains("4 slots, 8 VMs"), "{timeline}");
        assert!(timeline.contains("from submit to the job's first output"), "{timeline}");
        let explained = site.said(&["explain", &key(&site, scheduler)]);
        assert!(
            explained.contains("every VM that was started ended and was discarded"),
            "{explained}"
        );
        wait_until("the last output is there", || {
            site.file(&format!("sh.o{job}.4.vm1")) == "here\n"
        });
    }
    let open = format!(
        "find {} {} /var/tmp -user {USER_A} -type f -perm /077 ! -name '*.[oe][0-9]*.[0-9]*' ! -path '*/log/*' \
         | grep -v 'sh[.][oe][0-9]*[.][0-9]$' | head",
        shared.display(),
        site.cluster.home(USER_A).display()
    );
    let theirs = site.cluster.shell(ROOT, HEAD, &format!("ls -l $({open}) /dev/null"));
    eprintln!("{theirs}");
    for look in [
        format!("cat {}/.hpcvm/*/job.json", shared.display()),
        format!("cat {}/.hpcvm/*/*.json", shared.display()),
        format!("ls {}/.hpcvm/*", shared.display()),
        format!("cat {}/console.1.vm0", site.cluster.home(USER_A).display()),
        "ls /var/tmp/hpcvm-cache-*".to_owned(),
        "touch /var/tmp/hpcvm-cache-*/images/x".to_owned(),
    ] {
        for node in [HEAD, "node1"] {
            let tried = site.cluster.exec_as(USER_B, node, ["bash", "-c", &look]);
            assert!(!tried.status.success(), "{look}: {}", text(&tried.stdout));
        }
    }
    let caches = site
        .cluster
        .shell(ROOT, "node1", "ls -d /var/tmp/hpcvm-cache-*/images/*");
    assert!(!caches.is_empty(), "there was a cache to look at");

    // The port is everybody's, but a token of one's own guessing is not taken.
    let port = site.cluster.shell(
        ROOT,
        HEAD,
        "sed -n 's/.*tcp:[^:]*:\\([0-9]*\\).*/\\1/p' /proc/self/mounts /dev/null; \
         grep -ho 'tcp:[0-9.]*:[0-9]*' /dev/null; true",
    );
    assert!(port.is_empty());
    let job_file = jobs_of(&shared)
        .into_iter()
        .next()
        .map(|folder| fs::read_to_string(folder.join("job.json")).unwrap())
        .unwrap();
    let read: serde_json::Value = serde_json::from_str(&job_file).unwrap();
    let address = read["timing"]["address"].as_str().unwrap();
    let (host, port) = address.strip_prefix("tcp:").unwrap().split_once(':').unwrap();
    let (job, token) = (
        read["timing"]["job"].as_str().unwrap(),
        read["timing"]["token"].as_str().unwrap(),
    );
    let uid = token.split_once(':').unwrap().0;
    let answer = |token: &str| {
        let hello = format!("{{\"hello\":{{\"version\":1,\"job\":\"{job}\",\"token\":\"{token}\"}}}}");
        let event = format!(
            "{{\"version\":1,\"job\":\"{job}\",\"sender\":1,\"sequence\":0,\"monotonic\":1,\"event\":\"retried\"}}"
        );
        let script =
            format!("exec 3<>/dev/tcp/{host}/{port}; printf '%s\\n' '{hello}' '{event}' >&3; timeout 2 head -n 1 <&3");
        site.cluster.exec_as(USER_B, "node1", ["bash", "-c", &script])
    };
    let refused = text(&answer(&format!("{uid}:{}", "0".repeat(64))).stdout);
    assert!(refused.contains("error"), "{refused}");
    // With the right token the same line is taken: it was the token that was looked at.
    let accepted = text(&answer(token).stdout);
    assert_eq!(accepted.trim(), "{\"ack\":0}");
}

/// The key of the newest job of a scheduler.
fn key(site: &Site, scheduler: &str) -> String {
    let jobs: serde_json::Value = serde_json::from_str(&site.said(&["log", "--json"])).unwrap();
    let jobs = jobs.as_array().unwrap().iter().rev();
    let mut own = jobs.filter(|job| job["scheduler"] == scheduler);
    own.next().unwrap()["job"].as_str().unwrap().to_owned()
}

fn jobs_of(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder.join(".hpcvm")).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
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
