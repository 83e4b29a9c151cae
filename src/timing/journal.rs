//! The timing logger's file: one stamped event a line, only ever appended to.
//!
//! What was acknowledged is on disk. A line that a crash cut short is closed off by the next
//! logger and passed over by readers; everything before it is whole.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::event::{MAX_LINE, Stamped};
use super::logger_error::LoggerError;

/// The journal's name in the logger's folder.
pub const JOURNAL_FILE: &str = "events.jsonl";

/// A journal open for writing; there is one writer at a time, who holds the folder's lock.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one, readable by its owner alone.
    pub fn open(folder: &Path) -> Result<Self, LoggerError> {
        let path = folder.join(JOURNAL_FILE);
        let failed = |source| LoggerError::Folder {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        close_torn_line(&mut file).map_err(failed)?;
        Ok(Self { file, path })
    }

    /// Appends `events` and returns when they are on disk. When that fails, none of them may be
    /// acknowledged; a line that was cut short is closed off.
    pub fn append(&mut self, events: &[Stamped]) -> Result<(), LoggerError> {
        let mut lines = Vec::with_capacity(events.len() * 256);
        for event in events {
            serde_json::to_writer(&mut lines, event).expect("an event has string keys only, and memory does not fail");
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        written.map_err(|source| {
            // The next append must not continue half a line.
            let _ = close_torn_line(&mut self.file);
            LoggerError::Folder {
                path: self.path.clone(),
                source,
            }
        })
    }
}

/// Ends the last line where a crash cut it short.
fn close_torn_line(file: &mut File) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// Every event of the journal at `path` that `wanted` takes, in the order of arrival, each once:
/// a sender that heard no acknowledgement sends again. What is no event is passed over.
pub fn read(path: &Path, mut wanted: impl FnMut(&Stamped) -> bool) -> io::Result<Vec<Stamped>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    let mut seen = HashSet::new();
    let mut events = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(4 * MAX_LINE).expect("lines are short");
        if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(events);
        }
        let Ok(stamped) = serde_json::from_slice::<Stamped>(&line) else {
            continue;
        };
        if wanted(&stamped) && seen.insert((stamped.event.sender, stamped.event.sequence)) {
            events.push(stamped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::event::{Detail, EVENT_VERSION, Event, EventKind, JobKey};
    use super::*;

    fn stamped(sequence: u64) -> Stamped {
        Stamped {
            at: 1,
            uid: 0,
            event: Event {
                version: EVENT_VERSION,
                job: JobKey::of([0; 16]),
                sender: 1,
                sequence,
                monotonic: 0,
                event: EventKind::Cloned,
                task: None,
                vm: None,
                detail: Detail::new(),
            },
        }
    }

    #[test]
    fn a_torn_line_costs_nothing_else_and_repeats_count_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL_FILE);
        Journal::open(folder.path())
            .unwrap()
            .append(&[stamped(0), stamped(1)])
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        // A crash in the midst of a third line.
        std::fs::write(&path, [&whole[..], &whole[..40]].concat()).unwrap();
        Journal::open(folder.path())
            .unwrap()
            .append(&[stamped(1), stamped(2)])
            .unwrap();
        let sequences: Vec<u64> = read(&path, |_| true)
            .unwrap()
            .iter()
            .map(|event| event.event.sequence)
            .collect();
        assert_eq!(sequences, [0, 1, 2]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
