//! The node cache: images on the node's own disk.
//!
//! ```text
//! CACHE/images/<digest>/       the image's files, 0444, last changed one second after 1970
//! CACHE/locks/<digest>.use     held shared by every launch that uses the image; its time is the last use
//! CACHE/locks/<digest>.fetch   held while the image is copied
//! CACHE/partial-<random>/      an image being copied, or removed
//! ```
//!
//! A file that was changed has another time and makes its image be fetched again.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::StageError;
use super::node::check_private;
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::image::StoredImage;
use crate::image::manifest::MANIFEST_FILE;
use crate::units::Bytes;

const PARTIAL: &str = "partial-";
/// A partial copy this old was left by a launcher that was killed.
const STALE: Duration = Duration::from_hours(1);
/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// A folder on the node's disk that holds images.
#[derive(Clone, Debug)]
pub struct NodeCache {
    root: PathBuf,
}

/// An image on the node, kept there for as long as this lives.
#[derive(Debug)]
pub struct Staged {
    /// The image in the node cache.
    pub image: StoredImage,
    /// Bytes that were copied for it; 0 when it was there.
    pub copied: u64,
    _in_use: File,
}

impl NodeCache {
    /// The cache in `root`, a folder of this user's that nobody else can write to.
    pub fn at(root: &Path) -> Result<Self, StageError> {
        check_private(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `image` on this node: found in the cache, or copied there and verified. Of several launches
    /// at once, one copies. What nobody uses makes room where all images would pass `limit`, or the disk is full.
    pub fn stage(&self, image: &StoredImage, limit: Option<Bytes>) -> Result<Staged, StageError> {
        for folder in ["images", "locks"] {
            let path = self.root.join(folder);
            durable::create_private_folder(&path)?;
        }
        let in_use = self.lock_file(image.digest, "use")?;
        in_use.lock_shared().map_err(self.failed())?;
        // The time of the last use; that it cannot be noted harms only the order of removal.
        let _ = in_use.set_modified(SystemTime::now());
        let staged = |image, copied, in_use| Staged {
            image,
            copied,
            _in_use: in_use,
        };
        if let Some(found) = self.find(image.digest) {
            return Ok(staged(found, 0, in_use));
        }
        let fetching = self.lock_file(image.digest, "fetch")?;
        fetching.lock().map_err(self.failed())?;
        if let Some(found) = self.find(image.digest) {
            return Ok(staged(found, 0, in_use));
        }
        let copied = self.fetch(image, limit)?;
        let image = StoredImage::open(&self.folder(image.digest))?;
        Ok(staged(image, copied, in_use))
    }

    /// The image if it is there and nobody touched its files.
    fn find(&self, digest: Digest) -> Option<StoredImage> {
        let image = StoredImage::open(&self.folder(digest)).ok()?;
        let as_left = |name: &str, length: Option<u64>| {
            let Ok(found) = fs::symlink_metadata(image.path(name)) else {
                return false;
            };
            found.is_file()
                && length.is_none_or(|length| found.len() == length)
                && found.modified().ok() == Some(untouched())
        };
        let artefacts = &image.manifest.artefacts;
        let sound = image.digest == digest
            && as_left(MANIFEST_FILE, None)
            && artefacts
                .iter()
                .all(|artefact| as_left(&artefact.name, Some(artefact.length)));
        sound.then_some(image)
    }

    /// Copies `image` into the cache; returns how many bytes that were. The caller holds the lock.
    fn fetch(&self, image: &StoredImage, limit: Option<Bytes>) -> Result<u64, StageError> {
        self.remove(&self.folder(image.digest))?;
        self.clear_partial();
        let needed: u64 = image.manifest.artefacts.iter().map(|artefact| artefact.length).sum();
        if let Some(limit) = limit {
            self.make_room(image.digest, |kept| kept + needed <= limit.0);
        }
        match self.copy(image) {
            Err(StageError::Full { .. }) => {
                self.make_room(image.digest, |_| false);
                self.copy(image)
            }
            copied => copied,
        }
    }

    fn copy(&self, image: &StoredImage) -> Result<u64, StageError> {
        let partial = durable::private_folder_in(&self.root, PARTIAL).map_err(self.failed())?;
        let mut copied = 0;
        let manifest = (MANIFEST_FILE, None, image.digest);
        let artefacts = image
            .manifest
            .artefacts
            .iter()
            .map(|artefact| (artefact.name.as_str(), Some(artefact.length), artefact.digest));
        for (name, length, digest) in artefacts.chain([manifest]) {
            copied += self.copy_file(&image.path(name), &partial.path().join(name), length, digest)?;
        }
        durable::sync_folder(partial.path()).map_err(self.failed())?;
        fs::rename(partial.path(), self.folder(image.digest)).map_err(self.failed())?;
        let _renamed = partial.keep();
        Ok(copied)
    }

    /// Copies one file and compares what is read with `digest` on the way.
    fn copy_file(&self, from: &Path, to: &Path, length: Option<u64>, digest: Digest) -> Result<u64, StageError> {
        let unreadable = |source| StageError::Source {
            path: from.to_owned(),
            source,
        };
        let damaged = |why: String| StageError::Damaged {
            path: from.to_owned(),
            why,
        };
        // No more than the manifest says is ever written.
        let most = length.map_or(u64::MAX, |length| length + 1);
        let mut source = File::open(from).map_err(unreadable)?.take(most);
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(self.failed())?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; PIECE];
        let mut copied = 0;
        loop {
            let count = source.read(&mut piece).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            hasher.write_all(&piece[..count]).map_err(self.failed())?;
            target
                .write_all(&piece[..count])
                .map_err(|source| self.full(source, length))?;
            copied += count as u64;
        }
        if length.is_some_and(|length| length != copied) {
            return Err(damaged(format!(
                "it has not the {} bytes it should have",
                length.unwrap_or_default()
            )));
        }
        let found = hasher.finish();
        if found != digest {
            return Err(damaged(format!("its digest is {found} and should be {digest}")));
        }
        let finished = target
            .set_permissions(fs::Permissions::from_mode(0o444))
            .and_then(|()| target.set_times(FileTimes::new().set_modified(untouched())))
            .and_then(|()| target.sync_all());
        finished.map_err(|source| self.full(source, length))?;
        Ok(copied)
    }

    /// Removes images that nobody uses, the least recently used first, until `enough` is told a
    /// sum of bytes that will do.
    fn make_room(&self, coming: Digest, enough: impl Fn(u64) -> bool) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.digest != coming);
        entries.sort_by_key(|entry| entry.used);
        let mut sum: u64 = entries.iter().map(|entry| entry.length).sum();
        for entry in entries {
            if enough(sum) {
                return;
            }
            let Ok(lock) = self.lock_file(entry.digest, "use") else {
                continue;
            };
            // Who begins to use it now waits until it is gone, and fetches it again.
            if lock.try_lock().is_ok() && self.remove(&self.folder(entry.digest)).is_ok() {
                sum -= entry.length;
            }
        }
    }

    fn entries(&self) -> Vec<CachedImage> {
        let Ok(entries) = fs::read_dir(self.root.join("images")) else {
            return Vec::new();
        };
        let cached = |entry: fs::DirEntry| {
            let digest: Digest = entry.file_name().to_str()?.parse().ok()?;
            let files = fs::read_dir(entry.path()).ok()?.flatten();
            let used = fs::metadata(self.lock_path(digest, "use")).and_then(|lock| lock.modified());
            Some(CachedImage {
                digest,
                length: files
                    .filter_map(|file| Some(file.metadata().ok()?.blocks() * 512))
                    .sum(),
                used: used.unwrap_or(UNIX_EPOCH),
            })
        };
        entries.flatten().filter_map(cached).collect()
    }

    /// Takes a folder out of the cache by one rename, then removes it.
    fn remove(&self, folder: &Path) -> Result<(), StageError> {
        let doomed = durable::private_folder_in(&self.root, PARTIAL).map_err(self.failed())?;
        match fs::rename(folder, doomed.path().join("image")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed()(error)),
            _ => Ok(()),
        }
    }

    /// Removes what killed launchers left half copied.
    pub(in crate::launch) fn clear_partial(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let partial = entry.file_name().to_str().is_some_and(|name| name.starts_with(PARTIAL));
            let modified = entry.metadata().and_then(|found| found.modified());
            let age = modified.ok().and_then(|time| time.elapsed().ok());
            if partial && age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn folder(&self, digest: Digest) -> PathBuf {
        self.root.join("images").join(digest.to_string())
    }

    fn lock_path(&self, digest: Digest, what: &str) -> PathBuf {
        self.root.join("locks").join(format!("{digest}.{what}"))
    }

    fn lock_file(&self, digest: Digest, what: &str) -> Result<File, StageError> {
        let path = self.lock_path(digest, what);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|source| StageError::Cache { path, source })
    }

    fn failed(&self) -> impl Fn(io::Error) -> StageError + use<> {
        let path = self.root.clone();
        move |source| StageError::Cache {
            path: path.clone(),
            source,
        }
    }

    fn full(&self, source: io::Error, length: Option<u64>) -> StageError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StageError::Full {
                path: self.root.clone(),
                needed: length.unwrap_or_default(),
            },
            _ => self.failed()(source),
        }
    }
}

/// The time of last change that says a file is as it was fetched.
fn untouched() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1)
}

/// One image of the cache.
struct CachedImage {
    digest: Digest,
    length: u64,
    used: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Store;
    use crate::image::store_tests::put;

    struct Ground {
        folder: tempfile::TempDir,
        store: Store,
        cache: NodeCache,
    }

    fn ground() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        durable::create_private_folder(&root).unwrap();
        Ground {
            store: Store::open(&folder.path().join("store")),
            cache: NodeCache::at(&root).unwrap(),
            folder,
        }
    }

    impl Ground {
        fn kept(&self) -> usize {
            fs::read_dir(self.cache.root.join("images")).unwrap().count()
        }

        /// Everything in the cache's folder but images and locks.
        fn litter(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(&self.cache.root)
                .unwrap()
                .flatten()
                .map(|entry| entry.path());
            entries
                .filter(|path| !path.ends_with("images") && !path.ends_with("locks"))
                .collect()
        }
    }

    #[test]
    fn the_first_launch_copies_and_the_others_find() {
        let ground = ground();
        let image = put(&ground.store, "minimal", "one");
        let staged: Vec<Staged> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| ground.cache.stage(&image, None).unwrap()))
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert_eq!(staged.iter().filter(|staged| staged.copied > 0).count(), 1);
        assert!(staged.iter().all(|staged| staged.image.digest == image.digest));
        assert!(
            staged[0]
                .image
                .folder
                .starts_with(ground.folder.path().join("cache/images"))
        );
        assert_eq!(crate::image::verify::verify(&staged[0].image), []);
        assert_eq!(ground.litter(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_broken_entry_is_fetched_again() {
        type Harm = fn(&Path);
        let harms: [(&str, Harm); 5] = [
            ("a file is gone", |folder| {
                fs::remove_file(folder.join("kernel")).unwrap();
            }),
            ("a file is cut", |folder| {
                fs::remove_file(folder.join("kernel")).unwrap();
                fs::write(folder.join("kernel"), b"").unwrap();
            }),
            ("a file has other bytes of the same length", |folder| {
                let path = folder.join("kernel");
                let length = fs::read(&path).unwrap().len();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(&path, vec![0; length]).unwrap();
            }),
            ("the manifest is another", |folder| {
                fs::remove_file(folder.join(MANIFEST_FILE)).unwrap();
                fs::write(folder.join(MANIFEST_FILE), b"{}").unwrap();
            }),
            ("a file stands in its place", |folder| {
                fs::remove_dir_all(folder).unwrap();
                fs::write(folder, b"").unwrap();
            }),
        ];
        for (what, harm) in harms {
            let ground = ground();
            let image = put(&ground.store, "minimal", "one");
            let folder = ground.cache.stage(&image, None).unwrap().image.folder;
            harm(&folder);
            let again = ground.cache.stage(&image, None).unwrap();
            assert!(again.copied > 0, "{what}");
            assert_eq!(crate::image::verify::verify(&again.image), [], "{what}");
            assert_eq!(ground.cache.stage(&image, None).unwrap().copied, 0, "{what}");
        }
    }

    #[test]
    fn a_damaged_image_of_the_store_never_gets_in() {
        let ground = ground();
        let image = put(&ground.store, "minimal", "one");
        let kernel = image.path("kernel");
        let length = fs::read(&kernel).unwrap().len();
        fs::set_permissions(&kernel, fs::Permissions::from_mode(0o644)).unwrap();
        for (bytes, said) in [
            (vec![0; length], "its digest is"),
            (vec![0; length + 5], "bytes it should have"),
        ] {
            fs::write(&kernel, bytes).unwrap();
            let error = ground.cache.stage(&image, None).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(ground.kept(), 0);
        assert_eq!(ground.litter(), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_nobody_uses_makes_room_and_what_is_in_use_stays() {
        let ground = ground();
        let images = ["one", "two", "three"].map(|name| put(&ground.store, "minimal", name));
        let used = ground.cache.stage(&images[0], None).unwrap();
        drop(ground.cache.stage(&images[1], None).unwrap());
        assert_eq!(ground.kept(), 2);
        let _third = ground.cache.stage(&images[2], Some(Bytes(1))).unwrap();
        assert_eq!(ground.kept(), 2);
        assert!(used.image.folder.is_dir());
        assert!(ground.cache.find(images[1].digest).is_none());
    }
}
