//! Putting objects and folders in their places.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::check::{self, Wanted};
use super::error::writing;
use super::folder::Listed;
use super::repository::{FOLDERS, Repository, is_unsupported, make_public};
use super::session::Session;
use super::{LibraryError, NewFolder};
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::rootfs::tree::{Content, TreePath};

/// The time of every file of a repository: a file with another one was touched by somebody.
pub(super) const TIME: Duration = Duration::from_secs(1);

/// Above this many files, the whole file system is flushed once instead of each file.
const MANY: usize = 64;

/// What was put in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Objects that were not there, or not sound.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders that were not there, or not sound.
    pub folders: u64,
}

/// Puts those of `contents` in their places that are not there or not sound; each comes with its
/// path in the guest, for messages.
pub(super) fn put(
    repository: &Repository,
    session: &Session,
    contents: &[(String, Content)],
) -> Result<Written, LibraryError> {
    let mut wanted: BTreeMap<Digest, &(String, Content)> = BTreeMap::new();
    for content in contents {
        wanted.entry(content.1.digest).or_insert(content);
    }
    let missing: Vec<&(String, Content)> = wanted
        .into_par_iter()
        .filter(|(digest, (_, content))| {
            let wanted = Wanted::object(*digest, Some(content.length));
            check::damage(repository, wanted).is_some()
        })
        .map(|(_, content)| content)
        .collect();
    let staged = missing
        .par_iter()
        .map(|(path, content)| stage(session.scratch(), path, content))
        .collect::<Result<Vec<PathBuf>, LibraryError>>()?;
    flush(session.scratch(), &staged)?;
    session.check(repository)?;
    let mut touched = BTreeSet::new();
    for ((_, content), from) in missing.iter().zip(&staged) {
        let target = repository.object_path(content.digest);
        let folder = target.parent().expect("an object stands in a folder").to_owned();
        make_public(&folder)?;
        fs::rename(from, &target).map_err(writing(&target))?;
        touched.insert(folder);
    }
    for folder in touched
        .iter()
        .map(PathBuf::as_path)
        .chain(touched.first().and_then(|folder| folder.parent()))
    {
        durable::sync_folder(folder).map_err(writing(folder))?;
    }
    Ok(Written {
        objects: missing.len() as u64,
        bytes: missing.iter().map(|(_, content)| content.length).sum(),
        folders: 0,
    })
}

/// Writes one content into `scratch`, under its digest, if it still has that digest.
fn stage(scratch: &Path, path: &str, content: &Content) -> Result<PathBuf, LibraryError> {
    let target = scratch.join(content.digest.to_string());
    let failed = |source| LibraryError::Content {
        path: path.to_owned(),
        source,
    };
    let mut reader = content.open().map_err(failed)?;
    let mut file = File::create_new(&target).map_err(writing(&target))?;
    let mut hasher = Hasher::default();
    let mut block = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        hasher.write_all(&block[..read]).map_err(failed)?;
        file.write_all(&block[..read]).map_err(writing(&target))?;
        length += read as u64;
    }
    if length != content.length || hasher.finish() != content.digest {
        return Err(failed(io::Error::other("it changed while it was read")));
    }
    seal(&file, 0o444).map_err(writing(&target))?;
    Ok(target)
}

/// Gives a finished file its mode and time.
pub(super) fn seal(file: &File, mode: u32) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + TIME))?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// Whether a file has the mode and time that [`seal`] gives.
pub(super) fn is_sealed(path: &Path, mode: u32) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    Ok(found.permissions().mode() & 0o7777 == mode && found.modified()? == SystemTime::UNIX_EPOCH + TIME)
}

/// Makes what was written last.
fn flush(scratch: &Path, files: &[PathBuf]) -> Result<(), LibraryError> {
    if files.len() > MANY {
        let folder = File::open(scratch).map_err(writing(scratch))?;
        return rustix::fs::syncfs(&folder).map_err(|errno| writing(scratch)(errno.into()));
    }
    files
        .par_iter()
        .try_for_each(|path| File::open(path).and_then(|file| file.sync_all()).map_err(writing(path)))
}

/// Builds the folder with this listing from objects that are there, and puts it in its place.
pub(super) fn build_folder(
    repository: &Repository,
    session: &Session,
    digest: Digest,
    items: &[(TreePath, Listed)],
) -> Result<(), LibraryError> {
    let made = session.scratch().join(format!("folder-{digest}"));
    fs::create_dir(&made).map_err(writing(&made))?;
    fs::set_permissions(&made, Permissions::from_mode(0o755)).map_err(writing(&made))?;
    // Sorted: a folder comes before what is in it. And all of it is new, so that no link is followed.
    for (path, item) in items {
        let target = made.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        place(repository, item, &target).map_err(writing(&target))?;
    }
    let folder = File::open(&made).map_err(writing(&made))?;
    rustix::fs::syncfs(&folder).map_err(|errno| writing(&made)(errno.into()))?;
    session.check(repository)?;
    let target = repository.folder_path(digest);
    let aside = session.scratch().join(format!("old-{digest}"));
    match fs::rename(&target, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(writing(&target)(error)),
        _ => {}
    }
    fs::rename(&made, &target).map_err(writing(&target))?;
    let folders = repository.folder().join(FOLDERS);
    durable::sync_folder(&folders).map_err(writing(&folders))
}

fn place(repository: &Repository, item: &Listed, target: &Path) -> io::Result<()> {
    match item {
        Listed::Folder => {
            fs::create_dir(target)?;
            fs::set_permissions(target, Permissions::from_mode(0o755))
        }
        Listed::Link(to) => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(to), target),
        Listed::File { object, executable, .. } => {
            let object = repository.object_path(*object);
            // A second name has the object's mode, so a program needs a file of its own.
            let linked = if *executable {
                false
            } else {
                match fs::hard_link(&object, target) {
                    Ok(()) => true,
                    Err(error) if is_unsupported(&error) => false,
                    Err(error) => return Err(error),
                }
            };
            if !linked {
                let mut file = File::create_new(target)?;
                io::copy(&mut File::open(&object)?, &mut file)?;
                seal(&file, if *executable { 0o555 } else { 0o444 })?;
            }
            Ok(())
        }
    }
}

/// The contents that `folder` needs as objects, each with its path in the guest.
pub(super) fn contents_of(folder: &NewFolder) -> impl Iterator<Item = (String, Content)> + '_ {
    folder.items.iter().filter_map(|(path, item)| match item {
        super::FolderItem::File { content, .. } => Some((format!("{}{path}", folder.path), content.clone())),
        _ => None,
    })
}
