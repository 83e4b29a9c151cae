//! The one place that writes files others may read: whole, or not at all.
//!
//! A file is written under a random name in its target's own folder, flushed to the device and
//! renamed over the target, so that a reader, a crash or a full disk never meets half a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::diagnostic::{Blame, Problem};

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl Problem for WriteError {
    fn code(&self) -> &'static str {
        "HV1301"
    }

    fn blame(&self) -> Blame {
        Blame::Host
    }

    fn help(&self) -> Option<String> {
        Some(match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some space there, or name another place with --store, --cache or TMPDIR".to_owned()
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "name a place you may write to with --store, --cache or TMPDIR".to_owned()
            }
            _ => return None,
        })
    }
}

/// Writes the file at `path` through `fill`; on any error the old content stays.
///
/// `E` is the caller's error; it only has to be able to hold a [`WriteError`].
pub fn write_with<E: From<WriteError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| {
        E::from(WriteError {
            path: path.to_owned(),
            source,
        })
    };
    let folder = folder_of(path);
    let temporary = tempfile::Builder::new()
        .prefix(".hpcvm-")
        .tempfile_in(folder)
        .map_err(failed)?;
    let (unfilled, temporary_path) = temporary.into_parts();
    let mut writer = BufWriter::with_capacity(256 * 1024, unfilled);
    fill(&mut writer)?;
    let written = writer.into_inner().map_err(|e| failed(e.into_error()))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    written.set_permissions(mode).map_err(failed)?;
    written.sync_all().map_err(failed)?;
    temporary_path.persist(path).map_err(|e| failed(e.error))?;
    sync_folder(folder).map_err(failed)
}

/// Writes `bytes` to the file at `path`, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_with(path, |writer| {
        writer.write_all(bytes).map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
    })
}

/// Writes `bytes` to the file at `path`, whole or not at all, for the user alone (mode 0600 from
/// its first moment).
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let folder = folder_of(path);
    let write = || -> io::Result<()> {
        // What is made under a random name has mode 0600 already.
        let mut temporary = tempfile::Builder::new().prefix(".hpcvm-").tempfile_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(|source| WriteError {
        path: path.to_owned(),
        source,
    })
}

/// A new folder for the user alone, beside `target`: a program can make a file in it that
/// [`adopt`] then puts at `target`. It goes away with the value.
pub fn scratch_beside(target: &Path) -> Result<TempDir, WriteError> {
    private_folder_in(folder_of(target), ".hpcvm-").map_err(|source| WriteError {
        path: target.to_owned(),
        source,
    })
}

/// Makes a folder of random name below `parent`, for the user alone (mode 0700 from its first
/// moment); removed when dropped.
pub fn private_folder_in(parent: &Path, prefix: &str) -> io::Result<TempDir> {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new()
        .prefix(prefix)
        .rand_bytes(12)
        .permissions(private)
        .tempdir_in(parent)
}

/// Puts the finished file `made`, of the same file system, at `target`.
pub fn adopt(made: &Path, target: &Path) -> Result<(), WriteError> {
    let adopt = || -> io::Result<()> {
        let file = File::open(made)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(made, target)?;
        sync_folder(folder_of(target))
    };
    adopt().map_err(|source| WriteError {
        path: target.to_owned(),
        source,
    })
}

/// The folder that `path` stands in; the working folder for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes a rename inside `folder` survive a crash.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes `path` and its parents, for the user alone (mode 0700) where they are new.
pub fn create_private_folder(path: &Path) -> Result<(), WriteError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        write(&path, b"old").unwrap();
        let result: Result<(), WriteError> = write_with(&path, |writer| {
            writer.write_all(b"half").unwrap();
            Err(WriteError {
                path: path.clone(),
                source: io::Error::other("stop"),
            })
        });
        assert!(result.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_made_beside_its_target_is_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("root.squashfs");
        let scratch = scratch_beside(&target).unwrap();
        let made = scratch.path().join("made");
        fs::write(&made, b"image").unwrap();
        adopt(&made, &target).unwrap();
        drop(scratch);
        assert_eq!(fs::read(&target).unwrap(), b"image");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(adopt(&made, &target).is_err());
        assert_eq!(folder_of(Path::new("bare")), Path::new("."));
    }
}
