//! What a benchmark of starts has found so far: every launch, and the figures of them.

use serde::Serialize;
use serde_json::{Value, json};

use super::crowd::{Memory, Rate};
use super::job::Job;
use super::machine::Facts;
use super::statistics::{Summary, difference, median, quotient};
use super::subject::{Comparison, DIFFERENCES, RATIOS, Subject};
use crate::digest::Digest;

/// One launch. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Launch {
    /// Its round; those of round 0 warm up and do not count.
    pub round: u32,
    /// What was launched.
    pub subject: Subject,
    /// From the start of the process to the first line of output.
    pub first_line: f64,
    /// From the start of the process to its end.
    pub total: f64,
    /// Processor time of all processes until the first line.
    pub cpu_first_line: Option<f64>,
    /// Processor time of all processes.
    pub cpu_total: Option<f64>,
    /// Runnable processes of the host over the minute before.
    pub load: Option<f64>,
}

/// An image that was launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Launched {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// The figures of one subject, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// What was launched.
    pub subject: Subject,
    /// To the first line.
    pub first_line: Summary,
    /// To the end.
    pub total: Option<Summary>,
    /// Processor time to the first line.
    pub cpu_first_line: Option<Summary>,
    /// Processor time to the end.
    pub cpu_total: Option<Summary>,
    /// What this project wants of it on a quiet host, where it wants something.
    pub target: Option<&'static str>,
}

/// How two subjects compare by the time to their first line: quotients, or differences in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// Which two, and what is wanted of them.
    pub comparison: Comparison,
    /// Their medians compared.
    pub of_medians: f64,
    /// The median of the comparisons of each round that has both.
    pub paired: Option<f64>,
    /// Rounds that have both.
    pub pairs: usize,
    /// The medians of their processor times to the first line compared.
    pub of_cpu: Option<f64>,
}

/// Everything found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which benchmark it is.
    pub experiment: &'static str,
    /// On what.
    pub machine: Facts,
    /// The image, then the baseline where there is one.
    pub images: Vec<Launched>,
    /// What was run in the guests, where the subject does not say otherwise.
    pub job: Job,
    /// Every launch, in the order made.
    pub launches: Vec<Launch>,
    /// What VMs take that run at once.
    pub memory: Vec<Memory>,
    /// How many start in a second.
    pub rates: Vec<Rate>,
}

/// Compares two figures.
type Operation = fn(Option<f64>, Option<f64>) -> Option<f64>;

impl Report {
    fn counted(&self, subject: Subject) -> impl Iterator<Item = &Launch> {
        let counts = move |launch: &&Launch| launch.round > 0 && launch.subject == subject;
        self.launches.iter().filter(counts)
    }

    fn values(&self, subject: Subject, field: impl Fn(&Launch) -> Option<f64>) -> Vec<f64> {
        self.counted(subject).filter_map(field).collect()
    }

    /// The figures of every subject that was launched at least once.
    #[must_use]
    pub fn figures(&self) -> Vec<Figures> {
        let of = |subject: Subject| {
            let summary = |field: fn(&Launch) -> Option<f64>| Summary::of(&self.values(subject, field));
            Some(Figures {
                subject,
                first_line: summary(|launch| Some(launch.first_line))?,
                total: summary(|launch| Some(launch.total)),
                cpu_first_line: summary(|launch| launch.cpu_first_line),
                cpu_total: summary(|launch| launch.cpu_total),
                target: subject.target(),
            })
        };
        Subject::ALL.into_iter().filter_map(of).collect()
    }

    /// How many times longer those take that have both been launched.
    #[must_use]
    pub fn ratios(&self) -> Vec<Compared> {
        self.compared(&RATIOS, quotient)
    }

    /// How many seconds longer those take that have both been launched.
    #[must_use]
    pub fn differences(&self) -> Vec<Compared> {
        self.compared(&DIFFERENCES, difference)
    }

    fn compared(&self, comparisons: &[Comparison], operation: Operation) -> Vec<Compared> {
        let of = |&comparison: &Comparison| {
            let of_field = |field: fn(&Launch) -> Option<f64>| {
                let median_of = |subject| median(&self.values(subject, field));
                operation(median_of(comparison.above), median_of(comparison.below))
            };
            let of_medians = of_field(|launch| Some(launch.first_line))?;
            let paired = self.paired(comparison, operation);
            Some(Compared {
                comparison,
                of_medians,
                paired: median(&paired),
                pairs: paired.len(),
                of_cpu: of_field(|launch| launch.cpu_first_line),
            })
        };
        comparisons.iter().filter_map(of).collect()
    }

    /// The comparisons of each round: what slows the host for a while slows both.
    fn paired(&self, comparison: Comparison, operation: Operation) -> Vec<f64> {
        let beside = |above: &Launch| {
            let below = self
                .counted(comparison.below)
                .find(|below| below.round == above.round)?;
            operation(Some(above.first_line), Some(below.first_line))
        };
        self.counted(comparison.above).filter_map(beside).collect()
    }

    /// All of it as JSON; the form is `docs/benchmarks.md`'s.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "bench": 1,
            "experiment": self.experiment,
            "hpcvm": env!("CARGO_PKG_VERSION"),
            "machine": self.machine,
            "images": self.images,
            "job": self.job,
            "figures": self.figures(),
            "ratios": self.ratios(),
            "differences": self.differences(),
            "memory": self.memory,
            "rates": self.rates,
            "launches": self.launches,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hypervisor::accelerator::Accelerator;

    /// A report of these launches: round, subject, seconds to the first line.
    pub(in crate::bench) fn report(launches: &[(u32, Subject, f64)]) -> Report {
        let launch = |&(round, subject, first_line): &(u32, Subject, f64)| Launch {
            round,
            subject,
            first_line,
            total: first_line + 0.5,
            cpu_first_line: Some(first_line / 2.0),
            cpu_total: None,
            load: Some(0.25),
        };
        Report {
            experiment: "cold",
            machine: Facts {
                processor: "A processor".to_owned(),
                cores: 2,
                kernel: "6.1".to_owned(),
                load_before: Some(0.1),
                qemu: "QEMU emulator version 7.2".to_owned(),
                accelerator: Accelerator::Tcg,
            },
            images: vec![Launched {
                name: "minimal-i386".to_owned(),
                digest: Digest::of(b"x"),
            }],
            job: Job::ECHO,
            launches: launches.iter().map(launch).collect(),
            memory: Vec::new(),
            rates: Vec::new(),
        }
    }

    #[test]
    fn warming_up_does_not_count() {
        let report = report(&[(0, Subject::Floor, 9.0), (1, Subject::Floor, 1.0)]);
        let figures = report.figures();
        assert_eq!(figures.len(), 1);
        assert_eq!((figures[0].first_line.count, figures[0].first_line.max), (1, 1.0));
        assert_eq!(figures[0].cpu_total, None);
        assert_eq!(report.ratios(), []);
    }

    #[test]
    fn pairs_are_of_one_round() {
        use Subject::{Direct, Floor};
        // The host was half as fast in round 2.
        let report = report(&[
            (1, Floor, 1.0),
            (1, Direct, 1.25),
            (2, Floor, 2.0),
            (2, Direct, 2.5),
            (3, Floor, 1.0),
        ]);
        let ratio = &report.ratios()[0];
        assert_eq!((ratio.comparison.above, ratio.comparison.below), (Direct, Floor));
        assert_eq!((ratio.paired, ratio.pairs), (Some(1.25), 2));
        assert_eq!((ratio.of_medians, ratio.of_cpu), (1.875, Some(1.875)));
    }

    #[test]
    fn some_are_compared_in_seconds() {
        use Subject::{RestoreFloor, Warm, WarmShared};
        let report = report(&[
            (1, RestoreFloor, 0.25),
            (1, Warm, 0.25),
            (1, WarmShared, 0.375),
            (2, Warm, 0.5),
            (2, WarmShared, 0.75),
            (3, Warm, 0.25),
        ]);
        let differences = report.differences();
        assert_eq!(differences.len(), 1);
        let shared = &differences[0];
        assert_eq!((shared.comparison.above, shared.comparison.below), (WarmShared, Warm));
        assert_eq!(
            (shared.of_medians, shared.paired, shared.pairs),
            (0.3125, Some(0.1875), 2)
        );
        assert_eq!(shared.of_cpu, Some(0.15625));
        let ratios = report.ratios();
        assert_eq!(ratios.len(), 1);
        assert_eq!((ratios[0].comparison.above, ratios[0].of_medians), (Warm, 1.0));
    }

    #[test]
    fn the_json_form_keeps_every_launch() {
        let value = report(&[(0, Subject::Bios, 2.0), (1, Subject::Bios, 2.0)]).json();
        assert_eq!(value["bench"], 1);
        assert_eq!(value["launches"].as_array().map(Vec::len), Some(2));
        assert_eq!(value["figures"][0]["first-line"]["median"], 2.0);
        assert_eq!(value["machine"]["load-before"], 0.1);
        assert_eq!(value["images"][0]["name"], "minimal-i386");
        assert_eq!(
            value["job"],
            json!({"command": ["echo", "hpcvm-bench"], "cwd-shared": true})
        );
    }
}
