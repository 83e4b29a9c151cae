//! Whether a machine fits into this host's memory.

use super::error::LaunchError;
use crate::units::{Bytes, KIB};

/// What the hypervisor needs besides the guest's memory.
const OVERHEAD: Bytes = Bytes::mebibytes(48);

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
    }
}
