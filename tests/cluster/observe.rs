//! Runs `probe.pl` as jobs and reads what its processes wrote about signals.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::harness::{Cluster, HEAD, ROOT, USER_A, wait_until};

/// The processes of the probe, as `probe.pl` names them.
pub(crate) const ROLES: [&str; 5] = ["script", "child", "group", "session", "daemon"];

/// A job that runs the probe.
#[derive(Debug)]
pub(crate) struct Probe {
    /// What the scheduler calls it.
    pub(crate) job: String,
    folder: PathBuf,
}

/// What one process of the probe saw since a moment.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Seconds since the moment, and what came.
    events: Vec<(f64, String)>,
    /// Seconds since the moment until the process was last known to run.
    pub(crate) last_alive: f64,
}

impl Seen {
    /// The kinds of events, each once, sorted: two signals sent together come in any order.
    pub(crate) fn kinds(&self) -> String {
        let kinds: BTreeSet<_> = self
            .events
            .iter()
            .filter_map(|(_, what)| what.split(' ').next())
            .collect();
        kinds.into_iter().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (seconds, name) in &self.events {
            write!(formatter, "{name} at {seconds:.1}, ")?;
        }
        write!(formatter, "alive until {:.1}", self.last_alive)
    }
}

/// Seconds since the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Probe {
    /// Submits the probe with `submit`, a command line that ends before the job script and prints the
    /// job's name.
    pub(crate) fn submit(cluster: &Cluster, name: &str, submit: &str) -> Self {
        let probe = cluster.path().join("probe.pl");
        if !probe.exists() {
            fs::write(&probe, include_str!("probe.pl")).unwrap();
        }
        let folder = cluster.home(USER_A).join(name);
        let script = format!("#!/bin/sh\nexec perl {} {}\n", probe.display(), folder.display());
        let path = cluster.write(USER_A, &format!("{name}.sh"), script);
        let line = format!("mkdir {name} && {submit} {}", path.display());
        let job = cluster.shell(USER_A, HEAD, &line).trim().to_owned();
        Self { job, folder }
    }

    /// Waits until all processes run.
    pub(crate) fn running(self) -> Self {
        wait_until("the probe runs", || {
            ROLES
                .iter()
                .all(|role| fs::metadata(self.file(role, "alive")).is_ok_and(|file| file.len() > 0))
        });
        self
    }

    fn file(&self, role: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{role}.{kind}"))
    }

    /// Does something to the job as root on the head; `JOB` in the line is the job's name. Returns when.
    pub(crate) fn act(&self, cluster: &Cluster, line: &str) -> f64 {
        let when = now();
        cluster.shell(ROOT, HEAD, &line.replace("JOB", &self.job));
        when
    }

    /// When the job began to run.
    pub(crate) fn started(&self) -> f64 {
        let made = fs::metadata(self.file("script", "signals")).unwrap().created().unwrap();
        made.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    /// Whether a process has not run for so long that it must be gone.
    pub(crate) fn is_gone(&self, role: &str) -> bool {
        self.seen(role, now()).last_alive < -1.5
    }

    /// What the process `role` saw since `moment`.
    pub(crate) fn seen(&self, role: &str, moment: f64) -> Seen {
        let events = fs::read_to_string(self.file(role, "signals")).unwrap();
        let events = events.lines().map(|line| {
            let (when, what) = line.split_once(' ').unwrap();
            (when.parse::<f64>().unwrap() - moment, what.to_owned())
        });
        // A stop is told as a moment; its end would differ from run to run.
        let events = events.map(|(when, what)| match what.strip_prefix("stopped until ") {
            Some(end) => (
                when,
                format!("stopped until {:.1}", end.parse::<f64>().unwrap() - moment),
            ),
            None => (when, what),
        });
        let alive = fs::read_to_string(self.file(role, "alive")).unwrap();
        Seen {
            events: events.filter(|(when, _)| *when > -0.2).collect(),
            last_alive: alive.trim().parse::<f64>().unwrap() - moment,
        }
    }
}
