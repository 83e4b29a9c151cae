//! Removing what nothing names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::LibraryError;
use super::error::{reading, writing};
use super::folder::Listed;
use super::repository::{EXPORTS, FOLDERS, OBJECTS, QUARANTINE, Repository, number_of};
use super::session::Session;
use crate::digest::Digest;
use crate::image::library_list::{LIBRARY_LIST_FILE, LibraryList};
use crate::image::{Store, StoredImage};

/// What `gc` removes, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Garbage {
    /// Generations that were asked to go and that no image names, ascending.
    pub generations: Vec<u32>,
    /// Generations that would have gone if no image named them, each with those images.
    pub held: BTreeMap<u32, Vec<String>>,
    /// Exports of generations that are gone.
    pub exports: Vec<u32>,
    /// Objects that nothing names, sorted.
    pub objects: Vec<Digest>,
    /// Folders that nothing names, sorted.
    pub folders: Vec<Digest>,
    /// Damaged files that `verify` took away.
    pub quarantined: u64,
    /// Bytes of all of it. A file of a folder is mostly one with its object and is counted there.
    pub bytes: u64,
}

/// What must stay.
#[derive(Default)]
struct Live {
    objects: BTreeSet<Digest>,
    folders: BTreeSet<Digest>,
    /// Generations that images name, with those images.
    generations: BTreeMap<u32, Vec<String>>,
}

impl Repository {
    /// Removes what no generation names, and no image of `stores`. Generations stay, except
    /// where `keep` says how many of the newest are to stay: then older ones go that no image
    /// names. With `dry_run` nothing is touched.
    ///
    /// What an image or a folder holds must be readable: else nothing is removed.
    pub fn gc(&self, stores: &[Store], keep: Option<u32>, dry_run: bool) -> Result<Garbage, LibraryError> {
        let session = if dry_run { None } else { Some(Session::begin(self)?) };
        let mut live = Live::default();
        for store in stores {
            let (images, errors) = store.list()?;
            if let Some(error) = errors.into_iter().next() {
                return Err(LibraryError::Image {
                    image: format!("an image in {}", store.root().display()),
                    why: error.to_string(),
                });
            }
            for image in &images {
                self.spare_image(image, &mut live)?;
            }
        }
        let mut garbage = Garbage::default();
        self.choose_generations(keep, &mut live, &mut garbage)?;
        self.choose_files(&live, &mut garbage)?;
        if let Some(session) = session {
            self.sweep(&session, &garbage)?;
        }
        Ok(garbage)
    }

    fn spare_image(&self, image: &StoredImage, live: &mut Live) -> Result<(), LibraryError> {
        let Some(libraries) = &image.manifest.libraries else {
            return Ok(());
        };
        if libraries.generation.repository != self.name() {
            return Ok(());
        }
        let list = LibraryList::read(&image.path(LIBRARY_LIST_FILE)).map_err(|error| LibraryError::Image {
            image: image.reference(),
            why: error.to_string(),
        })?;
        live.objects
            .extend(list.entries.iter().filter_map(|entry| entry.object));
        for folder in &list.folders {
            self.spare_folder(folder.object, live)?;
        }
        let number = libraries.generation.number;
        live.generations.entry(number).or_default().push(image.reference());
        Ok(())
    }

    /// Keeps a folder, its listing and the objects that it is made of.
    fn spare_folder(&self, digest: Digest, live: &mut Live) -> Result<(), LibraryError> {
        if !live.folders.insert(digest) {
            return Ok(());
        }
        let items = self.listing(digest).map_err(|(path, fault)| LibraryError::Damaged {
            path,
            why: format!("the listing of a folder {fault}"),
        })?;
        live.objects.insert(digest);
        live.objects.extend(items.iter().filter_map(|(_, item)| match item {
            Listed::File { object, .. } => Some(*object),
            _ => None,
        }));
        Ok(())
    }

    fn choose_generations(
        &self,
        keep: Option<u32>,
        live: &mut Live,
        garbage: &mut Garbage,
    ) -> Result<(), LibraryError> {
        let numbers = self.generations()?;
        // The newest is what the next one is made from.
        let kept = keep.map_or(numbers.len(), |keep| usize::try_from(keep).unwrap_or(usize::MAX).max(1));
        let old = numbers.len().saturating_sub(kept);
        for (place, &number) in numbers.iter().enumerate() {
            let images = live.generations.get(&number);
            match images {
                None if place < old => {
                    garbage.generations.push(number);
                    continue;
                }
                Some(images) if place < old => {
                    garbage.held.insert(number, images.clone());
                }
                _ => {}
            }
            let index = self.generation(number)?;
            live.objects.extend(index.objects());
            for folder in &index.folders {
                self.spare_folder(folder.digest, live)?;
            }
        }
        Ok(())
    }

    fn choose_files(&self, live: &Live, garbage: &mut Garbage) -> Result<(), LibraryError> {
        for number in &garbage.generations {
            garbage.bytes += length(&self.generation_path(*number))?;
        }
        let numbers = self.generations()?;
        for name in names(&self.folder().join(EXPORTS))? {
            let number = number_of(&name.to_string_lossy(), ".squashfs");
            let is_gone = |number: &u32| garbage.generations.contains(number) || !numbers.contains(number);
            if let Some(number) = number.filter(is_gone) {
                garbage.bytes += length(&self.place_of_export(number))?;
                garbage.exports.push(number);
            }
        }
        garbage.exports.sort_unstable();
        for digest in self
            .objects_there()?
            .into_iter()
            .filter(|digest| !live.objects.contains(digest))
        {
            garbage.bytes += length(&self.object_path(digest))?;
            garbage.objects.push(digest);
        }
        for name in names(&self.folder().join(FOLDERS))? {
            let digest = name.to_str().and_then(|name| name.parse().ok());
            garbage
                .folders
                .extend(digest.filter(|digest| !live.folders.contains(digest)));
        }
        garbage.folders.sort_unstable();
        let quarantine = self.folder().join(QUARANTINE);
        for name in names(&quarantine)? {
            // Numbers of generations stay taken.
            if number_of(&name.to_string_lossy(), ".json").is_none() {
                garbage.quarantined += 1;
                garbage.bytes += length(&quarantine.join(name))?;
            }
        }
        Ok(())
    }

    /// Every object that is there, named or not, sorted.
    pub(super) fn objects_there(&self) -> Result<Vec<Digest>, LibraryError> {
        let folder = self.folder().join(OBJECTS);
        let mut found = Vec::new();
        for start in names(&folder)? {
            for rest in names(&folder.join(&start))? {
                let name = format!("{}{}", start.to_string_lossy(), rest.to_string_lossy());
                found.extend(name.parse::<Digest>().ok().filter(|_| start.len() == 2));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Names go before what they name, so that nothing half there can be found by a name.
    fn sweep(&self, session: &Session, garbage: &Garbage) -> Result<(), LibraryError> {
        session.check(self)?;
        for &number in &garbage.generations {
            remove(&self.generation_path(number))?;
        }
        for &number in &garbage.exports {
            remove(&self.place_of_export(number))?;
        }
        for &digest in &garbage.folders {
            let path = self.folder_path(digest);
            let aside = session.scratch().join(format!("folder-{digest}"));
            fs::rename(&path, &aside).map_err(writing(&path))?;
            fs::remove_dir_all(&aside).map_err(writing(&aside))?;
        }
        for &digest in &garbage.objects {
            remove(&self.object_path(digest))?;
        }
        let quarantine = self.folder().join(QUARANTINE);
        for name in names(&quarantine)? {
            if number_of(&name.to_string_lossy(), ".json").is_some() {
                continue;
            }
            let path = quarantine.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(writing(&path))?;
            } else {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Removes a file; one that is gone is as good.
fn remove(path: &Path) -> Result<(), LibraryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(writing(path)(error)),
        _ => Ok(()),
    }
}

/// Bytes of a file; 0 for everything else.
fn length(path: &Path) -> Result<u64, LibraryError> {
    let found = fs::symlink_metadata(path).map_err(reading(path))?;
    Ok(if found.is_file() { found.len() } else { 0 })
}

/// The names in a folder, sorted; none where there is no folder, or something else.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>, LibraryError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(reading(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(reading(folder))?.file_name());
    }
    names.sort();
    Ok(names)
}
