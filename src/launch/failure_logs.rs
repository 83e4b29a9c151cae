//! What a machine's programs said, kept when the machine failed its job.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::durable;

/// In a launch's private folder; what is not there was not said.
const LOGS: [&str; 5] = [
    "hypervisor.log",
    "service.log",
    "console.log",
    "Logs/VBox.log",
    "hpcvm.vbox",
];
/// The most that is kept of a log: its end.
const LONGEST: u64 = 256 * 1024;
/// So many launches' logs are kept in a folder.
const LAUNCHES: usize = 16;

/// Keeps the logs of the launch in `folder` below `place`, where those of the oldest launches give way; returns where.
pub(super) fn keep(folder: &Path, place: &Path) -> io::Result<PathBuf> {
    let name = folder.file_name().unwrap_or(OsStr::new("launch"));
    durable::create_private_folder(place).map_err(io::Error::other)?;
    let kept = place.join(name);
    fs::create_dir(&kept)?;
    for log in LOGS {
        let from = folder.join(log);
        let end = match end_of(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            end => end?,
        };
        fs::write(kept.join(from.file_name().unwrap_or_default()), end)?;
    }
    forget_oldest(place)?;
    Ok(kept)
}

fn end_of(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut end = Vec::new();
    file.take(LONGEST).read_to_end(&mut end)?;
    Ok(end)
}

fn forget_oldest(place: &Path) -> io::Result<()> {
    let entries = fs::read_dir(place)?.collect::<io::Result<Vec<_>>>()?;
    let age = |entry: &fs::DirEntry| entry.metadata().and_then(|metadata| metadata.modified());
    let mut folders: Vec<_> = entries
        .iter()
        .map(|entry| (age(entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
        .collect();
    folders.sort();
    for (_, folder) in &folders[..folders.len().saturating_sub(LAUNCHES)] {
        // Another launch may be doing the same.
        let _ = fs::remove_dir_all(folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_logs_are_kept_of_so_many_launches() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("failed");
        let launch = |number: usize| {
            let folder = parent.path().join(format!("hpcvm-vm-{number:02}"));
            fs::create_dir_all(folder.join("Logs")).unwrap();
            fs::write(folder.join("Logs/VBox.log"), vec![b'x'; 300 * 1024]).unwrap();
            fs::write(folder.join("hypervisor.log"), format!("launch {number}")).unwrap();
            fs::write(folder.join("job.disk"), "secret").unwrap();
            keep(&folder, &place).unwrap()
        };
        let first = launch(0);
        assert_eq!(fs::metadata(first.join("VBox.log")).unwrap().len(), LONGEST);
        let names: Vec<_> = fs::read_dir(&first)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let old = File::open(&first).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        for number in 1..=LAUNCHES {
            launch(number);
        }
        assert!(!first.exists());
        assert_eq!(fs::read_dir(&place).unwrap().count(), LAUNCHES);
        let last = place.join(format!("hpcvm-vm-{LAUNCHES:02}/hypervisor.log"));
        assert_eq!(fs::read_to_string(last).unwrap(), format!("launch {LAUNCHES}"));
    }
}
