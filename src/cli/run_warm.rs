//! Whether and how a launch starts warm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::launch::node;
use super::places::absolute;
use super::site::Site;
use super::{CliError, Context, run_request};
use crate::guest::template_disk::Preparation;
use crate::image::StoredImage;
use crate::image::manifest::Manifest;
use crate::launch::slot::Admission;
use crate::launch::stage::find_cache;
use crate::launch::template::{SiteTemplates, TemplateError, Templates};
use crate::launch::{LaunchRequest, WarmStart};
use crate::scheduler::Warmth;
use crate::units::Bytes;

/// How long a launch waits for its turn to boot: a launch that was stopped in the midst of its boot holds up nobody for ever.
const TURN: Duration = Duration::from_mins(1);
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

/// Where the site's templates are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SiteArgs {
    /// Folder with templates that the site has made for all its users [default: the site file's]
    #[arg(long, value_name = "DIR", env = "HPCVM_SITE_TEMPLATES", hide_env_values = true)]
    pub(super) site_templates: Option<PathBuf>,
}

/// Makes `request` a warm start where it is to be one; `site` is the folder of the site's templates where it is named.
pub(super) fn attach(
    context: &Context,
    image: &StoredImage,
    warmth: Warmth,
    place: &PlaceArgs,
    site: Option<&Path>,
    request: &mut LaunchRequest,
) -> Result<(), CliError> {
    let insist = match warmth {
        Warmth::Cold => return Ok(()),
        Warmth::Auto => false,
        Warmth::Warm => true,
    };
    let site = match of_site(context, site)? {
        Ok(site) => site,
        Err(error) if insist => return Err(error.into()),
        Err(error) => {
            context.ui.note(&error.to_string());
            None
        }
    };
    // What nobody asked for takes no room where nobody said that there is any.
    let own = (insist || place.node_cache.is_some()).then(|| templates(context, place));
    let own = match own.transpose() {
        Ok(own) => own,
        Err(error) if insist => return Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "there are no templates on this machine");
            None
        }
    };
    if own.is_some() || site.is_some() {
        request.warm = Some(WarmStart {
            templates: own,
            site,
            image: image.digest,
            preparation: preparation(&image.manifest),
            insist,
        });
    }
    Ok(())
}

/// The site's templates in the folder `named`, or else the site file's; the inner error says why they are not to be
/// trusted.
fn of_site(context: &Context, named: Option<&Path>) -> Result<Result<Option<SiteTemplates>, TemplateError>, CliError> {
    let file = Site::read(&context.environment)?;
    let Some(folder) = named.map(|path| absolute(path.to_owned())).or(file.templates) else {
        return Ok(Ok(None));
    };
    let notes = context.places.cache.join("site-templates").join(node());
    Ok(SiteTemplates::open(&folder, file.templates_owner, &notes))
}

/// The site's templates in `folder`, as launches see them.
pub(super) fn site_templates(context: &Context, folder: &Path) -> Result<Option<SiteTemplates>, CliError> {
    Ok(of_site(context, Some(folder))??)
}

/// A warm start of `image`'s machines from `templates` only, which insists on it ([`WarmStart`]).
pub(super) fn start(image: &StoredImage, templates: Templates) -> WarmStart {
    WarmStart {
        templates: Some(templates),
        site: None,
        image: image.digest,
        preparation: preparation(&image.manifest),
        insist: true,
    }
}

/// What the recipe wants of templates; their programs have the environment that jobs of root have.
fn preparation(manifest: &Manifest) -> Preparation {
    let warm = manifest.warm.clone().unwrap_or_default();
    Preparation {
        environment: run_request::template_environment(&manifest.run, &manifest.name),
        touch: warm.touch,
        python: warm.preload.python3,
        programs: warm.preload.programs,
    }
}

/// Tokens for the boots of `hpcvm run`, one for each processor: in the node's cache where one is named, with those of its
/// slots, else among the user's files on this machine. Without tokens nobody waits.
pub(super) fn admission(context: &Context, place: &PlaceArgs) -> Option<Admission> {
    let records = context.places.cache.join("nodes");
    let named = place.node_cache.clone().map(absolute);
    let cache = named.and_then(|folder| find_cache(&records, &node(), &folder).ok());
    let folder = match (cache, context.environment.get("XDG_RUNTIME_DIR").map(Path::new)) {
        (Some(cache), _) => cache.root().join("boots"),
        (None, Some(own)) if own.is_absolute() && own.is_dir() => own.join("hpcvm-boots"),
        (None, _) => context.places.cache.join("boots").join(node()),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match Admission::new(&folder, processors) {
        Ok(admission) => Some(admission.with_patience(TURN)),
        Err(error) => {
            tracing::info!(%error, "boots are not admitted in turn");
            None
        }
    }
}

/// The templates of this machine.
pub(super) fn templates(context: &Context, args: &PlaceArgs) -> Result<Templates, TemplateError> {
    // Of a relative path the record would not be known again.
    let folder = args.node_cache.clone().map(absolute);
    let folder = folder.as_deref().unwrap_or(&context.places.scratch);
    let cache = find_cache(&context.places.cache.join("nodes"), &node(), folder)?;
    Templates::in_cache(&cache, Some(args.template_limit.unwrap_or(TEMPLATE_LIMIT)))
}
