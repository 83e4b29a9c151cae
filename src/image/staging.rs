//! An image being made, out of others' sight.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::manifest::{MANIFEST_FILE, Manifest};
use super::store::{Store, StoreError, StoredImage};
use crate::durable;

/// A folder of the store where an image's artefacts are written; removed when dropped.
#[derive(Debug)]
pub struct Staging {
    store: Store,
    folder: TempDir,
}

impl Staging {
    pub(super) fn begin(store: Store, parent: &Path) -> Result<Self, StoreError> {
        let folder = durable::private_folder_in(parent, "image-").map_err(StoreError::io(parent))?;
        Ok(Self { store, folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where to write the artefact of this name.
    #[must_use]
    pub fn path(&self, artefact: &str) -> PathBuf {
        self.folder().join(artefact)
    }

    /// Makes the image part of the store, under the manifest's name.
    ///
    /// Every artefact of the manifest must stand in the folder with its length, and nothing else.
    /// An image of the same digest that is there already is as good.
    pub fn commit(self, manifest: &Manifest) -> Result<StoredImage, StoreError> {
        self.compare_with(manifest)?;
        let bytes = manifest.to_bytes();
        durable::write(&self.path(MANIFEST_FILE), &bytes)?;
        for name in manifest.artefacts.iter().map(|artefact| artefact.name.as_str()) {
            seal(&self.path(name))?;
        }
        seal(&self.path(MANIFEST_FILE))?;
        let digest = crate::digest::Digest::of(&bytes);
        let target = self.store.image_folder(digest);
        self.rename_to(&target)?;
        let image = self.store.get(digest)?;
        self.store.name(&manifest.name, digest)?;
        Ok(image)
    }

    fn compare_with(&self, manifest: &Manifest) -> Result<(), StoreError> {
        manifest.check().map_err(StoreError::Staged)?;
        for artefact in &manifest.artefacts {
            let path = self.path(&artefact.name);
            let found = fs::symlink_metadata(&path).map_err(StoreError::io(&path))?;
            if !found.is_file() || found.len() != artefact.length {
                return Err(StoreError::Staged(format!(
                    "{} has {} bytes, not {}",
                    artefact.name,
                    found.len(),
                    artefact.length
                )));
            }
        }
        for entry in fs::read_dir(self.folder()).map_err(StoreError::io(self.folder()))? {
            let name = entry.map_err(StoreError::io(self.folder()))?.file_name();
            if name.to_str().and_then(|name| manifest.artefact(name)).is_none() {
                return Err(StoreError::Staged(format!("{} is not in it", name.display())));
            }
        }
        Ok(())
    }

    fn rename_to(&self, target: &Path) -> Result<(), StoreError> {
        let images = target.parent().unwrap_or(Path::new("."));
        fs::set_permissions(self.folder(), Permissions::from_mode(0o755)).map_err(StoreError::io(self.folder()))?;
        durable::sync_folder(self.folder()).map_err(StoreError::io(self.folder()))?;
        match fs::rename(self.folder(), target) {
            // Another builder was quicker, or the image was built before.
            Err(_) if target.join(MANIFEST_FILE).is_file() => Ok(()),
            renamed => renamed
                .and_then(|()| durable::sync_folder(images))
                .map_err(StoreError::io(target)),
        }
    }
}

/// Makes a file's content last and its mode 0444.
fn seal(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| {
            file.set_permissions(Permissions::from_mode(0o444))?;
            file.sync_all()
        })
        .map_err(StoreError::io(path))
}
