//! Who may boot now: a token for each core of the node.
//!
//! A token is a lock on a file of the node cache, so that it counts for all launches of the user on
//! the node, and the kernel gives it back however its holder dies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::durable::{self, WriteError};

/// How often a launch that waits looks for a free token: short against a boot.
const GLANCE: Duration = Duration::from_millis(5);

/// The tokens of a node.
#[derive(Clone, Debug)]
pub struct Admission {
    folder: PathBuf,
    tokens: usize,
    patience: Duration,
}

/// The right to boot; ends when dropped.
#[derive(Debug)]
pub struct Token {
    _lock: File,
}

impl Admission {
    /// `tokens` boots at once, by locks in `folder`, which only this user may write to.
    pub fn new(folder: &Path, tokens: usize) -> Result<Self, WriteError> {
        durable::create_private_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            tokens: tokens.max(1),
            patience: Duration::MAX,
        })
    }

    /// The same for those who wait at most so long and then boot without a token.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Waits for a token; `None` when `cancelled` says so, when patience is at its end, or when the locks cannot be
    /// used: a launch is better late than never.
    pub fn admit(&self, cancelled: &mut dyn FnMut() -> bool) -> Option<Token> {
        let began = Instant::now();
        loop {
            for number in 0..self.tokens {
                match self.try_token(number) {
                    Ok(Some(token)) => return Some(token),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(folder = %self.folder.display(), %error, "boots are not admitted in turn");
                        return None;
                    }
                }
            }
            if cancelled() || began.elapsed() >= self.patience {
                return None;
            }
            thread::sleep(GLANCE);
        }
    }

    fn try_token(&self, number: usize) -> std::io::Result<Option<Token>> {
        let path = self.folder.join(format!("token-{number}"));
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Token { _lock: lock })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_boot_than_there_are_tokens_and_all_do() {
        let folder = tempfile::tempdir().unwrap();
        let (now, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let admission = Admission::new(folder.path(), 3).unwrap();
                    let token = admission.admit(&mut || false);
                    assert!(token.is_some());
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, Ordering::SeqCst);
                    all.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), all.into_inner()), (3, 12));
    }

    #[test]
    fn who_waits_can_be_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let admission = Admission::new(folder.path(), 1).unwrap();
        let held = admission.admit(&mut || false);
        let mut glances = 0;
        let refused = admission.admit(&mut || {
            glances += 1;
            glances > 3
        });
        assert!(held.is_some() && refused.is_none());
        let impatient = admission.with_patience(Duration::from_millis(20));
        assert!(impatient.admit(&mut || false).is_none());
    }
}
