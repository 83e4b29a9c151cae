//! Where one machine's `VirtualBox` keeps its things: a home, and a folder of sockets.
//!
//! The home is the launch's own and goes with it. The sockets must be in `/tmp`: `VirtualBox` takes no other
//! folder for them, only its name (`VBOX_IPC_SOCKETID`); two homes with one name share one service, and all machines
//! land in the first one's registry. A folder of sockets is found to be left over by its lock, never by its name.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::VirtualBoxError;
use crate::exec::Invocation;

/// Where `VirtualBox` makes its sockets, whatever `TMPDIR` says.
const SOCKETS: &str = "/tmp";
const PREFIX: &str = ".vbox-hpcvm-";
const SUFFIX: &str = "-ipc";
/// Held by the launch for as long as it lives.
const LOCK: &str = "hpcvm-lock";
/// A folder that is this old and has no lock yet was left by a launch killed in between.
const STILLBORN: Duration = Duration::from_mins(10);

/// The folders of one machine's `VirtualBox`.
#[derive(Debug)]
pub struct Folders {
    home: PathBuf,
    name: String,
    sockets: PathBuf,
    _lock: File,
}

impl Folders {
    /// Makes both: the home in `folder`, whose last component no other launch has.
    pub fn create(folder: &Path) -> Result<Self, VirtualBoxError> {
        let home = folder.join("virtualbox");
        let (name, sockets) = Self::sockets_of(folder);
        let private = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(failed(path));
        private(&home)?;
        private(&sockets)?;
        let lock = locked(&sockets).map_err(failed(&sockets));
        if lock.is_err() {
            let _ = fs::remove_dir_all(&sockets);
        }
        Ok(Self {
            home,
            name,
            sockets,
            _lock: lock?,
        })
    }

    /// The name (`VBOX_IPC_SOCKETID`) and the folder of sockets of a launch in `folder`.
    #[must_use]
    pub fn sockets_of(folder: &Path) -> (String, PathBuf) {
        let last = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("hpcvm-{}", last.trim_start_matches("hpcvm-"));
        let sockets = Path::new(SOCKETS).join(format!(".vbox-{name}{SUFFIX}"));
        (name, sockets)
    }

    /// The home, where the registry is.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of sockets, with a path short enough for a socket's.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// `invocation` as a program of this `VirtualBox` and of no other.
    #[must_use]
    pub fn within(&self, invocation: Invocation) -> Invocation {
        let invocation = invocation.env("VBOX_USER_HOME", &self.home);
        invocation.env("VBOX_IPC_SOCKETID", &self.name)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.sockets) {
            tracing::warn!(folder = %self.sockets.display(), %error, "cannot remove the sockets of a machine");
        }
    }
}

/// The lock file gets its name when it is locked, so that nobody finds it unlocked before.
fn locked(sockets: &Path) -> std::io::Result<File> {
    let new = sockets.join("new");
    let lock = File::create_new(&new)?;
    lock.lock()?;
    fs::rename(new, sockets.join(LOCK))?;
    Ok(lock)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> VirtualBoxError {
    let path = path.to_owned();
    move |source| VirtualBoxError::Write { path, source }
}

/// Removes the sockets that killed launches of this user left; returns how many folders.
#[must_use]
pub fn reap() -> usize {
    reap_in(Path::new(SOCKETS))
}

fn reap_in(parent: &Path) -> usize {
    let Ok(entries) = fs::read_dir(parent) else { return 0 };
    entries
        .flatten()
        .filter(|entry| is_left_over(&entry.path()) && fs::remove_dir_all(entry.path()).is_ok())
        .count()
}

fn is_left_over(path: &Path) -> bool {
    let named = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
    if !named {
        return false;
    }
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    if !metadata.is_dir() || metadata.uid() != rustix::process::getuid().as_raw() {
        return false;
    }
    match File::open(path.join(LOCK)).map(|file| file.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => false,
        Err(_) => {
            let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > STILLBORN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_its_own_and_they_go_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("hpcvm-vm-")
            .tempdir_in(parent.path())
            .unwrap();
        let folders = Folders::create(folder.path()).unwrap();
        assert_eq!(fs::metadata(folders.home()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(folders.sockets()).unwrap().mode() & 0o777, 0o700);
        assert!(!is_left_over(folders.sockets()));
        let shown = folders.within(Invocation::new("VBoxSVC")).to_string();
        let last = folder.path().file_name().unwrap().to_str().unwrap();
        assert!(shown.contains(&format!("VBOX_IPC_SOCKETID={last} ")), "{shown}");
        let sockets = folders.sockets().to_owned();
        // A second launch of the same name is refused and leaves the first one's sockets alone.
        let again = parent.path().join("other").join(last);
        fs::create_dir_all(&again).unwrap();
        assert!(matches!(Folders::create(&again), Err(VirtualBoxError::Write { .. })));
        assert!(sockets.exists());
        drop(folders);
        assert!(!sockets.exists());
    }

    #[test]
    fn only_sockets_without_a_living_owner_are_reaped() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let dead = folder(".vbox-hpcvm-vm-dead-ipc");
        fs::write(dead.join(LOCK), b"").unwrap();
        fs::write(dead.join("ipcd"), b"").unwrap();
        let alive = folder(".vbox-hpcvm-vm-alive-ipc");
        let lock = locked(&alive).unwrap();
        let young = folder(".vbox-hpcvm-vm-young-ipc");
        let others = folder(".vbox-somebody-ipc");
        fs::write(others.join(LOCK), b"").unwrap();
        let link = parent.path().join(".vbox-hpcvm-vm-link-ipc");
        std::os::unix::fs::symlink(&others, &link).unwrap();
        assert_eq!(reap_in(parent.path()), 1);
        assert!(!dead.exists());
        for kept in [&alive, &young, &others, &link] {
            assert!(kept.exists(), "{}", kept.display());
        }
        drop(lock);
        assert_eq!(reap_in(parent.path()), 1);
    }
}
