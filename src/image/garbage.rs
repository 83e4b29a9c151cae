//! Images that nobody asks for any more.
//!
//! An image goes when no name stands for it, nobody holds it ([`super::hold`]) and it has been
//! there for a while: a builder names its image a moment after it has put it there, and a job
//! that waits may name it by digest. What cannot be read stays, for a newer hpcvm may have
//! made it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::hold::{Claim, claim};
use super::store::{Store, StoreError, StoredImage};
use crate::digest::Digest;
use crate::durable;

/// What a sweep did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sweep {
    /// Images that went, by name and digest.
    pub removed: Vec<SweptImage>,
    /// Images without a name that stayed.
    pub kept: Vec<KeptImage>,
    /// Bytes of all that went.
    pub freed: u64,
}

/// An image that went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SweptImage {
    /// The name its recipe gave it.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Bytes of its files.
    pub bytes: u64,
}

/// An image without a name that stayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeptImage {
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub why: Reprieve,
}

/// Why an image without a name stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reprieve {
    /// A machine runs from it.
    InUse,
    /// It was put there too short a time ago.
    Young,
    /// Its manifest cannot be read.
    Unreadable,
}

impl Store {
    /// Removes the images that no name stands for, that nobody uses and that are older than `age`,
    /// and then the records of builds that gave an image which is not there. With `dry_run`
    /// nothing is removed.
    pub fn sweep(&self, age: Duration, dry_run: bool) -> Result<Sweep, StoreError> {
        let mut sweep = Sweep::default();
        for digest in self.digests()? {
            if self.is_named(digest)? {
                continue;
            }
            match self.sweep_image(digest, age, dry_run)? {
                Ok(image) => {
                    sweep.freed = sweep.freed.saturating_add(image.bytes);
                    sweep.removed.push(image);
                }
                Err(why) => sweep.kept.push(KeptImage { digest, why }),
            }
        }
        if !dry_run {
            self.forget_builds()?;
        }
        sweep
            .removed
            .sort_by(|a, b| (&a.name, a.digest).cmp(&(&b.name, b.digest)));
        Ok(sweep)
    }

    fn is_named(&self, digest: Digest) -> Result<bool, StoreError> {
        Ok(self.names()?.iter().any(|(_, named)| *named == digest))
    }

    fn sweep_image(
        &self,
        digest: Digest,
        age: Duration,
        dry_run: bool,
    ) -> Result<Result<SweptImage, Reprieve>, StoreError> {
        let folder = self.image_folder(digest);
        let Ok(image) = StoredImage::open(&folder) else {
            return Ok(Err(Reprieve::Unreadable));
        };
        let modified = fs::metadata(&folder).and_then(|folder| folder.modified());
        let since = modified.map_err(StoreError::io(&folder))?.elapsed().unwrap_or_default();
        if since < age {
            return Ok(Err(Reprieve::Young));
        }
        let Claim::Free(claimed) = claim(&folder).map_err(StoreError::io(&folder))? else {
            return Ok(Err(Reprieve::InUse));
        };
        // Named since it was looked at: whoever names an image holds it meanwhile.
        if self.is_named(digest)? {
            return Ok(Err(Reprieve::InUse));
        }
        if !dry_run {
            self.remove(&folder)?;
        }
        drop(claimed);
        Ok(Ok(SweptImage {
            name: image.manifest.name.clone(),
            digest,
            bytes: image.manifest.length(),
        }))
    }

    /// Takes the image out of sight by one rename, then removes it: no reader meets half of it.
    fn remove(&self, folder: &Path) -> Result<(), StoreError> {
        let staging = self.folder("staging")?;
        let grave = durable::private_folder_in(&staging, "gone-").map_err(StoreError::io(&staging))?;
        fs::rename(folder, grave.path().join("image")).map_err(StoreError::io(folder))?;
        let path = grave.path().to_owned();
        grave.close().map_err(StoreError::io(&path))
    }

    /// Removes records of builds whose image is not there.
    fn forget_builds(&self) -> Result<(), StoreError> {
        let there = self.digests()?;
        for (key, digest) in self.builds()? {
            if !there.contains(&digest) {
                let path = self.root().join("builds").join(key);
                fs::remove_file(&path).map_err(StoreError::io(&path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::hold::hold;
    use crate::image::store::tests::put;

    /// A store with an image that has no name any more, and the one that has it.
    fn store() -> (tempfile::TempDir, Store, StoredImage, StoredImage) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"));
        let old = put(&store, "minimal", "old");
        let new = put(&store, "minimal", "new");
        (folder, store, old, new)
    }

    #[test]
    fn only_what_has_no_name_goes() {
        let (_folder, store, old, new) = store();
        let key = Digest::of(b"inputs");
        store.remember_build(key, old.digest).unwrap();
        let would = store.sweep(Duration::ZERO, true).unwrap();
        assert!(old.folder.is_dir());
        assert_eq!(store.sweep(Duration::ZERO, false).unwrap(), would);
        assert_eq!((would.removed.len(), would.removed[0].digest), (1, old.digest));
        assert_eq!(would.freed, old.manifest.length());
        assert_eq!(store.digests().unwrap(), [new.digest]);
        assert_eq!(fs::read_dir(store.root().join("staging")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(store.root().join("builds")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_used_young_or_unreadable_stays() {
        let (_folder, store, old, _) = store();
        let why = |age| store.sweep(age, false).unwrap().kept.first().map(|kept| kept.why);
        assert_eq!(why(Duration::from_hours(1)), Some(Reprieve::Young));
        let held = hold(&old.folder).unwrap();
        assert_eq!(why(Duration::ZERO), Some(Reprieve::InUse));
        drop(held);
        let manifest = old.path(super::super::manifest::MANIFEST_FILE);
        fs::remove_file(&manifest).unwrap();
        fs::write(&manifest, "{}").unwrap();
        assert_eq!(why(Duration::ZERO), Some(Reprieve::Unreadable));
        assert!(old.folder.is_dir());
    }

    #[test]
    fn an_empty_store_is_clean() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("none"));
        assert_eq!(store.sweep(Duration::ZERO, false).unwrap(), Sweep::default());
        assert!(!store.root().exists());
    }
}
