//! `hpcvm test --clones`: machines restored from one template differ where they must.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::test::Kept;
use super::{CliError, Context, Exit, run, run_warm};
use crate::hypervisor::machine::Network;
use crate::image::StoredImage;
use crate::launch::slot::{self, Admission, SlotVm};
use crate::launch::{LaunchRequest, Streams};
use crate::timing::Timeline;

/// What each machine says of itself: a name and a value a line. What a guest has not, it does not tell.
const PROBE: &str = r#"
echo clock $(date +%s)
echo boot-id $(cat /proc/sys/kernel/random/boot_id)
echo uuid $(cat /proc/sys/kernel/random/uuid)
echo urandom $(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' ')
echo random $(head -c 16 /dev/random | od -An -v -tx1 | tr -d ' ')
echo host-name $(cat /proc/sys/kernel/hostname)
echo user $(id -u)
echo group $(id -g)
[ -s /etc/machine-id ] && echo machine-id $(cat /etc/machine-id)
for file in /sys/class/net/*/address; do case $file in */lo/*) ;; *) echo hardware-address $(cat $file);; esac; done
if command -v openssl >/dev/null; then echo openssl $(openssl rand -hex 16); fi
[ "$(id -u)" = 0 ] || exit 0
# The kernel is told of its generation by an interrupt, which a busy host may serve late.
for try in 1 2 3 4 5 6 7 8 9 10; do
    log=$(dd if=/dev/kmsg iflag=nonblock bs=8192 2>/dev/null | grep -c 'crng reseeded due to virtual machine fork')
    [ "$log" = 0 ] || break
    sleep 0.5
done
echo kernel-reseeds $log
exit 0"#;
/// What a preloaded Python says.
const PYTHON_PROBE: &str = r#"
import random, sys
print("python-random", random.getrandbits(128))
if "ssl" in sys.modules:
    print("python-openssl", sys.modules["ssl"].RAND_bytes(16).hex())
if "numpy.random" in sys.modules:
    print("python-numpy", *sys.modules["numpy"].random.randint(0, 1 << 30, 4))
"#;

/// How a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Another in each machine.
    Differ,
    /// What the launch gave the machine.
    Agree,
}

/// What is compared, whether every guest has it, and how it must be.
const PROPERTIES: [(&str, bool, Must); 15] = [
    ("boot-id", true, Must::Differ),
    ("random", true, Must::Differ),
    ("urandom", true, Must::Differ),
    ("uuid", true, Must::Differ),
    ("hardware-address", true, Must::Differ),
    ("machine-id", false, Must::Differ),
    ("openssl", false, Must::Differ),
    ("python-random", false, Must::Differ),
    ("python-openssl", false, Must::Differ),
    ("python-numpy", false, Must::Differ),
    ("clock", true, Must::Agree),
    ("host-name", true, Must::Agree),
    ("user", true, Must::Agree),
    ("group", true, Must::Agree),
    ("kernel-reseeds", false, Must::Agree),
];
/// Seconds by which a guest's clock may be wrong.
const CLOCK: u64 = 5;

/// What one machine said.
type Said = BTreeMap<String, String>;

/// Starts `count` machines like `request`'s warm, at most one for each core at once, and compares what they say.
pub(super) fn run(
    context: &Context,
    image: &StoredImage,
    place: &run_warm::PlaceArgs,
    mut request: LaunchRequest,
    count: u32,
) -> Result<Exit, CliError> {
    let warm = run_warm::start(image, run_warm::templates(context, place)?);
    let preloads = !warm.preparation.python.is_empty();
    request.warm = Some(warm);
    request.network = Network::User;
    let requests: Vec<LaunchRequest> = (0..count)
        .map(|number| {
            let mut request = request.clone();
            request.job.hostname = format!("{}-{number}", request.job.hostname);
            request
        })
        .collect();
    let before = now().saturating_sub(CLOCK);
    let mut said = probe(context, &requests, &["sh", "-c", PROBE])?;
    let launched = before..=now() + CLOCK;
    if preloads {
        let further = probe(context, &requests, &["python3", "-c", PYTHON_PROBE])?;
        for (said, further) in said.iter_mut().zip(further) {
            said.extend(further);
        }
    }
    let agrees = |number: usize, name: &str, value: &str| match name {
        "clock" => value.parse().is_ok_and(|clock| launched.contains(&clock)),
        "host-name" => requests[number].job.hostname == value,
        "user" => requests[number].job.identity.uid.to_string() == value,
        "group" => requests[number].job.identity.gid.to_string() == value,
        // One for this copy; none is from the template's own start.
        "kernel-reseeds" => value == "1",
        _ => false,
    };
    let findings = findings(&said, agrees);
    context.ui.print(table(&findings))?;
    let all_well = findings.iter().all(Finding::passed);
    Ok(if all_well { Exit::Done } else { Exit::Found })
}

/// What each machine says when it runs `command`; one that fails says nothing.
fn probe(context: &Context, requests: &[LaunchRequest], command: &[&str]) -> Result<Vec<Said>, CliError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let admission = Admission::new(&context.places.cache.join("admission"), cores)?;
    let said: Vec<Kept> = requests.iter().map(|_| Kept::default()).collect();
    let vms = requests.iter().zip(&said).map(|(request, said)| {
        let mut request = request.clone();
        request.job.command = command.iter().map(OsString::from).collect();
        SlotVm {
            request,
            streams: Streams {
                stdin: Box::new(io::empty()),
                stdout: Box::new(said.clone()),
                stderr: Box::new(io::sink()),
            },
            timeline: Timeline::since(Instant::now()),
        }
    });
    let interrupts = run::catch_signals();
    let ends = slot::run(&context.host, vms.collect(), Some(&admission), interrupts, &|_, _| ())?;
    let mut all = Vec::new();
    for (end, said) in ends.into_iter().zip(&said) {
        let succeeded = end.is_success();
        end.result?;
        all.push(if succeeded { values(&said.text()) } else { Said::new() });
    }
    Ok(all)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn values(said: &str) -> Said {
    let lines = said.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What was found of one property.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    must: Must,
    /// Machines in which it is as it must be.
    good: usize,
    all: usize,
}

impl Finding {
    fn passed(&self) -> bool {
        self.good == self.all
    }
}

/// What no guest of the image has is not among them.
fn findings(said: &[Said], agrees: impl Fn(usize, &str, &str) -> bool) -> Vec<Finding> {
    let finding = |(name, always, must): (&'static str, bool, Must)| {
        let told: Vec<(usize, &String)> = said
            .iter()
            .enumerate()
            .filter_map(|(number, one)| Some((number, one.get(name)?)))
            .collect();
        if told.is_empty() && !always {
            return None;
        }
        let good = match must {
            Must::Differ => told.iter().map(|(_, value)| value).collect::<BTreeSet<_>>().len(),
            Must::Agree => told
                .iter()
                .filter(|(number, value)| agrees(*number, name, value))
                .count(),
        };
        Some(Finding {
            name,
            must,
            good,
            all: said.len(),
        })
    };
    PROPERTIES.into_iter().filter_map(finding).collect()
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { name, must, good, all } = finding;
        let verdict = if finding.passed() { "ok    " } else { "FAILED" };
        let what = match must {
            Must::Differ => "different",
            Must::Agree => "right",
        };
        let _ = writeln!(text, "{verdict}  {name}: {good} {what} in {all} machines");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(random: &str, clock: u64) -> Said {
        values(&format!(
            "clock {clock}\nboot-id b{random}\nuuid u{random}\nurandom {random}\nrandom r{random}\n\
             hardware-address 02:{random}\nhost-name h\nuser 7\ngroup 8\n"
        ))
    }

    fn found(said: &[Said]) -> Vec<Finding> {
        findings(said, |_, name, value| match name {
            "clock" => value != "40",
            _ => ["h", "7", "8"].contains(&value),
        })
    }

    #[test]
    fn machines_that_share_a_value_or_are_late_are_found() {
        let well = found(&[machine("1", 100), machine("2", 101)]);
        assert!(well.len() == 9 && well.iter().all(Finding::passed), "{well:?}");
        let ill = found(&[machine("1", 100), machine("1", 40)]);
        let failed: Vec<&str> = ill
            .iter()
            .filter(|found| !found.passed())
            .map(|found| found.name)
            .collect();
        let expected = ["boot-id", "random", "urandom", "uuid", "hardware-address", "clock"];
        assert_eq!(failed, expected);
        assert!(!found(&[Said::new()]).iter().any(Finding::passed));
        let said = table(&ill);
        assert!(said.contains("FAILED  urandom: 1 different in 2 machines"), "{said}");
    }

    #[test]
    fn what_only_some_machines_have_is_missing_in_the_others() {
        let mut with = machine("1", 100);
        with.insert("machine-id".to_owned(), "a".to_owned());
        let found = found(&[with, machine("2", 101)]);
        let finding = found.iter().find(|found| found.name == "machine-id").unwrap();
        assert!(!finding.passed());
    }
}
