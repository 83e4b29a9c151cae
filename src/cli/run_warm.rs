//! Whether and how a launch starts warm.

use std::path::{Path, PathBuf};

use super::{CliError, Context, run_request};
use crate::guest::template_disk::Preparation;
use crate::image::StoredImage;
use crate::image::manifest::Manifest;
use crate::launch::stage::find_cache;
use crate::launch::template::{TemplateError, Templates};
use crate::launch::{LaunchRequest, WarmStart};
use crate::scheduler::Warmth;
use crate::units::Bytes;

/// What a node's templates may take on its disk unless told otherwise.
const TEMPLATE_LIMIT: Bytes = Bytes::mebibytes(8 << 10);

impl PlaceArgs {
    /// Below `folder`.
    pub(super) fn below(folder: &Path) -> Self {
        Self {
            node_cache: Some(folder.to_owned()),
            template_limit: None,
        }
    }
}

/// Where this machine's templates are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct PlaceArgs {
    /// Folder on this machine's own disk below which templates are kept [default: TMPDIR]
    #[arg(long, value_name = "DIR", env = "HPCVM_NODE_CACHE", hide_env_values = true)]
    pub(super) node_cache: Option<PathBuf>,
    /// What templates may take there
    #[arg(long, value_name = "SIZE", default_value = "8G")]
    pub(super) template_limit: Option<Bytes>,
}

/// Makes `request` a warm start where it is to be one.
pub(super) fn attach(
    context: &Context,
    image: &StoredImage,
    warmth: Warmth,
    place: &PlaceArgs,
    request: &mut LaunchRequest,
) -> Result<(), CliError> {
    // What nobody asked for takes no room where nobody said that there is any.
    let is_wanted = match warmth {
        Warmth::Cold => false,
        Warmth::Auto => place.node_cache.is_some(),
        Warmth::Warm => true,
    };
    if !is_wanted {
        return Ok(());
    }
    let insist = warmth == Warmth::Warm;
    match start(context, image, place, insist) {
        Ok(warm) => {
            request.warm = Some(warm);
            Ok(())
        }
        Err(error) if insist => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "there are no templates on this machine: a cold start");
            Ok(())
        }
    }
}

/// A warm start of `image`'s machines; `insist` as in [`WarmStart`].
pub(super) fn start(
    context: &Context,
    image: &StoredImage,
    place: &PlaceArgs,
    insist: bool,
) -> Result<WarmStart, TemplateError> {
    Ok(WarmStart {
        templates: templates(context, place)?,
        image: image.digest,
        preparation: preparation(&image.manifest),
        insist,
    })
}

/// What the recipe wants of templates; their programs have the environment that jobs of root have.
fn preparation(manifest: &Manifest) -> Preparation {
    let warm = manifest.warm.clone().unwrap_or_default();
    Preparation {
        environment: run_request::template_environment(&manifest.run, &manifest.name),
        touch: warm.touch,
        python: warm.preload.python3,
    }
}

/// The templates of this machine.
pub(super) fn templates(context: &Context, args: &PlaceArgs) -> Result<Templates, TemplateError> {
    let folder: &Path = args.node_cache.as_deref().unwrap_or(&context.places.scratch);
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let cache = find_cache(&context.places.cache.join("nodes"), &node, folder)?;
    Templates::in_cache(&cache, Some(args.template_limit.unwrap_or(TEMPLATE_LIMIT)))
}
