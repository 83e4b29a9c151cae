//! One writer at work.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::LibraryError;
use super::error::writing;
use super::lock::Lock;
use super::repository::{INCOMING, Repository};
use crate::durable;

/// The right to write, and a private folder on the repository's own file system. When it is
/// dropped, what was not put in its place goes away.
#[derive(Debug)]
pub(super) struct Session {
    scratch: TempDir,
    // After the folder: nobody else may clear it away while it is ours.
    lock: Lock,
}

impl Session {
    /// Waits for other writers, then removes what killed ones left.
    pub(super) fn begin(repository: &Repository) -> Result<Self, LibraryError> {
        let incoming = repository.folder().join(INCOMING);
        make_private(&incoming)?;
        let lock = Lock::acquire(repository.folder(), &incoming)?;
        clear(&incoming).map_err(writing(&incoming))?;
        let scratch = durable::private_folder_in(&incoming, "writer-").map_err(writing(&incoming))?;
        Ok(Self { scratch, lock })
    }

    /// The private folder.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Fails if another host took this writer for dead: then nothing of it may become visible.
    pub(super) fn check(&self, repository: &Repository) -> Result<(), LibraryError> {
        if self.lock.is_held() {
            return Ok(());
        }
        let lost = io::Error::other("another host took this writer for dead, since it stood still for a minute");
        Err(writing(&repository.folder().join("lock.holder"))(lost))
    }
}

/// Makes the folder of temporary files where it is missing.
pub(super) fn make_private(incoming: &Path) -> Result<(), LibraryError> {
    use std::os::unix::fs::DirBuilderExt as _;
    match fs::DirBuilder::new().mode(0o700).create(incoming) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(writing(incoming)(error)),
        _ => Ok(()),
    }
}

/// Removes everything below `incoming`.
fn clear(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let entry = entry?;
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
