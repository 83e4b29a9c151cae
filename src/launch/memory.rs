//! Whether a machine fits into this host's memory.

use super::error::LaunchError;
use crate::hypervisor::Hypervisor;
use crate::units::{Bytes, KIB};

/// What a guest and its hypervisor need.
fn needed(hypervisor: Hypervisor, guest: Bytes) -> Bytes {
    Bytes(guest.0.saturating_add(hypervisor.overhead().0))
}

/// Refuses guests that this host's free memory does not hold together with their hypervisors.
pub(super) fn check_all(hypervisor: Hypervisor, guests: &[Bytes]) -> Result<(), LaunchError> {
    let sum = guests
        .iter()
        .fold(0_u64, |sum, guest| sum.saturating_add(needed(hypervisor, *guest).0));
    match check_sum(Bytes(sum)) {
        Err(LaunchError::Memory { needed, available }) if guests.len() > 1 => Err(LaunchError::MemoryOfAll {
            vms: guests.len(),
            each: guests.iter().copied().max().unwrap_or_default(),
            needed,
            available,
        }),
        checked => checked,
    }
}

/// Refuses a guest that this host's free memory does not hold.
pub(super) fn check(hypervisor: Hypervisor, guest: Bytes) -> Result<(), LaunchError> {
    check_sum(needed(hypervisor, guest))
}

fn check_sum(needed: Bytes) -> Result<(), LaunchError> {
    let Some(available) = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| available(&text))
    else {
        return Ok(());
    };
    if needed > available {
        Err(LaunchError::Memory { needed, available })
    } else {
        Ok(())
    }
}

/// `MemAvailable` of `proc_meminfo(5)`.
fn available(meminfo: &str) -> Option<Bytes> {
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(Bytes(kibibytes.saturating_mul(KIB)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:  24576 kB\nMemFree: 10 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(text), Some(Bytes::mebibytes(2)));
        assert_eq!(available("nothing"), None);
    }

    #[test]
    fn a_guest_that_cannot_fit_is_refused() {
        for hypervisor in [Hypervisor::Qemu, Hypervisor::VirtualBox] {
            assert!(check(hypervisor, Bytes::mebibytes(1)).is_ok());
            assert!(matches!(
                check(hypervisor, Bytes(u64::MAX)),
                Err(LaunchError::Memory { .. })
            ));
            assert!(check_all(hypervisor, &[Bytes::mebibytes(1); 3]).is_ok());
            let error = check_all(hypervisor, &[Bytes(u64::MAX / 8); 4])
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("4 guests of up to "), "{error}");
        }
        // Two processes for each machine of VirtualBox, one for QEMU's.
        assert_eq!(
            needed(Hypervisor::VirtualBox, Bytes::mebibytes(32)),
            Bytes::mebibytes(128)
        );
        assert_eq!(needed(Hypervisor::Qemu, Bytes::mebibytes(32)), Bytes::mebibytes(80));
    }
}
