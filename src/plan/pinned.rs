//! Resolutions kept from build to build: the packages a recipe means stay the same until they
//! are asked for anew, so that an unchanged recipe needs no network and gives the same image.

use std::fs;
use std::path::PathBuf;

use crate::digest::{Digest, Hasher};
use crate::durable::{self, WriteError};
use crate::recipe::Recipe;
use crate::rootfs::resolve::{FORMAT, Resolution};

/// A folder of resolutions, each under the digest of what was asked for.
#[derive(Clone, Debug)]
pub struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The resolutions in `folder`, which need not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What `recipe` was resolved to before. What cannot be read counts as not there.
    #[must_use]
    pub fn get(&self, recipe: &Recipe) -> Option<Resolution> {
        let text = fs::read(self.path(recipe)).ok()?;
        let resolution: Resolution = serde_json::from_slice(&text).ok()?;
        (resolution.version == FORMAT).then_some(resolution)
    }

    /// Keeps what `recipe` was resolved to.
    pub fn put(&self, recipe: &Recipe, resolution: &Resolution) -> Result<(), WriteError> {
        durable::create_private_folder(&self.folder)?;
        let text = serde_json::to_vec_pretty(resolution).expect("resolutions have string keys only");
        durable::write(&self.path(recipe), &text)
    }

    fn path(&self, recipe: &Recipe) -> PathBuf {
        self.folder.join(format!("{}.json", question(recipe)))
    }
}

/// The digest of all that decides which packages a recipe means.
pub(super) fn question(recipe: &Recipe) -> Digest {
    let base = &recipe.base;
    let mut hasher = Hasher::default();
    hasher
        .field(base.suite.as_bytes())
        .field(base.architecture.debian().as_bytes());
    hasher.field(format!("{:?} {:?} {:?}", base.pockets, base.bootstrap, recipe.kernel.initrd).as_bytes());
    hasher.field(recipe.kernel.package.as_bytes());
    for names in [&base.components, &recipe.all_packages()] {
        hasher.field(names.join(" ").as_bytes());
    }
    hasher.finish()
}
