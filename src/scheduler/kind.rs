//! Which schedulers there are.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interface::Scheduler;
use super::{gridengine, htcondor, local, lsf, pbs, slurm};

/// A scheduler that hpcvm speaks to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Grid Engine and its descendants
    #[value(name = "gridengine")]
    GridEngine,
    /// Slurm
    Slurm,
    /// Torque, and what speaks its dialect of PBS
    Pbs,
    /// `HTCondor`
    #[value(name = "htcondor")]
    HtCondor,
    /// IBM Spectrum LSF
    Lsf,
    /// This machine, without a scheduler
    Local,
}

/// How far this version's tests went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Jobs ran under the real scheduler.
    Real,
    /// The commands are another scheduler's that speaks the same dialect.
    Dialect,
    /// Rendered, and answers read, as its manual has them; never run.
    Recorded,
}

impl Kind {
    /// All of them, in the order in which they are looked for: what is rarely installed by
    /// chance comes first, and Slurm comes before PBS because its packages bring PBS commands.
    pub const ALL: [Self; 6] = [
        Self::GridEngine,
        Self::Slurm,
        Self::HtCondor,
        Self::Lsf,
        Self::Pbs,
        Self::Local,
    ];

    /// How to speak to it.
    #[must_use]
    pub fn scheduler(self) -> &'static dyn Scheduler {
        match self {
            Self::GridEngine => &gridengine::GridEngine,
            Self::Slurm => &slurm::Slurm,
            Self::Pbs => &pbs::Pbs,
            Self::HtCondor => &htcondor::HtCondor,
            Self::Lsf => &lsf::Lsf,
            Self::Local => &local::Local,
        }
    }

    /// Its name on the command line and in job files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GridEngine => "gridengine",
            Self::Slurm => "slurm",
            Self::Pbs => "pbs",
            Self::HtCondor => "htcondor",
            Self::Lsf => "lsf",
            Self::Local => "local",
        }
    }

    /// How far it was tried.
    #[must_use]
    pub const fn evidence(self) -> Evidence {
        match self {
            Self::GridEngine | Self::Slurm | Self::HtCondor | Self::Local => Evidence::Real,
            Self::Pbs => Evidence::Dialect,
            Self::Lsf => Evidence::Recorded,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
