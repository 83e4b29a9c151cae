//! `hpcvm build` and `hpcvm plan`

use std::path::PathBuf;

use super::places::absolute;
use super::recipe_file::{self, RecipeArgs};
use super::site::Site;
use super::{CliError, Context, Exit, Steps};
use crate::build::{self, BuildError, Job};
use crate::image::DISK_FILE;
use crate::image::manifest::{Count, Libraries};
use crate::plan;
use crate::progress::{Progress, Silent};
use crate::recipe::Recipe;
use crate::units::Bytes;

/// The repository of shared libraries.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct LibraryArgs {
    /// Folder of the shared library repository, for a recipe that names none [default: the site's]
    #[arg(long, value_name = "FOLDER", env = "HPCVM_LIBS", hide_env_values = true)]
    libs: Option<PathBuf>,
}

impl LibraryArgs {
    /// The folder for `recipe`, if it asks for one; the site's is only read where nothing else is
    /// named.
    fn folder(&self, context: &Context, recipe: &Recipe) -> Result<Option<PathBuf>, CliError> {
        if recipe.libraries.is_none() || self.libs.is_some() {
            return Ok(self.libs.clone().map(absolute));
        }
        Ok(Site::read(&context.environment)?.libraries)
    }
}

/// Arguments of `hpcvm build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Ask the archive anew which packages the recipe means, instead of those of the last build
    #[arg(long)]
    update: bool,
    /// Build even if nothing has changed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    libraries: LibraryArgs,
}

/// Arguments of `hpcvm plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Plan for packages resolved anew
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    libraries: LibraryArgs,
}

/// Builds an image and prints its reference.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let recipe = args.recipe.load(context)?;
    let steps = Steps::new(&context.ui);
    let wishes = Wishes {
        update: args.update,
        force: args.force,
        libraries: args.libraries.folder(context, &recipe)?,
    };
    let built = with_job(context, &steps, wishes, |job| build::build(job, &recipe));
    drop(steps);
    let built = match built {
        Err(BuildError::Recipe(diagnostics)) => {
            recipe_file::show(context, &diagnostics);
            return Err(BuildError::Recipe(diagnostics).into());
        }
        other => other?,
    };
    let image = &built.image;
    let disk = image.manifest.artefact(DISK_FILE).map_or(0, |disk| disk.length);
    let root = image.manifest.root.length;
    if context.ui.json() {
        context.ui.print_json(&serde_json::json!({
            "build": 1, "image": image.digest, "name": image.manifest.name, "folder": image.folder,
            "fresh": built.fresh, "disk-bytes": disk, "root-bytes": root,
            "libraries": image.manifest.libraries,
        }))?;
    } else {
        let news = if built.fresh { "built" } else { "unchanged" };
        let (disk, root) = (Bytes(disk), Bytes(root));
        context
            .ui
            .print(format!("{} {news}: disk {disk}, root {root}\n", image.reference()))?;
        if let Some(libraries) = &image.manifest.libraries {
            context.ui.print(libraries_line(libraries))?;
        }
    }
    Ok(Exit::Done)
}

/// Prints what a build would do.
pub(super) fn run_plan(context: &Context, args: &PlanArgs) -> Result<Exit, CliError> {
    let recipe = args.recipe.load(context)?;
    let digest = plan::recipe_digest(&recipe)?;
    let wishes = Wishes {
        update: args.update,
        libraries: args.libraries.folder(context, &recipe)?,
        ..Wishes::default()
    };
    let facts = with_job(context, &Silent, wishes, |job| job.facts(&recipe, digest))?;
    let plan = plan::plan(&recipe, digest, &facts);
    if context.ui.json() {
        context.ui.print_json(&plan)?;
    } else {
        context.ui.print(text(&plan))?;
    }
    Ok(Exit::Done)
}

/// What is asked of a build besides the recipe.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    update: bool,
    force: bool,
    libraries: Option<PathBuf>,
}

pub(super) fn with_job<T>(
    context: &Context,
    progress: &dyn Progress,
    wishes: Wishes,
    work: impl FnOnce(&Job<'_>) -> T,
) -> T {
    let store = context.store();
    let installed = |tool: &str| context.host.find(tool).is_some();
    work(&Job {
        runner: &context.host,
        progress,
        store: &store,
        cache: context.places.cache.clone(),
        scratch: context.places.scratch.clone(),
        installed: &installed,
        update: wishes.update,
        force: wishes.force,
        libraries: wishes.libraries,
    })
}

/// What is linked, and what that saves.
fn libraries_line(libraries: &Libraries) -> String {
    let generation = &libraries.generation;
    let counted = |count: &Count, one: &str, many: &str| {
        let what = if count.files == 1 { one } else { many };
        format!("{} {what} ({})", count.files, Bytes(count.bytes))
    };
    format!(
        "linked from {}, generation {}: {} and {}; {} stay; files {}, not {}\n",
        generation.repository,
        generation.number,
        counted(&libraries.linked, "library", "libraries"),
        counted(&libraries.relocated, "folder", "folders"),
        counted(&libraries.local, "library", "libraries"),
        Bytes(libraries.after.bytes),
        Bytes(libraries.before.bytes),
    )
}

fn text(plan: &plan::Plan) -> String {
    let mut lines = vec![format!("{} (recipe {})", plan.name, plan.recipe.short())];
    for step in &plan.steps {
        let state = if step.cached { "cached" } else { "to do" };
        let tools = match step.tools.as_slice() {
            [] => String::new(),
            tools => format!("  [{}]", tools.join(" ")),
        };
        lines.push(format!("  {:<10} {state}  {}{tools}", step.name.name(), step.does));
    }
    lines.push(match (&plan.image, &plan.packages) {
        (Some(image), _) => format!("nothing has changed: {}@{}", plan.name, image.short()),
        (None, Some(packages)) => format!("{} packages, known from an earlier build", packages.len()),
        (None, None) => "which packages exactly, the archive will tell".to_owned(),
    });
    if !plan.missing.is_empty() {
        lines.push(format!("missing on this host: {}", plan.missing.join(" ")));
    }
    lines.join("\n") + "\n"
}
