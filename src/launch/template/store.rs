//! The templates of a node, beside its images.
//!
//! ```text
//! CACHE/templates/<key>/ram            the guest's memory, 0400, sparse
//! CACHE/templates/<key>/state          the rest of the machine, 0400
//! CACHE/templates/<key>/clone.qcow2    what it wrote to its root file system, if that is writable, 0400
//! CACHE/templates/<key>/template.json  of which image; lengths; a checksum of the state
//! CACHE/locks/<key>.use                held shared by every launch that uses it; its time is the last use
//! CACHE/locks/<key>.make               held while it is made; its time is when that began
//! CACHE/locks/<key>.seen, .failed      see `notes`
//! ```
//!
//! A site's templates, which all its users restore from, are kept in the same way in a folder of the site's: there files
//! have the mode 0444 and folders 0755, except for the locks, which are their maker's alone.
//!
//! Files that somebody has touched have another time and are no template. A template is complete
//! from its first moment: it gets its name by one rename.

use std::fs::{self, File, FileTimes, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::error::TemplateError;
use crate::digest::Digest;
use crate::durable;
use crate::launch::clone::CLONE;
use crate::launch::stage::NodeCache;
use crate::units::Bytes;

/// The guest's memory.
pub(super) const MEMORY: &str = "ram";
/// The rest of the machine's state.
pub(in crate::launch) const STATE: &str = "state";
const RECORD: &str = "template.json";
const VERSION: u32 = 1;
/// Whom templates serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The launches of their maker on this machine.
    Own,
    /// All users of a site, on all its machines that see the folder.
    Site,
}

impl Scope {
    const fn file_mode(self) -> u32 {
        match self {
            Self::Own => 0o400,
            Self::Site => 0o444,
        }
    }

    const fn folder_mode(self) -> u32 {
        match self {
            Self::Own => 0o700,
            Self::Site => 0o755,
        }
    }
}

/// The templates in a node's cache, or those that a site has made.
#[derive(Clone, Debug)]
pub struct Templates {
    cache: NodeCache,
    limit: Option<Bytes>,
    scope: Scope,
}

/// A template that stays where it is for as long as this lives.
#[derive(Debug)]
pub struct Template {
    /// Its folder.
    pub folder: PathBuf,
    pub(super) key: Digest,
    pub(super) scope: Scope,
    /// Keeps it from being evicted; a site's are never.
    pub(super) _in_use: Option<File>,
}

/// A template as it is listed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// Its name: the digest of all that it shares with its copies.
    pub key: Digest,
    /// The image's name when it was made.
    pub image: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// The last use, in seconds since 1970.
    pub used: u64,
    /// Whether a machine uses it at this moment.
    pub in_use: bool,
}

/// What stands beside the files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    template: u32,
    image: String,
    memory_length: u64,
    state_length: u64,
    state_crc32: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clone_length: Option<u64>,
}

impl Templates {
    /// Those in `cache`. Where all together would pass `limit`, those that nobody uses make room.
    pub fn in_cache(cache: &NodeCache, limit: Option<Bytes>) -> Result<Self, TemplateError> {
        for folder in ["templates", "locks"] {
            durable::create_private_folder(&cache.root().join(folder))?;
        }
        Ok(Self {
            cache: cache.clone(),
            limit,
            scope: Scope::Own,
        })
    }

    /// Those in `folder`, which is this user's, to make and remove templates for all users of the site.
    pub fn for_site(folder: &Path) -> Result<Self, TemplateError> {
        let failed = |source| TemplateError::Keep {
            path: folder.to_owned(),
            source,
        };
        let templates = folder.join("templates");
        for made in [folder, &templates] {
            let is_new = !made.exists();
            fs::create_dir_all(made).map_err(failed)?;
            if is_new {
                fs::set_permissions(made, fs::Permissions::from_mode(Scope::Site.folder_mode())).map_err(failed)?;
            }
        }
        let cache = NodeCache::at(folder)?;
        durable::create_private_folder(&folder.join("locks"))?;
        Ok(Self {
            cache,
            limit: None,
            scope: Scope::Site,
        })
    }

    /// Whom they serve.
    pub(super) const fn scope(&self) -> Scope {
        self.scope
    }

    /// The template `key`, if it is there and nobody touched its files.
    pub(super) fn find(&self, key: Digest) -> Result<Option<Template>, TemplateError> {
        let in_use = self.lock_file(key, "use")?;
        in_use.lock_shared().map_err(self.failed())?;
        let folder = self.folder(key);
        if !is_sound(&folder) {
            return Ok(None);
        }
        // The time of the last use; that it cannot be noted harms only the order of removal.
        let _ = in_use.set_modified(SystemTime::now());
        Ok(Some(Template {
            folder,
            key,
            scope: self.scope,
            _in_use: Some(in_use),
        }))
    }

    /// The right to make `key`, until dropped; `None` when another launch has it.
    pub(super) fn try_making(&self, key: Digest) -> Result<Option<File>, TemplateError> {
        let lock = self.lock_file(key, "make")?;
        match lock.try_lock() {
            Ok(()) => {
                // When it began; where that cannot be noted, nobody waits for it.
                let _ = lock.set_modified(SystemTime::now());
                Ok(Some(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.failed()(error)),
        }
    }

    /// A folder to make a template with `memory` bytes in, and room for it.
    pub(super) fn workshop(&self, memory: u64) -> Result<TempDir, TemplateError> {
        self.cache.clear_partial();
        if let Some(limit) = self.limit {
            self.make_room(|kept| kept.saturating_add(memory) <= limit.0);
        }
        if self.free() < memory && self.scope == Scope::Own {
            self.make_room(|_| self.free() >= memory);
        }
        if self.free() < memory {
            return Err(TemplateError::Full {
                path: self.root().to_owned(),
                needed: memory,
            });
        }
        durable::private_folder_in(self.root(), "partial-").map_err(self.failed())
    }

    /// Puts what was made in `workshop` in its place. The caller has the right to make `key`.
    pub(super) fn adopt(&self, key: Digest, image: &str, workshop: TempDir) -> Result<(), TemplateError> {
        let made = workshop.path();
        let keep = |source| TemplateError::Keep {
            path: made.to_owned(),
            source,
        };
        let state = fs::read(made.join(STATE)).map_err(keep)?;
        let record = Record {
            template: VERSION,
            image: image.to_owned(),
            memory_length: fs::metadata(made.join(MEMORY)).map_err(keep)?.len(),
            state_length: state.len() as u64,
            state_crc32: crc32fast::hash(&state),
            clone_length: fs::metadata(made.join(CLONE)).ok().map(|found| found.len()),
        };
        let text = serde_json::to_vec(&record).expect("records have string keys only");
        fs::write(made.join(RECORD), text).map_err(keep)?;
        for entry in fs::read_dir(made).map_err(keep)? {
            let path = entry.map_err(keep)?.path();
            if [MEMORY, STATE, CLONE, RECORD].iter().any(|name| path.ends_with(name)) {
                seal(&path, self.scope.file_mode()).map_err(keep)?;
            } else {
                fs::remove_dir_all(&path)
                    .or_else(|_| fs::remove_file(&path))
                    .map_err(keep)?;
            }
        }
        fs::set_permissions(made, fs::Permissions::from_mode(self.scope.folder_mode())).map_err(keep)?;
        durable::sync_folder(made).map_err(keep)?;
        self.remove(key)?;
        fs::rename(made, self.folder(key)).map_err(self.failed())?;
        let _renamed = workshop.keep();
        let _ = fs::remove_file(self.lock_path(key, "failed"));
        Ok(())
    }

    /// Removes a template that could not be restored. Machines that run from it keep what they have of it.
    pub(in crate::launch) fn discard(&self, template: &Template) {
        self.note_failure(template.key);
        if let Err(error) = self.remove(template.key) {
            tracing::warn!(%error, "a template that failed is still there");
        }
    }

    /// All that are there, by their names.
    #[must_use]
    pub fn list(&self) -> Vec<Kept> {
        list_in(self.root(), |key, _| {
            let lock = self.lock_file(key, "use").ok()?;
            let used = lock.metadata().and_then(|found| found.modified()).unwrap_or(UNIX_EPOCH);
            Some((used, lock.try_lock().is_err()))
        })
    }

    /// Removes those whose names begin with `prefix`. Machines that run from one keep what they have of it.
    pub fn remove_named(&self, prefix: &str) -> Result<Vec<Kept>, TemplateError> {
        let named = |kept: &Kept| kept.key.to_string().starts_with(prefix);
        let found: Vec<Kept> = self.list().into_iter().filter(named).collect();
        if found.is_empty() {
            return Err(TemplateError::Unknown(prefix.to_owned()));
        }
        for kept in &found {
            self.remove(kept.key)?;
        }
        Ok(found)
    }

    /// Removes templates that nobody uses, the least recently used first, until `enough` is told a
    /// sum of bytes that will do.
    fn make_room(&self, enough: impl Fn(u64) -> bool) {
        let mut all = self.list();
        all.sort_by_key(|kept| kept.used);
        let mut sum: u64 = all.iter().map(|kept| kept.bytes).sum();
        for kept in all {
            if enough(sum) {
                return;
            }
            let Ok(lock) = self.lock_file(kept.key, "use") else {
                continue;
            };
            // Who begins to use it now waits until it is gone.
            if lock.try_lock().is_ok() && self.remove(kept.key).is_ok() {
                sum -= kept.bytes;
            }
        }
    }

    /// Takes a template out of the cache by one rename, then removes it.
    fn remove(&self, key: Digest) -> Result<(), TemplateError> {
        let doomed = durable::private_folder_in(self.root(), "partial-").map_err(self.failed())?;
        match fs::rename(self.folder(key), doomed.path().join("template")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed()(error)),
            _ => Ok(()),
        }
    }

    /// Bytes this user may still write.
    fn free(&self) -> u64 {
        rustix::fs::statvfs(self.root()).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn root(&self) -> &Path {
        self.cache.root()
    }

    fn folder(&self, key: Digest) -> PathBuf {
        self.root().join("templates").join(key.to_string())
    }

    pub(super) fn lock_path(&self, key: Digest, what: &str) -> PathBuf {
        self.root().join("locks").join(format!("{key}.{what}"))
    }

    pub(super) fn lock_file(&self, key: Digest, what: &str) -> Result<File, TemplateError> {
        let path = self.lock_path(key, what);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|source| TemplateError::Keep { path, source })
    }

    pub(super) fn failed(&self) -> impl Fn(io::Error) -> TemplateError + use<> {
        let path = self.root().to_owned();
        move |source| TemplateError::Keep {
            path: path.clone(),
            source,
        }
    }
}

/// The templates below `root`, by their names; `use_of` tells of one and its folder the last use and whether it is in use.
pub(super) fn list_in(root: &Path, use_of: impl Fn(Digest, &Path) -> Option<(SystemTime, bool)>) -> Vec<Kept> {
    let Ok(entries) = fs::read_dir(root.join("templates")) else {
        return Vec::new();
    };
    let kept = |entry: fs::DirEntry| {
        let key: Digest = entry.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(entry.path()).ok()?.flatten();
        let (used, in_use) = use_of(key, &entry.path())?;
        Some(Kept {
            key,
            image: read_record(&entry.path()).map_or_else(String::new, |record| record.image),
            bytes: files
                .filter_map(|file| Some(file.metadata().ok()?.blocks() * 512))
                .sum(),
            used: used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            in_use,
        })
    };
    let mut all: Vec<Kept> = entries.flatten().filter_map(kept).collect();
    all.sort_by_key(|kept| kept.key.to_string());
    all
}

/// Makes a file what it stays: on the device, read-only, of a time that no change leaves it.
fn seal(path: &Path, mode: u32) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.set_times(FileTimes::new().set_modified(untouched()))
}

fn untouched() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1)
}

fn read_record(folder: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
    (record.template == VERSION).then_some(record)
}

/// Whether the files of the template in `folder` are as they were sealed. The memory is too long to be read for every launch.
pub(super) fn is_sound(folder: &Path) -> bool {
    let Some(record) = read_record(folder) else {
        return false;
    };
    let as_left = |name: &str, length: u64| {
        let found = fs::symlink_metadata(folder.join(name));
        found.is_ok_and(|found| {
            found.is_file() && found.len() == length && found.modified().is_ok_and(|time| time == untouched())
        })
    };
    as_left(MEMORY, record.memory_length)
        && as_left(STATE, record.state_length)
        && record.clone_length.is_none_or(|length| as_left(CLONE, length))
        && fs::read(folder.join(STATE)).is_ok_and(|state| crc32fast::hash(&state) == record.state_crc32)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
