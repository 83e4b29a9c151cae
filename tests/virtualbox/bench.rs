//! How long machines take to be cloned, registered and ready to start, and to be discarded, under the real
//! `VirtualBox`. `ci/virtualbox/bench` runs it where that is, as an ordinary user. Not a test: a busy machine's figures say nothing.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hpcvm::exec::Host;
use hpcvm::hypervisor::virtualbox::{Folders, Installation, Service, make_clone, register};
use hpcvm::launch::ScratchFolder;

use super::hardware::machine;

/// What was done to a machine, and what it took.
const STEPS: [&str; 4] = ["clone, register", "VBoxSVC ready", "both: ready to start", "discard"];

/// Makes a machine and discards it when all of `others` are ready; what each step took, or why it failed.
fn one(host: &Host, base: &Path, others: &Barrier) -> Result<[Duration; 4], String> {
    let begun = Instant::now();
    let made = make(host, base);
    others.wait();
    let (folder, folders, service, registered, ready) = made?;
    let discarding = Instant::now();
    drop(service);
    drop(folders);
    drop(folder);
    let (registered, ready) = (registered - begun, ready - begun);
    Ok([
        registered,
        ready.saturating_sub(registered),
        ready,
        discarding.elapsed(),
    ])
}

type Made = (ScratchFolder, Folders, Service, Instant, Instant);

fn make(host: &Host, base: &Path) -> Result<Made, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let folder = ScratchFolder::create(&std::env::temp_dir(), false).map_err(|error| say(&error))?;
    let machine = machine(folder.path());
    for (name, length) in [("job.disk", 1 << 20), ("result.disk", 128 << 30)] {
        let file = File::create_new(folder.path().join(name)).map_err(|error| say(&error))?;
        file.set_len(length).map_err(|error| say(&error))?;
    }
    make_clone(base, &machine.disks[0].file).map_err(|error| say(&error))?;
    let folders = Folders::create(folder.path()).map_err(|error| say(&error))?;
    register(&machine, base, folder.path(), &folders).map_err(|error| say(&error))?;
    let registered = Instant::now();
    let installation = Installation::find(host).map_err(|error| say(&error))?;
    let log = folder.path().join("service.log");
    let service = Service::start(host, &installation, &folders, &log, &|| None).map_err(|error| say(&error))?;
    Ok((folder, folders, service, registered, Instant::now()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time that `percent` of the sorted `times` do not exceed.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    milliseconds(times[(times.len() * percent).div_ceil(100).max(1) - 1])
}

#[test]
#[ignore = "ci/virtualbox/bench runs it where VirtualBox is"]
fn figures() {
    let base = std::env::var_os("HPCVM_BENCH_DISK").expect("ci/virtualbox/bench names a disk");
    let in_a_row: usize = std::env::var("HPCVM_BENCH_ROW").map_or(500, |count| count.parse().unwrap());
    let host = Host::new("/usr/bin:/bin".into(), "/".into());
    println!(
        "at once  machines failed  step                     median     90 %     99 %      max  wall per machine (ms)"
    );
    for (at_once, rounds) in [(1, in_a_row), (8, 6), (32, 3)] {
        let (mut took, mut failures) = (Vec::new(), Vec::new());
        let mut making = Duration::ZERO;
        for _ in 0..rounds {
            let barrier = Barrier::new(at_once);
            let ended: Vec<_> = thread::scope(|scope| {
                let machines: Vec<_> = (0..at_once)
                    .map(|_| scope.spawn(|| one(&host, base.as_ref(), &barrier)))
                    .collect();
                machines.into_iter().map(|machine| machine.join().unwrap()).collect()
            });
            let slowest = ended.iter().flatten().map(|steps| steps[2]).max();
            making += slowest.unwrap_or_default();
            for end in ended {
                match end {
                    Ok(steps) => took.push(steps),
                    Err(why) => failures.push(why),
                }
            }
        }
        let machines = rounds * at_once;
        for (step, name) in STEPS.iter().enumerate() {
            let mut times: Vec<_> = took.iter().map(|steps| steps[step]).collect();
            times.sort();
            let [median, ninety, most, all] = [50, 90, 99, 100].map(|percent| percentile(&times, percent));
            let wall = if step == 2 {
                format!("{:8.1}", milliseconds(making / u32::try_from(machines).unwrap()))
            } else {
                String::new()
            };
            println!(
                "{at_once:7}  {machines:8} {:6}  {name:22} {median:8.1} {ninety:8.1} {most:8.1} {all:8.1}  {wall}",
                failures.len()
            );
        }
        for why in failures {
            println!("failed: {why}");
        }
    }
    let left = fs::read_dir(std::env::temp_dir()).unwrap().count();
    println!("left behind: {left} files");
}
