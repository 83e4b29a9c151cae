//! What the hypervisor and the guest's console said, for error messages.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where to look when something went wrong.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) hypervisor: PathBuf,
    pub(super) console: PathBuf,
}

/// Lines of a log that an error shows.
pub(super) const LINES_SHOWN: usize = 12;

/// What a Linux kernel says first when it gives up; the registers and calls after it push it out of sight.
const PANIC: &str = "Kernel panic";

/// The last lines of a log, for an error message, and before them why the kernel gave up.
pub(super) fn last_lines(path: &Path, count: usize) -> String {
    const WINDOW: u64 = 8192;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    // A console's escape sequences must not reach the user's terminal.
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let (before, last) = lines.split_at(lines.len().saturating_sub(count));
    let panic = before.iter().rfind(|line| line.contains(PANIC));
    panic.into_iter().chain(last).copied().collect::<Vec<_>>().join("\n")
}

/// The hypervisor's own words where it has any, and the end of the guest's console.
pub(super) fn words(logs: &Logs) -> String {
    let parts = [
        last_lines(&logs.hypervisor, LINES_SHOWN),
        last_lines(&logs.console, LINES_SHOWN),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}
