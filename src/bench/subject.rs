//! What is launched in a benchmark of starts, and which of them are compared.

use std::fmt;

use serde::Serialize;

/// A way from nothing to a first line of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The image's kernel with a program that says one line and powers off, started by QEMU
    /// without hpcvm: no guest can be quicker with this kernel.
    Floor,
    /// A job in a VM restored from a template by QEMU without hpcvm: no warm start can be quicker.
    RestoreFloor,
    /// A job in a VM of the image, restored from a template.
    Warm,
    /// The same with the working directory shared.
    WarmShared,
    /// The same with a program that does not wait in the template, but is executed.
    WarmProgram,
    /// A job in a VM of the image, whose kernel QEMU loads.
    Direct,
    /// A job in a VM of the image, started by its BIOS and boot loader.
    Bios,
    /// A job in a VM of the image that nothing was done for.
    Baseline,
}

impl Subject {
    /// All, in the order of tables.
    pub const ALL: [Self; 8] = [
        Self::Floor,
        Self::RestoreFloor,
        Self::Warm,
        Self::WarmShared,
        Self::WarmProgram,
        Self::Direct,
        Self::Bios,
        Self::Baseline,
    ];

    /// Those of a benchmark of cold starts, in the order they are launched.
    pub const COLD: [Self; 4] = [Self::Floor, Self::Direct, Self::Bios, Self::Baseline];

    /// Those of a benchmark of warm starts, in the order they are launched.
    pub const WARM: [Self; 6] = [
        Self::RestoreFloor,
        Self::Warm,
        Self::WarmShared,
        Self::WarmProgram,
        Self::Direct,
        Self::Baseline,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::RestoreFloor => "restore-floor",
            Self::Warm => "warm",
            Self::WarmShared => "warm-shared",
            Self::WarmProgram => "warm-program",
            Self::Direct => "direct",
            Self::Bios => "bios",
            Self::Baseline => "baseline",
        }
    }

    /// What this project wants of its seconds on a quiet host of two cores that emulates its guests.
    #[must_use]
    pub const fn target(self) -> Option<&'static str> {
        match self {
            Self::Warm | Self::WarmProgram => Some("at most 0.22 s, to end 0.28 s"),
            _ => None,
        }
    }

    /// Whether it is launched once before anything counts, so that files are in memory for all.
    #[must_use]
    pub const fn warms_up(self) -> bool {
        // A minute for what would change its figure by less than the host's noise does.
        !matches!(self, Self::Baseline)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Two subjects that are compared: how much longer the first takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The dividend or minuend.
    pub above: Subject,
    /// The divisor or subtrahend.
    pub below: Subject,
    /// What this project wants of it on a quiet host, where it wants something.
    pub target: Option<&'static str>,
}

/// How many times longer.
pub const RATIOS: [Comparison; 6] = [
    Comparison {
        above: Subject::Direct,
        below: Subject::Floor,
        target: Some("at most 1.35"),
    },
    Comparison {
        above: Subject::Bios,
        below: Subject::Floor,
        target: Some("at most 2.0"),
    },
    Comparison {
        above: Subject::Baseline,
        below: Subject::Direct,
        target: Some("at least 18"),
    },
    Comparison {
        above: Subject::Warm,
        below: Subject::RestoreFloor,
        target: Some("at most 1.2"),
    },
    Comparison {
        above: Subject::Direct,
        below: Subject::Warm,
        target: Some("at least 7"),
    },
    Comparison {
        above: Subject::Baseline,
        below: Subject::Warm,
        target: Some("at least 170"),
    },
];

/// How many seconds longer.
pub const DIFFERENCES: [Comparison; 2] = [
    Comparison {
        above: Subject::WarmShared,
        below: Subject::Warm,
        target: Some("at most 0.15 s"),
    },
    Comparison {
        above: Subject::WarmProgram,
        below: Subject::Warm,
        target: None,
    },
];

/// One launch to be made: its round (0 warms up and does not count) and what is launched.
pub type Turn = (u32, Subject);

/// The launches of `subjects` in order: one of each in every round, so that what else the host does meets all
/// alike; the baseline only in the first `baseline_runs` rounds that count.
#[must_use]
pub fn turns(subjects: &[Subject], runs: u32, baseline_runs: u32) -> Vec<Turn> {
    let takes_part = |round: u32, subject: Subject| match (round, subject) {
        (0, subject) => subject.warms_up(),
        (round, Subject::Baseline) => round <= baseline_runs,
        (round, _) => round <= runs,
    };
    (0..=runs.max(baseline_runs))
        .flat_map(|round| subjects.iter().map(move |&subject| (round, subject)))
        .filter(|&(round, subject)| takes_part(round, subject))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(runs: u32, baseline_runs: u32) -> String {
        let turns = turns(&Subject::COLD, runs, baseline_runs);
        let word = |(round, subject): &Turn| format!("{round}{}", &subject.name()[..2]);
        turns.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn launches_are_interleaved_and_the_baseline_is_launched_less() {
        for (runs, baseline, expected) in [
            (2, 1, "0fl 0di 0bi 1fl 1di 1bi 1ba 2fl 2di 2bi"),
            (1, 0, "0fl 0di 0bi 1fl 1di 1bi"),
            (1, 2, "0fl 0di 0bi 1fl 1di 1bi 1ba 2ba"),
        ] {
            assert_eq!(written(runs, baseline), expected);
        }
    }
}
