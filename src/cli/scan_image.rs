//! Programs of the user in the guest of an image: `hpcvm scan --image`, and before `hpcvm run`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::run_libraries;
use super::ui::Style;
use super::{CliError, Context};
use crate::elf::scan::Scanned;
use crate::image::StoredImage;
use crate::image::contents::{GuestFiles, Mount};
use crate::remedy::{Adviser, Remedy, found};
use crate::sharedlibs::{MOUNT_POINT, Repository};

/// Options of `hpcvm scan` that name an image.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ImageArgs {
    /// Tell whether programs of this host would run in the guest of an image of the store
    #[arg(long, value_name = "IMAGE", conflicts_with = "root", requires = "paths")]
    pub(super) image: Option<String>,
    /// Folder of the shared library repository that an image links to [default: the image's, or the site's]
    #[arg(long, value_name = "FOLDER", env = "HPCVM_LIBS", hide_env_values = true)]
    pub(super) libs: Option<PathBuf>,
}

/// An image, its files, and the repository that it links to.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) image: StoredImage,
    pub(super) files: GuestFiles,
    repository: Option<Repository>,
}

/// What a file lacks, and what to do about each.
#[derive(Debug, Serialize)]
pub(super) struct Advice {
    /// The file.
    path: String,
    /// In the order in which they are found.
    remedies: Vec<Remedy>,
}

impl Guest {
    /// Looks into `image`. A repository that is not there makes what links to it missing.
    pub(super) fn open(context: &Context, image: StoredImage, libs: Option<&Path>) -> Result<Self, CliError> {
        let mut files = GuestFiles::open(&image)?;
        let folder = run_libraries::places(context, libs)?.for_image(&image.manifest);
        // What cannot be opened is told by those who need it.
        let repository = folder.and_then(|folder| Repository::open(&folder).ok());
        if let (Some(repository), Some(_)) = (&repository, &image.manifest.libraries) {
            files.mount(Mount {
                guest: MOUNT_POINT.into(),
                host: repository.folder().to_owned(),
            });
        }
        Ok(Self {
            image,
            files,
            repository,
        })
    }

    /// Shows the guest the folders of these programs and the working directory, at the same
    /// paths as `hpcvm run` would share them; of the system's folders only the files themselves.
    pub(super) fn share(&mut self, here: &Path, programs: &[PathBuf]) {
        let mut shown = vec![here.to_owned()];
        for program in programs {
            let path = here.join(program);
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            shown.push(if path.is_dir() || is_system(&folder) {
                path
            } else {
                folder
            });
        }
        for host in shown.into_iter().filter(|path| !is_system(path) || path.is_file()) {
            let guest = host.clone();
            self.files.mount(Mount { guest, host });
        }
    }

    /// What to do about those of `scanned` that lack something.
    pub(super) fn advice(&self, context: &Context, scanned: &[Scanned]) -> Vec<Advice> {
        let adviser = self.adviser(context);
        let broken = scanned.iter().filter(|file| file.is_broken());
        let advice = broken.map(|file| Advice {
            path: file.path.display().to_string(),
            remedies: found::lacks(file, self.image.manifest.architecture)
                .into_iter()
                .map(|lack| adviser.remedy(lack))
                .collect(),
        });
        advice.collect()
    }

    /// Knows what could be added to the image.
    pub(super) fn adviser(&self, context: &Context) -> Adviser {
        Adviser::new(&self.image, self.repository.as_ref(), context.places.cache.join("pool"))
    }
}

/// Folders of the host that are the system's: those of the guest stand in their place.
fn is_system(folder: &Path) -> bool {
    let system = [
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
    ];
    folder == Path::new("/")
        || system.iter().any(|system| folder.starts_with(system)) && !folder.starts_with("/usr/local")
}

/// What to do, in lines.
pub(super) fn lines(advice: &[Advice], style: Style) -> String {
    let mut text = String::new();
    for file in advice {
        text += &format!("{} {}\n", file.path, style.error("does not run"));
        text += &remedies(&file.remedies, style);
    }
    text
}

/// Each lack with its remedy.
pub(super) fn remedies(remedies: &[Remedy], style: Style) -> String {
    let line = |remedy: &Remedy| format!("  {}\n    {}: {remedy}\n", remedy.lack, style.strong("help"));
    remedies.iter().map(line).collect()
}
