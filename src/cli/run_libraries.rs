//! Where the shared library repository is that an image links to.

use std::path::{Path, PathBuf};

use super::places::absolute;
use super::site::Site;
use super::{CliError, Context};
use crate::image::StoredImage;
use crate::launch::{By, LaunchRequest, Libraries, Places};

/// How a guest gets the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LibrariesBy {
    /// As a disk where the generation was exported, else as a folder
    #[default]
    Auto,
    /// The generation's export as a disk
    Disk,
    /// The host's folder over 9p
    Folder,
}

/// What the command line says of the repository.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct LibraryArgs {
    /// Folder of the shared library repository [default: the image's, or the site's]
    #[arg(long, value_name = "DIR", env = "HPCVM_LIBS", hide_env_values = true)]
    pub(super) libs: Option<PathBuf>,
    /// How the guest gets the shared libraries: auto, disk or folder
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    pub(super) libs_by: LibrariesBy,
}

/// The places to look in; the site's is only read where nothing else is named.
pub(super) fn places(context: &Context, named: Option<&Path>) -> Result<Places, CliError> {
    let named = named.map(|path| absolute(path.to_owned()));
    let site = match named {
        Some(_) => None,
        None => Site::read(&context.environment)?.libraries,
    };
    Ok(Places { named, site })
}

/// Gives `request` the repository that `image` links to, which is found and checked; an image
/// without links costs nothing.
pub(super) fn attach(
    context: &Context,
    image: &StoredImage,
    args: &LibraryArgs,
    request: &mut LaunchRequest,
) -> Result<(), CliError> {
    if image.manifest.libraries.is_none() {
        return Ok(());
    }
    let by = match args.libs_by {
        LibrariesBy::Auto => By::Auto,
        LibrariesBy::Disk => By::Disk,
        LibrariesBy::Folder => By::Folder,
    };
    let places = places(context, args.libs.as_deref())?;
    request.libraries = Libraries::find(image, &places, by, request.start)?;
    Ok(())
}
