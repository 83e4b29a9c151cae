//! Programs of the user in the guest of an image: `hpcvm scan --image`, and before `hpcvm run`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::run_libraries;
use super::scan_graph::tree;
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
    #[arg(long, value_name = "DIR", env = "HPCVM_LIBS", hide_env_values = true)]
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
        for path in programs {
            let folder = path.parent().unwrap_or(path);
            let whole = path.is_dir() || is_system(folder);
            shown.push(if whole { path } else { folder }.to_owned());
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

/// What each file loads, what it lacks, and what to do about it.
pub(super) fn lines(scanned: &[Scanned], advice: &[Advice], problems_only: bool, style: Style) -> String {
    let mut advice = advice.iter();
    let mut text = String::new();
    for file in scanned {
        let advice = file.is_broken().then(|| advice.next()).flatten();
        match (problems_only, advice) {
            (false, _) => text += &tree(file, style),
            (true, Some(_)) => text += &[&file.path.display().to_string(), "\n"].concat(),
            (true, None) => {}
        }
        let remedies = advice.map_or(&[][..], |advice| &advice.remedies);
        text += &self::remedies(remedies, style);
    }
    text
}

/// Each lack with its remedy.
pub(super) fn remedies(remedies: &[Remedy], style: Style) -> String {
    let line = |remedy: &Remedy| {
        let (problem, help) = (style.error("problem"), style.strong("help"));
        format!("  {problem}: {}\n    {help}: {remedy}\n", remedy.lack)
    };
    remedies.iter().map(line).collect()
}
