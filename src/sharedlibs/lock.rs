//! One writer at a time, on local and on network file systems.
//!
//! Writers hold `REPO/lock` by flock(2), which the kernel ends with the process. NFS passes it on
//! to the server, except where it is mounted with `local_lock` or `nolock`: so writers also make
//! `REPO/lock.holder` by link(2), which no two hosts can do at once, and touch it while they work.
//! A holder's file that nobody touches any more is from a host that went away.

use std::fs::{self, File, FileTimes, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::LibraryError;
use super::error::writing;

/// How often a holder touches its file, and for how long it must stay untouched to be stale.
#[derive(Clone, Copy, Debug)]
struct Patience {
    beat: Duration,
    stale: Duration,
}

const PATIENCE: Patience = Patience {
    beat: Duration::from_secs(5),
    stale: Duration::from_mins(1),
};

/// How often a waiting writer looks.
const LOOK: Duration = Duration::from_millis(100);

/// The right to write; ends when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    holder: Holder,
    /// Locked as long as it is open; given up after the holder's file.
    _lock: File,
}

impl Lock {
    /// Waits until nobody else writes to the repository in `folder`. Temporary files go to `incoming`.
    pub(super) fn acquire(folder: &Path, incoming: &Path) -> Result<Self, LibraryError> {
        Self::acquire_with(folder, incoming, PATIENCE)
    }

    fn acquire_with(folder: &Path, incoming: &Path, patience: Patience) -> Result<Self, LibraryError> {
        let path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(writing(&path))?;
        let alone_on_host = match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                tracing::warn!("another writer is at work in {}: waiting", folder.display());
                lock.lock().map_err(writing(&path))?;
                true
            }
            // No locks on this file system: the holder's file alone has to do.
            Err(TryLockError::Error(_)) => false,
        };
        let path = folder.join("lock.holder");
        let holder = Holder::take(&path, incoming, alone_on_host, patience).map_err(writing(&path))?;
        Ok(Self { holder, _lock: lock })
    }

    /// Whether nobody has broken the lock meanwhile.
    pub(super) fn is_held(&self) -> bool {
        self.holder.is_ours()
    }
}

/// The holder's file, touched by a thread of its own.
#[derive(Debug)]
struct Holder {
    path: PathBuf,
    inode: u64,
    stop: Option<Sender<()>>,
    beating: Option<JoinHandle<()>>,
}

impl Holder {
    fn take(path: &Path, incoming: &Path, alone_on_host: bool, patience: Patience) -> io::Result<Self> {
        let host = host();
        let mut own = holder_in(incoming, &host)?;
        let mut seen = Seen::default();
        while let Err(error) = fs::hard_link(own.path(), path) {
            if error.kind() == io::ErrorKind::NotFound {
                // A writer that has the lock clears away whatever is not its own.
                own = holder_in(incoming, &host)?;
                continue;
            }
            // A server's answer may get lost: the link then is there though its maker is told that it was.
            if own.as_file().metadata()?.nlink() == 2 {
                break;
            }
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            let Ok(there) = fs::metadata(path) else { continue };
            // A holder on this very host would have the lock that we have.
            let dead = alone_on_host && fs::read_to_string(path).is_ok_and(|text| text.trim_end() == host);
            if seen.state.is_none() && !dead {
                tracing::warn!("another host has {}: waiting for it", path.display());
            }
            if dead || seen.untouched(&there)? >= patience.stale {
                discard(path, incoming, there.ino())?;
            } else {
                thread::sleep(LOOK);
            }
        }
        let file = own.as_file().try_clone()?;
        let inode = file.metadata()?.ino();
        let (stop, stopped) = mpsc::channel();
        let beating = thread::spawn(move || {
            while stopped.recv_timeout(patience.beat) == Err(RecvTimeoutError::Timeout) {
                // A file that cannot be touched looks stale, which the commit notices.
                file.set_times(FileTimes::new().set_modified(SystemTime::now())).ok();
            }
        });
        Ok(Self {
            path: path.to_owned(),
            inode,
            stop: Some(stop),
            beating: Some(beating),
        })
    }

    fn is_ours(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(beating) = self.beating.take() {
            // It neither panics nor fails.
            beating.join().ok();
        }
        if self.is_ours() {
            // One that stays is found dead by the next writer.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A holder's file that is not in its place yet.
fn holder_in(incoming: &Path, host: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("holder-").tempfile_in(incoming)?;
    file.write_all(format!("{host}\n").as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// When a holder's file was last seen to change, by this host's own clock.
#[derive(Default)]
struct Seen {
    state: Option<((u64, SystemTime), Instant)>,
}

impl Seen {
    fn untouched(&mut self, there: &fs::Metadata) -> io::Result<Duration> {
        let now = (there.ino(), there.modified()?);
        match self.state {
            Some((before, since)) if before == now => Ok(since.elapsed()),
            _ => {
                self.state = Some((now, Instant::now()));
                Ok(Duration::ZERO)
            }
        }
    }
}

/// Takes a dead holder's file away, unless it is another one by now.
fn discard(path: &Path, incoming: &Path, inode: u64) -> io::Result<()> {
    let place = tempfile::Builder::new().prefix("stale-").tempdir_in(incoming)?;
    let aside = place.path().join("holder");
    match fs::rename(path, &aside) {
        // Another waiter did it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    if fs::metadata(&aside)?.ino() != inode {
        // A live one took its place in between: give it back.
        fs::hard_link(&aside, path).ok();
    }
    Ok(())
}

/// This host as it runs now: a number that the kernel makes up at each boot.
fn host() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Patience = Patience {
        beat: Duration::from_millis(20),
        stale: Duration::from_millis(200),
    };

    fn acquire(folder: &Path) -> Lock {
        Lock::acquire_with(folder, folder, QUICK).unwrap()
    }

    #[test]
    fn a_second_writer_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire(folder.path());
        thread::scope(|scope| {
            let second = scope.spawn(|| acquire(folder.path()));
            thread::sleep(Duration::from_millis(400));
            assert!(!second.is_finished());
            assert!(first.is_held());
            drop(first);
            assert!(second.join().unwrap().is_held());
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the lock stays");
    }

    #[test]
    fn a_dead_holder_of_this_host_is_passed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock.holder"), format!("{}\n", host())).unwrap();
        let begun = Instant::now();
        assert!(acquire(folder.path()).is_held());
        assert!(begun.elapsed() < QUICK.stale);
    }

    #[test]
    fn a_holder_of_another_host_counts_while_it_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.holder");
        fs::write(&path, "another\n").unwrap();
        let touched_for = Duration::from_millis(600);
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let file = File::options().write(true).open(&path).unwrap();
                while begun.elapsed() < touched_for {
                    let now = FileTimes::new().set_modified(SystemTime::now());
                    file.set_times(now).unwrap();
                    thread::sleep(QUICK.beat);
                }
            });
            assert!(acquire(folder.path()).is_held());
        });
        assert!(begun.elapsed() + QUICK.beat >= touched_for + QUICK.stale);
    }

    #[test]
    fn a_live_holder_beats() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = acquire(folder.path());
        let time = || {
            fs::metadata(folder.path().join("lock.holder"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before = time();
        thread::sleep(QUICK.beat * 5);
        assert!(time() > before);
    }
}
