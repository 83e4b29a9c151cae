//! Space, memory, processors.

use std::fs;
use std::io;
use std::path::Path;

use super::finding::{Finding, State};
use crate::units::{Bytes, GIB, MIB};

/// A folder that must be writable and have this much space: where it is not there yet, the
/// nearest folder above it that is.
pub(super) fn folder(subject: &str, path: &Path, needed: u64, option: &str) -> Finding {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    let space = match writable_space(there) {
        Ok(space) => space,
        Err(error) => {
            return Finding::bad(
                State::Problem,
                subject,
                format!("{} cannot be written: {error}", path.display()),
                format!("name another folder with {option}"),
            );
        }
    };
    let detail = format!("{}: {} free", path.display(), Bytes(space));
    if space >= needed {
        return Finding::ok(subject, detail);
    }
    let remedy = format!("free at least {}, or name another folder with {option}", Bytes(needed));
    Finding::bad(State::Warning, subject, detail, remedy)
}

/// The image store of a machine that only runs jobs: reading is enough where it is there already,
/// since it may belong to someone else.
pub(super) fn store_to_read(path: &Path) -> Finding {
    match fs::read_dir(path) {
        Ok(_) => Finding::ok("store", format!("{}: readable", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder("store", path, STORE_NEEDED, "--store"),
        Err(error) => Finding::bad(
            State::Problem,
            "store",
            format!("{} cannot be read: {error}", path.display()),
            "name another folder with --store",
        ),
    }
}

/// Writes a file into `folder`, for real, and returns the bytes that this user may still use.
fn writable_space(folder: &Path) -> io::Result<u64> {
    tempfile::tempfile_in(folder)?;
    let space = rustix::fs::statvfs(folder)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Memory that can be had without swapping.
pub(super) fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    judge_memory(available(&text))
}

/// `MemAvailable` of proc(5) in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn judge_memory(available: Option<u64>) -> Finding {
    let few = "give guests less memory with --memory, or end other programs";
    match available {
        None => Finding::bad(State::Warning, "memory", "/proc/meminfo does not tell", "mount /proc"),
        Some(bytes) if bytes < 512 * MIB => {
            Finding::bad(State::Warning, "memory", format!("{} available", Bytes(bytes)), few)
        }
        Some(bytes) => Finding::ok("memory", format!("{} available", Bytes(bytes))),
    }
}

/// Processors this process may use: what a scheduler's affinity or quota leaves of the node.
pub(super) fn processors() -> Finding {
    match std::thread::available_parallelism() {
        Ok(count) => Finding::ok("processors", format!("{count} usable")),
        Err(error) => Finding::bad(State::Warning, "processors", error.to_string(), "mount /proc and /sys"),
    }
}

/// Space that images of a few recipes take.
pub(super) const STORE_NEEDED: u64 = GIB;
/// Space that packages and trees of a few recipes take.
pub(super) const CACHE_NEEDED: u64 = 2 * GIB;
/// Space that one build takes while it goes on.
pub(super) const SCRATCH_NEEDED: u64 = GIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        for (text, bytes) in [
            ("MemTotal: 9 kB\nMemAvailable:   23648 kB\n", Some(23648 * 1024)),
            ("MemTotal: 9 kB\n", None),
            ("MemAvailable: many\n", None),
        ] {
            assert_eq!(available(text), bytes, "{text}");
        }
        assert_eq!(judge_memory(Some(100 * MIB)).state, State::Warning);
        assert_eq!(judge_memory(Some(GIB)).state, State::Ok);
    }

    #[test]
    fn a_store_that_is_there_need_only_be_readable() {
        // Nobody may make files in /proc, not even root.
        assert_eq!(store_to_read(Path::new("/proc")).state, State::Ok);
        assert_eq!(store_to_read(Path::new("/proc/none")).state, State::Problem);
        assert_eq!(store_to_read(Path::new("/proc/self/maps")).state, State::Problem);
    }

    #[test]
    fn folders_are_judged_by_writing() {
        let here = tempfile::tempdir().unwrap();
        let below = here.path().join("not/yet");
        assert_eq!(folder("x", &below, 1, "--store").state, State::Ok);
        assert!(!below.exists(), "looking makes nothing");
        assert_eq!(folder("x", &below, u64::MAX, "--store").state, State::Warning);
        let finding = folder("x", Path::new("/proc/hpcvm"), 1, "--store");
        assert_eq!(finding.state, State::Problem);
        assert_eq!(finding.remedy.unwrap(), "name another folder with --store");
    }
}
