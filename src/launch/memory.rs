//! Whether a machine fits into this host's memory.

use super::error::LaunchError;
use crate::units::{Bytes, KIB};

/// What the hypervisor needs besides the guest's memory.
const OVERHEAD: Bytes = Bytes::mebibytes(48);

/// Refuses guests that this host's free memory does not hold together.
pub(super) fn check_all(guests: &[Bytes]) -> Result<(), LaunchError> {
    let sum = guests.iter().fold(0_u64, |sum, guest| {
        sum.saturating_add(guest.0).saturating_add(OVERHEAD.0)
    });
    match check(Bytes(sum.saturating_sub(OVERHEAD.0))) {
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
pub(super) fn check(guest: Bytes) -> Result<(), LaunchError> {
    let Some(available) = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| available(&text))
    else {
        return Ok(());
    };
    let needed = Bytes(guest.0.saturating_add(OVERHEAD.0));
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
        assert!(check(Bytes::mebibytes(1)).is_ok());
        assert!(matches!(check(Bytes(u64::MAX)), Err(LaunchError::Memory { .. })));
        assert!(check_all(&[Bytes::mebibytes(1); 3]).is_ok());
        let error = check_all(&[Bytes(u64::MAX / 8); 4]).unwrap_err().to_string();
        assert!(error.starts_with("4 guests of up to "), "{error}");
    }
}
