//! `hpcvm test --clones`: machines restored from one template differ where they must.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::test::Kept;
use super::{CliError, Context, Exit, run, run_warm};
use crate::image::StoredImage;
use crate::launch::slot::{self, Admission, SlotVm};
use crate::launch::{LaunchRequest, Streams};
use crate::timing::Timeline;

/// What each machine says of itself: a name and a value a line.
const PROBE: &str = "\
echo clock $(date +%s)
echo boot-id $(cat /proc/sys/kernel/random/boot_id)
echo uuid $(cat /proc/sys/kernel/random/uuid)
echo urandom $(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' ')
echo random $(head -c 16 /dev/random | od -An -v -tx1 | tr -d ' ')";
/// What must be another value in each.
const DIFFERENT: [&str; 4] = ["boot-id", "random", "urandom", "uuid"];
/// Seconds by which a guest's clock may be wrong.
const CLOCK: u64 = 5;

/// Starts `count` machines like `request`'s warm, at most one for each core at once, and compares what they say.
pub(super) fn run(
    context: &Context,
    image: &StoredImage,
    place: &run_warm::PlaceArgs,
    mut request: LaunchRequest,
    count: u32,
) -> Result<Exit, CliError> {
    let interrupts = run::catch_signals();
    let warm = run_warm::start(context, image, place, true)?;
    request.warm = Some(warm);
    request.job.command = ["sh", "-c", PROBE].map(OsString::from).to_vec();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let admission = Admission::new(&context.places.cache.join("admission"), cores)?;
    let said: Vec<Kept> = (0..count).map(|_| Kept::default()).collect();
    let vms = said.iter().map(|said| SlotVm {
        request: request.clone(),
        streams: Streams {
            stdin: Box::new(io::empty()),
            stdout: Box::new(said.clone()),
            stderr: Box::new(io::sink()),
        },
        timeline: Timeline::since(Instant::now()),
    });
    let before = now();
    let ends = slot::run(&context.host, vms.collect(), Some(&admission), interrupts, &|_, _| ())?;
    let failed = ends.iter().filter(|end| !end.is_success()).count();
    for end in ends {
        end.result?;
    }
    let said: Vec<BTreeMap<String, String>> = said.iter().map(|said| values(&said.text())).collect();
    let findings = findings(&said, before.saturating_sub(CLOCK)..=now() + CLOCK);
    context.ui.print(table(&findings))?;
    let all_well = failed == 0 && findings.iter().all(|finding| finding.passed);
    Ok(if all_well { Exit::Done } else { Exit::Found })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn values(said: &str) -> BTreeMap<String, String> {
    let lines = said.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What was found of one property.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    /// Machines in which it is as it must be.
    good: usize,
    all: usize,
    passed: bool,
}

fn findings(said: &[BTreeMap<String, String>], launched: std::ops::RangeInclusive<u64>) -> Vec<Finding> {
    let finding = |name, good| Finding {
        name,
        good,
        all: said.len(),
        passed: good == said.len(),
    };
    let clock = |one: &&BTreeMap<String, String>| {
        let told = one.get("clock").and_then(|clock| clock.parse().ok());
        told.is_some_and(|clock: u64| launched.contains(&clock))
    };
    let different = DIFFERENT.map(|name| {
        let values: BTreeSet<&String> = said.iter().filter_map(|one| one.get(name)).collect();
        finding(name, values.len())
    });
    let clocks = finding("clock", said.iter().filter(clock).count());
    different.into_iter().chain([clocks]).collect()
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        name,
        good,
        all,
        passed,
    } in findings
    {
        let verdict = if *passed { "ok    " } else { "FAILED" };
        let what = if *name == "clock" { "right" } else { "different" };
        let _ = writeln!(text, "{verdict}  {name}: {good} {what} in {all} machines");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(random: &str, clock: u64) -> BTreeMap<String, String> {
        values(&format!(
            "clock {clock}\nboot-id b{random}\nuuid u{random}\nurandom {random}\nrandom r{random}\n"
        ))
    }

    #[test]
    fn machines_that_share_a_value_or_are_late_are_found() {
        let well = findings(&[machine("1", 100), machine("2", 101)], 95..=106);
        assert!(well.iter().all(|finding| finding.passed), "{well:?}");
        let ill = findings(&[machine("1", 100), machine("1", 40)], 95..=106);
        assert!(ill.iter().all(|finding| !finding.passed), "{ill:?}");
        assert!(
            findings(&[BTreeMap::new()], 0..=1)
                .iter()
                .all(|finding| !finding.passed)
        );
        assert!(
            table(&ill).contains("FAILED  urandom: 1 different in 2 machines"),
            "{}",
            table(&ill)
        );
    }
}
