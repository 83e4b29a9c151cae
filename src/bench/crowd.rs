//! Many VMs of one template: what each takes of the host's memory, and how many start in a second.

use std::fs;
use std::io::{self, PipeReader, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::BenchError;
use crate::exec::Host;
use crate::launch::slot::{self, Admission, SlotVm};
use crate::launch::{LaunchRequest, Streams};
use crate::timing::Timeline;
use crate::units::KIB;

/// Numbers of VMs that are held at once.
pub const HELD: [usize; 3] = [1, 8, 32];
/// Numbers of VMs that are launched at once.
pub const IN_FLIGHT: [usize; 4] = [1, 2, 4, 8];
/// Launches of each of those.
const LAUNCHES: usize = 24;
/// How long the VMs that are held may take until all jobs run.
const ALL_RUN: Duration = Duration::from_mins(5);

/// What one of several VMs that run at once takes, in MiB: the mean of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// How many run at once, each a job that waits.
    pub vms: usize,
    /// What is mapped and in memory.
    pub rss: f64,
    /// The same, shared pages divided among those that share them.
    pub pss: f64,
    /// What it shares with nobody.
    pub private: f64,
}

/// How many VMs start and end in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rate {
    /// How many are under way at once.
    pub in_flight: usize,
    /// How many were launched.
    pub launches: usize,
    /// How many failed.
    pub failures: usize,
    /// Launches by second.
    pub per_second: f64,
}

/// Tells that something was written to it.
struct Bell(Sender<()>);

impl Write for Bell {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Who listened has seen enough.
        let _ = self.0.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts `vms` VMs like `request`'s, at most `cores` at a time, measures them while all run, and ends them.
pub fn memory(host: &Host, request: &LaunchRequest, admission: &Admission, vms: usize) -> Result<Memory, BenchError> {
    let mut request = request.clone();
    request.job.command = ["sh", "-c", "echo up; read line"].map(Into::into).to_vec();
    let (reader, writer) = io::pipe().map_err(BenchError::io("a pipe"))?;
    let (tell, told) = channel();
    let members: Vec<SlotVm> = (0..vms)
        .map(|_| Ok(member(&request, reader.try_clone()?, tell.clone())))
        .collect::<io::Result<_>>()
        .map_err(BenchError::io("a pipe"))?;
    drop((reader, tell));
    let (_nobody, interrupts) = channel();
    thread::scope(|scope| {
        let running = scope.spawn(|| slot::run(host, members, Some(admission), interrupts, &|_, _| ()));
        let all_ran = heard(&told, vms);
        let measured = hypervisors();
        drop(writer);
        let ends = running.join().expect("a launch does not panic")?;
        for end in ends {
            end.result?;
        }
        let mean = |field: fn(&Rollup) -> u64| {
            let sum: u64 = measured.iter().map(field).sum();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 KiB")]
            let mebibytes = sum as f64 / KIB as f64 / measured.len().max(1) as f64;
            mebibytes
        };
        if !all_ran || measured.len() != vms {
            return Err(BenchError::Crowd {
                wanted: vms,
                found: measured.len(),
            });
        }
        Ok(Memory {
            vms,
            rss: mean(|one| one.rss),
            pss: mean(|one| one.pss),
            private: mean(|one| one.private),
        })
    })
}

fn member(request: &LaunchRequest, stdin: PipeReader, tell: Sender<()>) -> SlotVm {
    SlotVm {
        request: request.clone(),
        streams: Streams {
            stdin: Box::new(stdin),
            stdout: Box::new(Bell(tell)),
            stderr: Box::new(io::sink()),
        },
        timeline: Timeline::since(Instant::now()),
    }
}

/// Whether `count` jobs said something in time.
fn heard(told: &Receiver<()>, count: usize) -> bool {
    let deadline = Instant::now() + ALL_RUN;
    (0..count).all(|_| {
        told.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
    })
}

/// Launches VMs like `request`'s with its job, `in_flight` at once.
pub fn rate(host: &Host, request: &LaunchRequest, in_flight: usize) -> Result<Rate, BenchError> {
    let left = Arc::new(Mutex::new(LAUNCHES));
    let begun = Instant::now();
    let failures = thread::scope(|scope| {
        let workers: Vec<_> = (0..in_flight)
            .map(|_| scope.spawn(|| work(host, request, &left)))
            .collect();
        let failures = workers
            .into_iter()
            .map(|worker| worker.join().expect("a launch does not panic"));
        failures.sum::<usize>()
    });
    #[expect(clippy::cast_precision_loss, reason = "two digits")]
    let per_second = LAUNCHES as f64 / begun.elapsed().as_secs_f64();
    Ok(Rate {
        in_flight,
        launches: LAUNCHES,
        failures,
        per_second,
    })
}

/// Launches until none is left; returns how many failed.
fn work(host: &Host, request: &LaunchRequest, left: &Mutex<usize>) -> usize {
    let mut failures = 0;
    loop {
        {
            let mut left = left.lock().expect("nobody panics with it");
            if *left == 0 {
                return failures;
            }
            *left -= 1;
        }
        let (_nobody, interrupts) = channel();
        let streams = Streams {
            stdin: Box::new(io::empty()),
            stdout: Box::new(io::sink()),
            stderr: Box::new(io::sink()),
        };
        let mut timeline = Timeline::since(Instant::now());
        if let Err(error) = crate::launch::launch(host, request, streams, interrupts, &mut timeline) {
            tracing::warn!(%error, "a launch failed");
            failures += 1;
        }
    }
}

/// Of one process, in KiB.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rollup {
    rss: u64,
    pss: u64,
    private: u64,
}

/// Of this process's children that are hypervisors.
fn hypervisors() -> Vec<Rollup> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let children = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect::<Vec<_>>()
        .join(" ");
    let of = |process: &str| {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
        let is_hypervisor = name.starts_with("qemu-system");
        is_hypervisor.then(|| {
            fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
                .ok()
                .map(|text| rollup(&text))
        })?
    };
    children.split_whitespace().filter_map(of).collect()
}

/// Reads `smaps_rollup` (the kernel's `Documentation/filesystems/proc.rst`).
fn rollup(text: &str) -> Rollup {
    let of = |name: &str| -> u64 {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let value = lines
            .into_iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        number.unwrap_or_default()
    };
    Rollup {
        rss: of("Rss"),
        pss: of("Pss"),
        private: of("Private_Clean") + of("Private_Dirty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_counts_it() {
        let text = "55a0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:   79000 kB\nPss:   43000 kB\nPss_Dirty:  9 kB\n\
                    Private_Clean:   1000 kB\nPrivate_Dirty:  37000 kB\n";
        let expected = Rollup {
            rss: 79_000,
            pss: 43_000,
            private: 38_000,
        };
        assert_eq!(rollup(text), expected);
        assert_eq!(rollup(""), Rollup::default());
    }

    #[test]
    fn who_listens_hears_every_job() {
        let (tell, told) = channel();
        for _ in 0..3 {
            Bell(tell.clone()).write_all(b"up\n").unwrap();
        }
        drop(tell);
        assert!(heard(&told, 3) && !heard(&told, 1));
    }
}
