//! An image that is in use is not removed.
//!
//! Whoever uses an image holds a shared lock (flock(2)) on its manifest for as long; whoever
//! would remove it needs the exclusive one. The kernel drops the lock however the user dies, also
//! over NFS, where the server does. Holding needs no more than the right to read.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::manifest::MANIFEST_FILE;

/// Keeps an image from being removed until it is dropped.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Whether the exclusive lock was to be had.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nobody uses the image, and nobody begins to while the file is open.
    Free(File),
    /// Somebody uses it.
    Used,
}

/// Holds the image in `folder`. `NotFound` where it is being removed.
pub fn hold(folder: &Path) -> io::Result<Hold> {
    let path = folder.join(MANIFEST_FILE);
    let file = File::open(&path)?;
    file.lock_shared()?;
    // It may have gone between being opened and being locked.
    let (opened, named) = (file.metadata()?, fs::metadata(&path)?);
    if (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        Ok(Hold(file))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Takes the exclusive lock on the image in `folder`, if nobody holds it.
pub(super) fn claim(folder: &Path) -> io::Result<Claim> {
    let file = open_to_write(&folder.join(MANIFEST_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Claim::Free(file)),
        Err(TryLockError::WouldBlock) => Ok(Claim::Used),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Over NFS an exclusive lock needs a file that is open to be written; a manifest is read-only.
fn open_to_write(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let sealed = fs::metadata(path)?.permissions();
            fs::set_permissions(path, Permissions::from_mode(sealed.mode() | 0o200))?;
            let opened = open();
            fs::set_permissions(path, sealed)?;
            opened
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_image_cannot_be_claimed_and_a_claimed_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST_FILE);
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let (one, other) = (hold(folder.path()).unwrap(), hold(folder.path()).unwrap());
        assert!(matches!(claim(folder.path()), Ok(Claim::Used)));
        drop((one, other));
        let claimed = claim(folder.path()).unwrap();
        assert!(matches!(claimed, Claim::Free(_)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);

        let (sender, receiver) = std::sync::mpsc::channel();
        let parent = folder.path().to_owned();
        let waiting = std::thread::spawn(move || {
            sender.send(()).unwrap();
            hold(&parent).is_err()
        });
        receiver.recv().unwrap();
        fs::remove_file(&path).unwrap();
        drop(claimed);
        assert!(waiting.join().unwrap());
    }
}
