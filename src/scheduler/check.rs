//! Whether what is asked for can fit together: told before the queue, not in it.

use std::time::Duration;

use crate::diagnostic::{Blame, Problem};
use crate::hypervisor::Hypervisor;
use crate::units::Bytes;

/// What a hypervisor may need beyond what was measured of it: the guest's page tables, buffers of disks and streams.
const RESERVE: Bytes = Bytes::mebibytes(16);

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Plausibility {
    /// VMs in each slot.
    pub vms: u32,
    /// What runs them.
    pub hypervisor: Hypervisor,
    /// Guest memory of each.
    pub memory: Bytes,
    /// Virtual processors of each.
    pub cpus: u32,
    /// Processors of the slot, where they are known.
    pub slots: Option<u32>,
    /// Memory that the user gave the slot.
    pub slot_memory: Option<Bytes>,
    /// The slot's time limit.
    pub time: Option<Duration>,
    /// The job's own time limit.
    pub job_time: Option<Duration>,
}

/// What cannot fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlausibilityError {
    /// The VMs need more memory than the slot has.
    #[error("{vms} VMs of {memory} need {needed} with their hypervisors, and the slot has {slot}")]
    Memory {
        /// VMs in each slot.
        vms: u32,
        /// Guest memory of each.
        memory: Bytes,
        /// The sum.
        needed: Bytes,
        /// The slot's memory.
        slot: Bytes,
    },
    /// One VM alone has more processors than the slot.
    #[error("each VM has {cpus} processors, and the slot has {slots}")]
    Processors {
        /// Of each VM.
        cpus: u32,
        /// Of the slot.
        slots: u32,
    },
    /// The job's time limit is beyond the slot's.
    #[error("the job may take {} s, and the slot ends after {} s", job.as_secs(), slot.as_secs())]
    Time {
        /// The job's limit.
        job: Duration,
        /// The slot's limit.
        slot: Duration,
    },
}

impl Problem for PlausibilityError {
    fn code(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "HV5040",
            Self::Processors { .. } => "HV5041",
            Self::Time { .. } => "HV5042",
        }
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Memory { needed, .. } => {
                return Some(format!(
                    "ask for --slot-memory {}M, give each VM less with --memory, or start fewer with --vms-per-slot",
                    needed.as_mebibytes()
                ));
            }
            Self::Processors { .. } => "ask for more with --slots, or give each VM fewer with --cpus",
            Self::Time { .. } => "raise --time or lower --timeout",
        };
        Some(help.to_owned())
    }
}

impl Plausibility {
    /// Memory of all VMs and their hypervisors.
    #[must_use]
    pub fn needed(&self) -> Bytes {
        let hypervisor = self.hypervisor.overhead().0 + RESERVE.0;
        let each = self.memory.0.saturating_add(hypervisor);
        Bytes(each.saturating_mul(self.vms.into()))
    }

    /// The first thing that cannot fit.
    pub fn check(&self) -> Result<(), PlausibilityError> {
        if let Some(slot) = self.slot_memory.filter(|slot| *slot < self.needed()) {
            return Err(PlausibilityError::Memory {
                vms: self.vms,
                memory: self.memory,
                needed: self.needed(),
                slot,
            });
        }
        // More VMs than processors is what several VMs per slot are for; one that cannot run
        // all its processors at once is a mistake.
        if let Some(slots) = self.slots.filter(|&slots| slots < self.cpus) {
            return Err(PlausibilityError::Processors { cpus: self.cpus, slots });
        }
        match (self.job_time, self.time) {
            (Some(job), Some(slot)) if job > slot => Err(PlausibilityError::Time { job, slot }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FITS: Plausibility = Plausibility {
        vms: 4,
        hypervisor: Hypervisor::Qemu,
        memory: Bytes::mebibytes(256),
        cpus: 1,
        slots: Some(1),
        slot_memory: Some(Bytes::mebibytes(1280)),
        time: Some(Duration::from_mins(10)),
        job_time: Some(Duration::from_mins(9)),
    };

    #[test]
    fn what_cannot_fit_is_told_with_the_sum() {
        assert_eq!(FITS.check(), Ok(()));
        let slot_memory = Some(Bytes::mebibytes(1279));
        let error = Plausibility { slot_memory, ..FITS }.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "4 VMs of 256.0 MiB need 1.3 GiB with their hypervisors, and the slot has 1.2 GiB"
        );
        assert!(error.help().unwrap().contains("--slot-memory 1280M"), "{error:?}");
        let hypervisor = Hypervisor::VirtualBox;
        let needed = Plausibility { hypervisor, ..FITS }.needed();
        assert_eq!(needed, Bytes::mebibytes(4 * (256 + 96 + 16)));
        let codes = [
            Plausibility { cpus: 2, ..FITS }.check(),
            Plausibility {
                time: Some(Duration::from_mins(8)),
                ..FITS
            }
            .check(),
            Plausibility {
                vms: u32::MAX,
                memory: Bytes(u64::MAX),
                ..FITS
            }
            .check(),
        ]
        .map(|result| result.unwrap_err().code());
        assert_eq!(codes, ["HV5041", "HV5042", "HV5040"]);
    }
}
