//! Carries a build out: recipe, packages, tree, slim tree, image.
//!
//! The steps are those of [`crate::plan::StepKind`]; [`build`] reads as their list. The kernel is
//! worked on beside the tree, because unpacking its package takes as long as all the rest.

mod error;
mod kernel;
mod known;
mod record;
mod tree;

pub use error::BuildError;

use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::exec::Runner;
use crate::image::boot::{BootFiles, boot_code, write_boot};
use crate::image::disk::{DiskSignature, write_disk};
use crate::image::root::{Ext4, RootImage, Squashfs, write_ext4, write_squashfs};
use crate::image::{DISK_FILE, KERNEL_FILE, Staging, Store, StoredImage};
use crate::plan::{self, Facts, Pins, StepKind};
use crate::progress::Progress;
use crate::recipe::{Initrd, Recipe, RootKind};
use crate::rootfs::apt::AptState;
use crate::rootfs::archive::ArchiveSource;
use crate::rootfs::cache::{self, CachePlaces};
use crate::rootfs::pool::Pool;
use crate::rootfs::resolve::{self, Resolution};
use crate::sharedlibs::Repository;

/// What a build works with.
#[allow(missing_debug_implementations, reason = "runners and listeners are what they are")]
pub struct Job<'a> {
    /// Starts programs.
    pub runner: &'a dyn Runner,
    /// Listens to the steps.
    pub progress: &'a dyn Progress,
    /// Where the image goes.
    pub store: &'a Store,
    /// The cache's folder.
    pub cache: PathBuf,
    /// Where short-lived files go that other users must be able to enter.
    pub scratch: PathBuf,
    /// Tells whether a program is installed.
    pub installed: &'a (dyn Fn(&str) -> bool + Sync),
    /// Ask the archive again which packages the recipe means.
    pub update: bool,
    /// Build even if the same inputs gave an image before.
    pub force: bool,
    /// The exact packages that a lock file says.
    pub lock: Option<Resolution>,
    /// The shared library repository, for recipes that name none.
    pub libraries: Option<PathBuf>,
}

/// An image, and whether it was made now.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub image: StoredImage,
    /// False when nothing had changed.
    pub fresh: bool,
}

impl Job<'_> {
    fn places(&self) -> CachePlaces {
        CachePlaces {
            apt: self.cache.join("apt"),
            pool: self.cache.join("pool"),
            trees: self.cache.join("trees"),
            scratch: self.scratch.clone(),
        }
    }

    fn pins(&self) -> Pins {
        Pins::new(self.cache.join("resolutions"))
    }

    /// The exact packages of `recipe`, where they are known and not to be asked for anew.
    fn known_packages(&self, recipe: &Recipe) -> Option<Resolution> {
        if self.update {
            return None;
        }
        self.lock.clone().or_else(|| self.pins().get(recipe))
    }

    /// The repository's folder that libraries of `recipe` are linked from.
    fn repository<'r>(&'r self, recipe: &'r Recipe) -> Option<&'r Path> {
        let named = recipe.libraries.as_ref()?.repository_folder.as_deref();
        named.or(self.libraries.as_deref())
    }

    fn key(&self, recipe: &Recipe, digest: Digest, resolution: &Resolution) -> Digest {
        let repository = self.repository(recipe).and_then(|folder| Repository::open(folder).ok());
        let name = repository.as_ref().map(Repository::name);
        plan::build_key(recipe, digest, resolution, name)
    }

    fn step(&self, kind: StepKind, recipe: &Recipe) {
        self.progress.step(kind.name(), &kind.describe(recipe));
    }

    /// What only the recipe's packages can tell is wrong with it; nothing where they were not
    /// bootstrapped before.
    #[must_use]
    pub fn mistakes(&self, recipe: &Recipe) -> Vec<Diagnostic> {
        let known = self.known_packages(recipe);
        let tree = known.and_then(|known| cache::cached(self.runner, recipe, &known, &self.places()));
        tree.map_or_else(Vec::new, |tree| tree::mistakes(recipe, &tree))
    }

    /// What a plan for `recipe` needs to know of this host.
    pub fn facts(&self, recipe: &Recipe, digest: Digest) -> Result<Facts, BuildError> {
        let resolution = self.known_packages(recipe);
        let missing = plan::tools(recipe)
            .into_iter()
            .filter(|tool| !(self.installed)(tool))
            .collect();
        let Some(resolution) = resolution else {
            return Ok(Facts {
                missing,
                ..Facts::default()
            });
        };
        let pool = Pool::new(&self.places().pool);
        let known = known::image(self, recipe, self.key(recipe, digest, &resolution))?;
        let fetched = resolution
            .packages
            .iter()
            .chain([&resolution.kernel])
            .all(|package| pool.has(package));
        let bootstrapped = cache::is_cached(self.runner, recipe, &resolution, &self.places());
        Ok(Facts {
            fetched,
            bootstrapped,
            image: known.filter(|_| !self.force).map(|image| image.digest),
            resolution: Some(resolution),
            missing,
        })
    }
}

/// Builds the image of `recipe`, or finds the one that the same inputs gave before.
pub fn build(job: &Job<'_>, recipe: &Recipe) -> Result<Built, BuildError> {
    let digest = plan::recipe_digest(recipe)?;
    if let Some(image) = unchanged(job, recipe, digest)? {
        return Ok(Built { image, fresh: false });
    }
    check_host(job, recipe)?;
    let resolution = packages(job, recipe)?;
    let key = job.key(recipe, digest, &resolution);
    // Asking the archive again may have told nothing new.
    if let Some(image) = known::image(job, recipe, key)?.filter(|_| !job.force) {
        job.store.name(&recipe.name, image.digest)?;
        return Ok(Built { image, fresh: false });
    }
    job.step(StepKind::Fetch, recipe);
    cache::fetch(
        job.runner,
        recipe,
        &resolution,
        &Pool::new(&job.places().pool),
        &|detail| {
            job.progress.step(StepKind::Fetch.name(), detail);
        },
    )?;
    let staging = job.store.begin()?;
    let (kernel, slim) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| kernel::own(job, recipe, &resolution, &staging));
        let slim = tree::make(job, recipe, &resolution);
        (kernel.join().expect("the kernel's thread does not panic"), slim)
    });
    let (kernel, slim) = (kernel?, slim?);
    let kernel = match kernel {
        Some(kernel) => kernel,
        None => kernel::debian(&slim, &resolution, recipe, &staging)?,
    };
    job.step(StepKind::Root, recipe);
    let root = write_root(job, recipe, &slim, &resolution, &staging)?;
    job.step(StepKind::Disk, recipe);
    let layout = assemble(job, recipe, &kernel, &root, &resolution, &staging)?;
    job.step(StepKind::Store, recipe);
    let made = record::Made {
        resolution: &resolution,
        slim: &slim,
        kernel: &kernel,
        root: &root,
        layout: &layout,
    };
    let manifest = record::manifest(job, recipe, digest, &made, &staging)?;
    let image = staging.commit(&manifest)?;
    job.store.remember_build(key, image.digest)?;
    Ok(Built { image, fresh: true })
}

/// The image that the same inputs gave before, if nothing was asked anew.
fn unchanged(job: &Job<'_>, recipe: &Recipe, digest: Digest) -> Result<Option<StoredImage>, BuildError> {
    if job.force {
        return Ok(None);
    }
    let Some(resolution) = job.known_packages(recipe) else {
        return Ok(None);
    };
    let known = known::image(job, recipe, job.key(recipe, digest, &resolution))?;
    if let Some(image) = &known {
        job.store.name(&recipe.name, image.digest)?;
    }
    Ok(known)
}

fn check_host(job: &Job<'_>, recipe: &Recipe) -> Result<(), BuildError> {
    let missing: Vec<_> = plan::tools(recipe)
        .into_iter()
        .filter(|tool| !(job.installed)(tool))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(BuildError::MissingTools(missing))
    }
}

/// The exact packages of `recipe`: those known, or else what its archive has now, which is known from then on.
pub fn packages(job: &Job<'_>, recipe: &Recipe) -> Result<Resolution, BuildError> {
    if let Some(resolution) = job.known_packages(recipe) {
        return Ok(resolution);
    }
    job.step(StepKind::Resolve, recipe);
    let source = ArchiveSource::find(job.runner, &recipe.base, None)?;
    let state = AptState::open(&job.places().apt, &source, recipe.base.architecture)?;
    state.update(job.runner)?;
    let resolution = resolve::resolve(job.runner, &state, recipe)?;
    job.pins().put(recipe, &resolution)?;
    Ok(resolution)
}

fn write_root(
    job: &Job<'_>,
    recipe: &Recipe,
    slim: &tree::Slim,
    resolution: &Resolution,
    staging: &Staging,
) -> Result<RootImage, BuildError> {
    let epoch = resolution.epoch;
    let target = staging.path("root.image");
    Ok(match recipe.image.root {
        RootKind::ReadOnly => {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let options = Squashfs {
                compression: recipe.image.compression,
                epoch,
                processors,
            };
            write_squashfs(job.runner, &slim.tree, options, &target)?
        }
        RootKind::Writable => {
            let options = Ext4 {
                free_space: recipe.image.free_space,
                epoch,
            };
            write_ext4(job.runner, &slim.tree, options, &target)?
        }
    })
}

/// Puts the disk together and removes what only it needed.
fn assemble(
    job: &Job<'_>,
    recipe: &Recipe,
    kernel: &kernel::BootKernel,
    root: &RootImage,
    resolution: &Resolution,
    staging: &Staging,
) -> Result<crate::image::disk::DiskLayout, BuildError> {
    let signature = DiskSignature::of_root(root);
    let command_line = match recipe.kernel.initrd {
        Initrd::Hpcvm => {
            let mut words = vec![
                kernel.command_line.clone(),
                format!("hpcvm.root={}", signature.root_partition()),
            ];
            words.push(format!("hpcvm.rootfs={}", root.kind.name()));
            if recipe.init == crate::recipe::Init::Services {
                words.push("hpcvm.init=/sbin/init".to_owned());
            }
            words.join(" ")
        }
        Initrd::Debian => format!("root=PARTUUID={} {}", signature.root_partition(), kernel.command_line),
    };
    let packed = staging.path("initrd.packed");
    kernel::pack_initrd(recipe, staging, &packed)?;
    let files = BootFiles {
        kernel: &staging.path(KERNEL_FILE),
        initrd: &packed,
        command_line: &command_line,
    };
    let boot = write_boot(job.runner, files, resolution.epoch, &staging.path("boot.image"))?;
    let layout = write_disk(&boot_code()?, &boot, root, &staging.path(DISK_FILE))?;
    for part in [&boot.path, &root.path, &packed] {
        std::fs::remove_file(part).map_err(|source| BuildError::Staging {
            path: part.clone(),
            source,
        })?;
    }
    Ok(layout)
}
