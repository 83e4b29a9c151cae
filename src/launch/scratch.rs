//! The private folder of one launch, and the removal of those that a killed launcher left.
//!
//! A folder is found to be left over by its lock, never by its name: the launcher holds a lock
//! on a file inside for as long as it lives, and the kernel drops it however the launcher dies.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::LaunchError;
use crate::durable;
use crate::hypervisor::virtualbox;

const PREFIX: &str = "hpcvm-vm-";
/// While its lock is not taken yet, a folder has this prefix.
const NEW_PREFIX: &str = "hpcvm-new-";
const LOCK: &str = "lock";
/// A folder that is this old and still has its first name was left by a launcher killed in between.
const STILLBORN: Duration = Duration::from_mins(10);

/// A launch's private folder (mode 0700, random name); removed when dropped.
#[derive(Debug)]
pub struct ScratchFolder {
    path: PathBuf,
    keep: bool,
    /// Holds the lock.
    _lock: File,
}

impl ScratchFolder {
    /// Makes one below `parent`.
    pub fn create(parent: &Path, keep: bool) -> Result<Self, LaunchError> {
        let failed = |source| LaunchError::Scratch {
            path: parent.to_owned(),
            source,
        };
        let new = durable::private_folder_in(parent, NEW_PREFIX).map_err(failed)?;
        let lock = File::create_new(new.path().join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let name = new
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .expect("the name is made of ASCII");
        let path = parent.join(name.replacen(NEW_PREFIX, PREFIX, 1));
        // Random names of a private folder's kind do not collide; if one did, rename fails on a non-empty folder.
        fs::rename(new.path(), &path).map_err(failed)?;
        let _renamed = new.keep();
        Ok(Self {
            path,
            keep,
            _lock: lock,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if self.keep {
            // Without its lock file the folder is no left-over to anyone.
            let _ = fs::remove_file(self.path.join(LOCK));
            tracing::warn!(folder = %self.path.display(), "the launch's private folder is kept");
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "cannot remove the launch's private folder");
        }
    }
}

/// Removes what killed launchers of this user left below `parent`, and `VirtualBox`'s sockets of theirs; returns how
/// many folders.
#[must_use]
pub fn reap(parent: &Path) -> usize {
    let sockets = virtualbox::reap();
    let Ok(entries) = fs::read_dir(parent) else {
        return sockets;
    };
    let folders = entries
        .flatten()
        .filter(|entry| is_left_over(&entry.path()) && fs::remove_dir_all(entry.path()).is_ok())
        .count();
    folders + sockets
}

/// Does the same in `parent` and in all folders below it: those of this user's other job slots.
#[must_use]
pub fn reap_with_slots(parent: &Path) -> usize {
    let Ok(entries) = fs::read_dir(parent) else { return 0 };
    let ours = rustix::process::getuid().as_raw();
    let is_ours = |found: fs::Metadata| found.is_dir() && found.uid() == ours;
    let folders = entries.flatten().filter(|entry| entry.metadata().is_ok_and(is_ours));
    let below: usize = folders.map(|folder| reap(&folder.path())).sum();
    below + reap(parent)
}

fn is_left_over(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    if !metadata.is_dir() || metadata.uid() != rustix::process::getuid().as_raw() {
        return false;
    }
    if name.starts_with(NEW_PREFIX) {
        return metadata
            .modified()
            .ok()
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age > STILLBORN);
    }
    name.starts_with(PREFIX) && is_unlocked(&path.join(LOCK))
}

/// Whether the lock file is there and nobody holds it.
fn is_unlocked(lock: &Path) -> bool {
    match File::open(lock).map(|file| file.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = ScratchFolder::create(parent.path(), false).unwrap();
        assert_eq!(
            fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::write(scratch.path().join("job.disk"), b"x").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_folders_without_a_living_owner_are_reaped() {
        let parent = tempfile::tempdir().unwrap();
        let alive = ScratchFolder::create(parent.path(), false).unwrap();
        let dead = parent.path().join("hpcvm-vm-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        let kept = parent.path().join("hpcvm-vm-kept");
        fs::create_dir(&kept).unwrap();
        let other = parent.path().join("hpcvm-vm-link");
        std::os::unix::fs::symlink(&kept, &other).unwrap();
        let slot = parent.path().join("7.1.main.q");
        fs::create_dir_all(slot.join("hpcvm-vm-dead")).unwrap();
        fs::write(slot.join("hpcvm-vm-dead").join(LOCK), b"").unwrap();
        assert_eq!(reap_with_slots(parent.path()), 2);
        assert!(slot.exists() && !slot.join("hpcvm-vm-dead").exists() && !dead.exists());
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        assert_eq!(reap(parent.path()), 1);
        assert!(!dead.exists() && kept.exists() && other.exists() && alive.path().exists());
    }
}
