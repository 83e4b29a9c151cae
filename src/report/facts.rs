//! What a report is made from.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::licences::licences;
use crate::digest::Digest;
use crate::image::file_list::FileList;
use crate::image::library_list::{LIBRARY_LIST_FILE, LibraryList};
use crate::image::manifest::Artefact;
use crate::image::{Manifest, ManifestError, StoredImage};

/// An image's manifest and the lists beside it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The image's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// Every file of the root file system.
    pub files: FileList,
    /// What became of its libraries; `None` where they were not weighed.
    pub libraries: Option<LibraryList>,
    /// What the licences of each package are called, where its copyright file tells.
    pub licences: BTreeMap<String, Vec<String>>,
}

impl Facts {
    /// Reads the lists of `image`. A list that is not the one the manifest names by digest is
    /// refused: the report would tell of another image.
    pub fn read(image: &StoredImage) -> Result<Self, ManifestError> {
        let manifest = &image.manifest;
        for name in [manifest.file_list.as_str(), LIBRARY_LIST_FILE] {
            if let Some(artefact) = manifest.artefact(name) {
                compare(artefact, &image.path(name))?;
            }
        }
        let libraries = match manifest.artefact(LIBRARY_LIST_FILE) {
            Some(_) => Some(LibraryList::read(&image.path(LIBRARY_LIST_FILE))?),
            None => None,
        };
        Ok(Self {
            digest: image.digest,
            manifest: manifest.clone(),
            files: image.files()?,
            libraries,
            licences: BTreeMap::new(),
        })
    }

    /// As [`Facts::read`], and reads the packages' copyright files from the image's disk. Where
    /// the disk cannot be read, licences are not named, and a warning is logged.
    pub fn read_with_licences(image: &StoredImage) -> Result<Self, ManifestError> {
        let facts = Self::read(image)?;
        let licences = licences(image);
        Ok(Self { licences, ..facts })
    }
}

fn compare(artefact: &Artefact, path: &Path) -> Result<(), ManifestError> {
    let unreadable = |source: io::Error| ManifestError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if Digest::of_file(path).map_err(unreadable)? == artefact.digest {
        return Ok(());
    }
    Err(ManifestError::Damaged {
        path: path.to_owned(),
        why: "its digest is not the one in the manifest".to_owned(),
    })
}
