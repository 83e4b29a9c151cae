//! The image store: a folder of images that never change.
//!
//! ```text
//! STORE/images/<digest>/   manifest.json, image.vdi, kernel, initrd, files.json: all 0444
//! STORE/names/<name>       the digest that the name stands for at present
//! STORE/builds/<key>       the digest that a build with these inputs gave
//! STORE/staging/<random>/  an image being made; gone when its maker is
//! ```
//!
//! An image appears by one rename and is never written again, so that readers need no lock and
//! two builders of one image cannot disturb each other: the second finds it there. Reading
//! needs no right to write: a store may belong to someone else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file_list::FileList;
use super::hold::hold;
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError};
use super::reference::{self, Reference};
use super::staging::Staging;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::durable::{self, WriteError};

/// The disk image's file name in an image's folder.
pub const DISK_FILE: &str = "image.vdi";
/// The kernel's file name in an image's folder.
pub const KERNEL_FILE: &str = "kernel";
/// The initial RAM disk's file name in an image's folder.
pub const INITRD_FILE: &str = "initrd";
/// The file name of hpcvm's own initial RAM disk with the drivers of every machine.
pub const FULL_INITRD_FILE: &str = "initrd-full";

/// The most that is read of a manifest.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// A folder of images.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// An image in its folder, with a manifest that was read and found sound.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its digest: that of its manifest's bytes.
    pub digest: Digest,
    /// The folder it is in.
    pub folder: PathBuf,
    /// What is known of it.
    pub manifest: Manifest,
}

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No image goes by this.
    #[error("there is no image '{reference}' in {}", store.display())]
    NotFound {
        /// What was asked for.
        reference: String,
        /// The store's folder.
        store: PathBuf,
        /// Names that look like it, or else all there are.
        near: Vec<String>,
    },
    /// More than one image goes by this.
    #[error("'{reference}' could be any of {}: {}", candidates.len(), candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// Which they are, as `name@digest`.
        candidates: Vec<String>,
    },
    /// A folder or file could not be read or made.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A name or build record holds no digest.
    #[error("{} is damaged: it should hold a digest", path.display())]
    Record {
        /// The file.
        path: PathBuf,
    },
    /// Not a name for an image.
    #[error("'{0}' cannot be the name of an image")]
    Name(String),
    /// What was staged is not what the manifest says.
    #[error("the staged image is not what its manifest says: {0}")]
    Staged(String),
    /// The image's manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "HV1101",
            Self::Ambiguous { .. } => "HV1102",
            Self::Io { .. } => "HV1103",
            Self::Record { .. } => "HV1104",
            Self::Name(_) => "HV1105",
            Self::Staged(_) => "HV1106",
            Self::Manifest(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. } | Self::Record { .. } => Blame::Image,
            Self::Ambiguous { .. } | Self::Name(_) => Blame::User,
            Self::Io { .. } => Blame::Host,
            Self::Staged(_) => Blame::Internal,
            Self::Manifest(error) => error.blame(),
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { near, .. } if near.is_empty() => {
                Some("the store is empty: build an image with hpcvm build, or name another store with --store".into())
            }
            Self::NotFound { near, .. } => Some(format!("there is: {}", near.join(", "))),
            Self::Ambiguous { .. } => Some("give more digits of the digest".into()),
            Self::Io { .. } => Some("name a store you may use with --store".into()),
            Self::Record { path } => Some(format!("remove {} and build the image again", path.display())),
            Self::Name(_) => Some(
                "use small letters, digits, '.', '_' and '-', a letter or digit first, 100 characters at most".into(),
            ),
            Self::Staged(_) => None,
            Self::Manifest(error) => error.help(),
            Self::Write(error) => error.help(),
        }
    }
}

impl StoreError {
    /// Wraps what the operating system said about `path`.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Store {
    /// The store in this folder; nothing is touched. The folder is made, for the user alone,
    /// when something is first put in: share a store by making its folder first.
    #[must_use]
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder to make an image in.
    pub fn begin(&self) -> Result<Staging, StoreError> {
        let folder = self.folder("staging")?;
        // Where images go, made now: a store that cannot take the image should say so before the build.
        self.folder("images")?;
        Staging::begin(self.clone(), &folder)
    }

    /// The image that `reference` means: a name, `NAME@DIGITS`, the first digits of a digest
    /// (at least four, with or without `sha256:`), or the path of an image's folder.
    pub fn find(&self, reference: &str) -> Result<StoredImage, StoreError> {
        match reference::parse(reference) {
            Reference::Folder(path) => StoredImage::open(&path),
            Reference::Name(name) => match self.named(&name)? {
                Some(digest) => self.get(digest),
                None => self.by_digits(reference, None, &name.to_ascii_lowercase()),
            },
            Reference::NameAndDigits(name, digits) => self.by_digits(reference, Some(&name), &digits),
            Reference::Digits(digits) => self.by_digits(reference, None, &digits),
        }
    }

    /// The image of this digest.
    pub fn get(&self, digest: Digest) -> Result<StoredImage, StoreError> {
        let folder = self.image_folder(digest);
        if !folder.is_dir() {
            return Err(self.not_found(&digest.to_string()));
        }
        let image = StoredImage::open(&folder)?;
        if image.digest == digest {
            return Ok(image);
        }
        Err(StoreError::Manifest(ManifestError::Digest {
            path: folder.join(MANIFEST_FILE),
            expected: digest,
            found: image.digest,
        }))
    }

    /// The digests of all images, in order.
    pub fn digests(&self) -> Result<Vec<Digest>, StoreError> {
        // What is no digest was not put here by hpcvm, and is none of its business.
        let names = names_in(&self.root.join("images"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All images that can be read, by name and then digest, and what is wrong with the others.
    pub fn list(&self) -> Result<(Vec<StoredImage>, Vec<StoreError>), StoreError> {
        let (mut images, mut errors) = (Vec::new(), Vec::new());
        for digest in self.digests()? {
            match self.get(digest) {
                Ok(image) => images.push(image),
                Err(error) => errors.push(error),
            }
        }
        images.sort_by(|a, b| (&a.manifest.name, a.digest).cmp(&(&b.manifest.name, b.digest)));
        Ok((images, errors))
    }

    /// All names, in order, with the digest each stands for.
    pub fn names(&self) -> Result<Vec<(String, Digest)>, StoreError> {
        let mut named = Vec::new();
        for name in names_in(&self.root.join("names"))? {
            if let Some(digest) = self.named(&name)? {
                named.push((name, digest));
            }
        }
        Ok(named)
    }

    /// Lets `name` stand for the image of this digest.
    pub fn name(&self, name: &str, digest: Digest) -> Result<(), StoreError> {
        if !reference::is_name(name) {
            return Err(StoreError::Name(name.to_owned()));
        }
        let path = self.folder("names")?.join(name);
        let folder = self.image_folder(digest);
        // An image that a sweep is removing is not named, and one that is being named is not removed.
        let there = folder.is_dir().then(|| hold(&folder));
        let _hold = there.transpose().map_err(StoreError::io(&folder))?;
        Ok(durable::write(&path, format!("{digest}\n").as_bytes())?)
    }

    /// Remembers that a build whose inputs have the digest `key` gave the image `digest`.
    pub fn remember_build(&self, key: Digest, digest: Digest) -> Result<(), StoreError> {
        let path = self.folder("builds")?.join(key.to_string());
        Ok(durable::write(&path, format!("{digest}\n").as_bytes())?)
    }

    /// The records of builds, by the digest of their inputs, in order.
    pub(super) fn builds(&self) -> Result<Vec<(String, Digest)>, StoreError> {
        let mut builds = Vec::new();
        for key in names_in(&self.root.join("builds"))? {
            if let Some(digest) = read_digest(&self.root.join("builds").join(&key))? {
                builds.push((key, digest));
            }
        }
        Ok(builds)
    }

    /// The image that a build with these inputs gave, if it is still there and sound.
    pub fn build(&self, key: Digest) -> Result<Option<StoredImage>, StoreError> {
        let record = read_digest(&self.root.join("builds").join(key.to_string()))?;
        match record.map(|digest| self.get(digest)) {
            None | Some(Err(StoreError::NotFound { .. } | StoreError::Manifest(_))) => Ok(None),
            Some(found) => found.map(Some),
        }
    }

    pub(super) fn image_folder(&self, digest: Digest) -> PathBuf {
        self.root.join("images").join(digest.to_string())
    }

    /// A folder of the store, made where it is missing.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        if !self.root.is_dir() {
            durable::create_private_folder(&self.root)?;
        }
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(StoreError::io(&folder))?;
        Ok(folder)
    }

    fn named(&self, name: &str) -> Result<Option<Digest>, StoreError> {
        if !reference::is_name(name) {
            return Ok(None);
        }
        read_digest(&self.root.join("names").join(name))
    }

    /// The one image whose digest begins with `digits` and, where one is given, has this name.
    fn by_digits(&self, reference: &str, name: Option<&str>, digits: &str) -> Result<StoredImage, StoreError> {
        if !reference::is_digits(digits) {
            return Err(self.not_found(reference));
        }
        let mut candidates = Vec::new();
        for digest in self.digests()? {
            if digest.to_string().starts_with(digits) {
                let image = self.get(digest)?;
                if name.is_none_or(|name| name == image.manifest.name) {
                    candidates.push(image);
                }
            }
        }
        match candidates.len() {
            0 => Err(self.not_found(reference)),
            1 => Ok(candidates.remove(0)),
            _ => Err(StoreError::Ambiguous {
                reference: reference.to_owned(),
                candidates: candidates.iter().map(StoredImage::reference).collect(),
            }),
        }
    }

    fn not_found(&self, reference: &str) -> StoreError {
        // The names only make the message better: that they cannot be read is not the news.
        let names: Vec<String> = self
            .names()
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        StoreError::NotFound {
            reference: reference.to_owned(),
            store: self.root.clone(),
            near: reference::near(reference, names),
        }
    }
}

impl StoredImage {
    /// The image in this folder, of a store or not.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(MANIFEST_FILE);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MANIFEST_LIMIT).read_to_end(&mut bytes))
            .map_err(|source| ManifestError::Unreadable {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            digest: Digest::of(&bytes),
            manifest: Manifest::from_bytes(&bytes, &path)?,
            folder: folder.to_owned(),
        })
    }

    /// Where the artefact of this name is.
    #[must_use]
    pub fn path(&self, artefact: &str) -> PathBuf {
        self.folder.join(artefact)
    }

    /// How to name this very image: `NAME@DIGITS`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}@{}", self.manifest.name, self.digest.short())
    }

    /// Compares each artefact's length with the manifest's word: quick enough for every launch,
    /// where [`verify`](super::verify::verify) reads everything.
    pub fn check_lengths(&self) -> Result<(), ManifestError> {
        for artefact in &self.manifest.artefacts {
            let path = self.path(&artefact.name);
            let length = fs::metadata(&path).map(|file| file.len());
            let source = match length {
                Ok(length) if length == artefact.length => continue,
                Ok(length) => {
                    let why = format!("it has {length} bytes and should have {}", artefact.length);
                    return Err(ManifestError::Damaged { path, why });
                }
                Err(source) => source,
            };
            return Err(ManifestError::Unreadable { path, source });
        }
        Ok(())
    }

    /// Every file of its root file system.
    pub fn files(&self) -> Result<FileList, ManifestError> {
        FileList::read(&self.path(&self.manifest.file_list))
    }
}

/// The names in a folder, in order; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io(folder))?.file_name();
        names.extend(name.into_string());
    }
    names.sort();
    Ok(names)
}

/// The digest a record holds; `None` where there is no record.
fn read_digest(path: &Path) -> Result<Option<Digest>, StoreError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(256).read_to_string(&mut text)) {
        Ok(_) => text
            .trim_end()
            .parse()
            .map(Some)
            .map_err(|_| StoreError::Record { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(StoreError::Record { path: path.to_owned() }),
        Err(source) => Err(StoreError::io(path)(source)),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
