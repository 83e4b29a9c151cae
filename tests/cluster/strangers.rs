//! What another user of the cluster can do about somebody's job: nothing.

use std::fs;
use std::path::Path;

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, USER_B, text, wait_until};
use super::site::{BOTH, Site};

/// A job whose VM runs until it is told to end.
const LIVES: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn nothing_of_a_job_can_be_read_or_changed_by_another_user() {
    let test = "nothing_of_a_job_can_be_read_or_changed_by_another_user";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Both).nodes(1)) else {
        return;
    };
    // A folder where everybody may write, as projects have.
    let shared = site.cluster.path().join("shared");
    site.cluster
        .shell(ROOT, HEAD, &format!("install -d -m 1777 {}", shared.display()));
    let planted = plant(&site);
    let jobs = BOTH.map(|scheduler| {
        let options = [
            "--timing-log",
            "--stage",
            "always",
            "--console",
            "console",
            "--name",
            scheduler,
        ];
        let output = site.hpcvm_in(
            &shared,
            &[
                &["submit", "--scheduler", scheduler],
                &options[..],
                &["minimal-i386", "--", "sh", "-c", LIVES],
            ]
            .concat(),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let job = text(&output.stdout).trim().to_owned();
        let said = shared.join(format!("{scheduler}.o{job}"));
        wait_until("the job runs", || {
            fs::read_to_string(&said).is_ok_and(|said| said == "up\n")
        });
        (scheduler, job)
    });

    // While the VMs run, and when all is over.
    nothing_is_open(&site, &shared);
    // The first job's: an event that is taken from whom the token was given to.
    nobody_else_tells(&site, &shared);
    for (scheduler, job) in &jobs {
        site.said(&["kill", "--scheduler", scheduler, job]);
        site.wait_for_state(scheduler, job, "1 done");
    }
    nothing_is_open(&site, &shared);

    // What lay there before was not taken for a cache.
    let owners = "stat -c %U /var/tmp/hpcvm-cache-* | sort -u";
    assert_eq!(
        site.cluster.shell(ROOT, "node1", owners),
        format!("{USER_A}\n{USER_B}\n")
    );
    let untouched = format!("find {planted} -type f -newer {planted}/bait; cat {planted}/bait");
    assert_eq!(site.cluster.shell(ROOT, "node1", &untouched), "bait\n");
}

/// Makes what looks like a node's cache with the image in it, as the other user could before any job came.
fn plant(site: &Site) -> &'static str {
    let planted = "/var/tmp/hpcvm-cache-planted";
    let images = site.store().join("images");
    let line = format!(
        "mkdir -p {planted}/locks && cp -r {} {planted}/images && chmod -R u+w,a+rwX {planted} && \
         for file in {planted}/images/*/disk*; do echo other >$file; done; echo bait >{planted}/bait",
        images.display()
    );
    site.cluster.shell(USER_B, "node1", &line);
    planted
}

/// Looks through the other user's eyes for anything of the job's owner.
#[track_caller]
fn nothing_is_open(site: &Site, shared: &Path) {
    for node in [HEAD, "node1"] {
        let found = |as_user, test: &str| {
            let line = format!(
                // Grid Engine's own notes on its jobs are its own affair.
                "find {} {} /tmp /var/tmp /dev/shm /run -path '*/gridengine' -prune -o -user {USER_A} {test} -print \
                 2>/dev/null; true",
                shared.display(),
                site.cluster.home(USER_A).display(),
            );
            site.cluster.shell(as_user, node, &line)
        };
        assert_eq!(
            found(USER_B, "\\( -type f -o -type s \\) \\( -readable -o -writable \\)"),
            "",
            "{node}"
        );
        // What can be entered holds nothing: Grid Engine's folders of slots.
        let entered = found(USER_B, "-type d -executable");
        assert!(
            entered.lines().all(|name| name.ends_with(".main.q")),
            "{node}: {entered}"
        );
        let there = found(USER_A, "-type f");
        assert!(there.contains("job.json"), "there was something to be found: {there}");
    }
    let cache = site
        .cluster
        .shell(USER_A, "node1", "find /var/tmp -user $(id -un) -name '*.use'");
    assert!(!cache.is_empty(), "there was a cache");
    let console = shared.join("console");
    assert!(console.exists(), "there was a console");
}

/// The logger's port is everybody's; only who has the job's token is heard.
fn nobody_else_tells(site: &Site, shared: &Path) {
    let folders = fs::read_dir(shared.join(".hpcvm")).unwrap().flatten();
    let folder = folders.map(|entry| entry.path()).next().unwrap();
    let job_file = fs::read_to_string(folder.join("job.json")).unwrap();
    let read: serde_json::Value = serde_json::from_str(&job_file).unwrap();
    let timing = |key: &str| read["timing"][key].as_str().unwrap().to_owned();
    let address = timing("address");
    let (host, port) = address.strip_prefix("tcp:").unwrap().split_once(':').unwrap();
    let (job, token) = (timing("job"), timing("token"));
    let (owner, proof) = token.split_once(':').unwrap();
    let other = site.cluster.shell(USER_B, HEAD, "id -u");
    let answer = |user: &str, token: &str| {
        let hello = format!("{{\"hello\":{{\"version\":1,\"job\":\"{job}\",\"token\":\"{token}\"}}}}");
        let event = format!(
            "{{\"version\":1,\"job\":\"{job}\",\"sender\":1,\"sequence\":0,\"monotonic\":1,\"event\":\"retried\"}}"
        );
        let script =
            format!("exec 3<>/dev/tcp/{host}/{port}; printf '%s\\n' '{hello}' '{event}' >&3; timeout 10 head -n 1 <&3");
        text(&site.cluster.exec_as(user, "node1", ["bash", "-c", &script]).stdout)
    };
    for guess in [
        format!("{owner}:{}", "0".repeat(64)),
        format!("{}:{proof}", other.trim()),
    ] {
        let refused = answer(USER_B, &guess);
        assert!(refused.contains("error"), "{guess}: {refused}");
    }
    // With the right token the same line is taken: it was the token that was looked at.
    assert_eq!(answer(USER_A, &token).trim(), "{\"ack\":0}");
    // Nor does the other user get to ask, or to hear.
    let socket = format!("{}/.local/state/hpcvm/log", site.cluster.home(USER_A).display());
    let asked = site.hpcvm_as(USER_B, &["log", "--log", &socket]);
    assert!(!asked.status.success(), "{}", text(&asked.stdout));
}
