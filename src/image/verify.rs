//! Whether an image still is what its manifest says.

use std::fmt;
use std::fs;
use std::io;

use rayon::prelude::*;
use serde::Serialize;

use super::manifest::{Artefact, MANIFEST_FILE};
use super::store::StoredImage;
use crate::digest::Digest;

/// One way in which an image is not what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The file in the image's folder.
    pub file: String,
    /// What is wrong with it.
    pub what: What,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is not there.
    Missing,
    /// It is no regular file.
    NoFile,
    /// The manifest does not know it.
    Unknown,
    /// Its length in bytes is another.
    #[serde(rename_all = "kebab-case")]
    Length {
        /// What the manifest says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Its bytes are others.
    #[serde(rename_all = "kebab-case")]
    Digest {
        /// What the manifest says.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// It could not be read; with what the operating system said.
    Unreadable(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        match &self.what {
            What::Missing => f.write_str("is missing"),
            What::NoFile => f.write_str("is not a regular file"),
            What::Unknown => f.write_str("is not in the manifest"),
            What::Length { expected, found } => write!(f, "has {found} bytes, should have {expected}"),
            What::Digest { expected, found } => write!(f, "has digest {found}, should have {expected}"),
            What::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

/// Reads every artefact of `image` whole and returns all differences, by file; none is good.
///
/// The manifest itself was compared with the digest it is known by when the image was found.
#[must_use]
pub fn verify(image: &StoredImage) -> Vec<Difference> {
    let artefacts = &image.manifest.artefacts;
    let mut differences: Vec<Difference> = artefacts
        .par_iter()
        .filter_map(|artefact| {
            compare(image, artefact).map(|what| Difference {
                file: artefact.name.clone(),
                what,
            })
        })
        .collect();
    differences.extend(unknown_files(image));
    differences.sort();
    differences
}

fn compare(image: &StoredImage, artefact: &Artefact) -> Option<What> {
    let path = image.path(&artefact.name);
    let unreadable = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => What::Missing,
        _ => What::Unreadable(error.to_string()),
    };
    match fs::symlink_metadata(&path) {
        Err(error) => return Some(unreadable(&error)),
        Ok(found) if !found.is_file() => return Some(What::NoFile),
        Ok(found) if found.len() != artefact.length => {
            return Some(What::Length {
                expected: artefact.length,
                found: found.len(),
            });
        }
        Ok(_) => {}
    }
    match Digest::of_file(&path) {
        Err(error) => Some(unreadable(&error)),
        Ok(found) => (found != artefact.digest).then_some(What::Digest {
            expected: artefact.digest,
            found,
        }),
    }
}

fn unknown_files(image: &StoredImage) -> Vec<Difference> {
    let entries = match fs::read_dir(&image.folder) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Difference {
                file: image.folder.display().to_string(),
                what: What::Unreadable(error.to_string()),
            }];
        }
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != MANIFEST_FILE && image.manifest.artefact(name).is_none())
        .map(|file| Difference {
            file,
            what: What::Unknown,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::tests::ARTEFACTS;
    use crate::image::store::Store;
    use crate::image::store::tests::put;

    /// Replaces a sealed file.
    fn replace(image: &StoredImage, name: &str, bytes: &[u8]) {
        fs::remove_file(image.path(name)).ok();
        fs::write(image.path(name), bytes).unwrap();
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let image = put(&Store::open(folder.path()), "a", "1");
        assert_eq!(verify(&image), []);
        for (name, bytes) in ARTEFACTS {
            for bit in [0, bytes.len() * 8 - 1] {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                replace(&image, name, &flipped);
                let (expected, found) = (Digest::of(bytes), Digest::of(&flipped));
                let what = What::Digest { expected, found };
                let file = name.to_owned();
                assert_eq!(verify(&image), [Difference { file, what }]);
            }
            replace(&image, name, bytes);
        }
        assert_eq!(verify(&image), []);
    }

    #[test]
    fn other_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let image = put(&Store::open(folder.path()), "a", "1");
        replace(&image, "image.vdi", b"dis");
        replace(&image, "extra", b"");
        fs::remove_file(image.path("initrd")).unwrap();
        fs::remove_file(image.path("kernel")).unwrap();
        fs::create_dir(image.path("kernel")).unwrap();
        let told: Vec<String> = verify(&image).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "extra: is not in the manifest",
                "image.vdi: has 3 bytes, should have 4",
                "initrd: is missing",
                "kernel: is not a regular file",
            ]
        );
    }
}
