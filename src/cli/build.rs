//! `hpcvm build` and `hpcvm plan`

use super::recipe_file::{self, RecipeArgs};
use super::{CliError, Context, Exit, Steps};
use crate::build::{self, BuildError, Job};
use crate::image::DISK_FILE;
use crate::plan;
use crate::progress::{Progress, Silent};
use crate::units::Bytes;

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
}

/// Arguments of `hpcvm plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Plan for packages resolved anew
    #[arg(long)]
    update: bool,
}

/// Builds an image and prints its reference.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let recipe = args.recipe.load(context)?;
    let steps = Steps::new(&context.ui);
    let built = with_job(context, &steps, (args.update, args.force), |job| {
        build::build(job, &recipe)
    });
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
        }))?;
    } else {
        let news = if built.fresh { "built" } else { "unchanged" };
        let (disk, root) = (Bytes(disk), Bytes(root));
        context
            .ui
            .print(format!("{} {news}: disk {disk}, root {root}\n", image.reference()))?;
    }
    Ok(Exit::Done)
}

/// Prints what a build would do.
pub(super) fn run_plan(context: &Context, args: &PlanArgs) -> Result<Exit, CliError> {
    let recipe = args.recipe.load(context)?;
    let digest = plan::recipe_digest(&recipe)?;
    let facts = with_job(context, &Silent, (args.update, false), |job| job.facts(&recipe, digest))?;
    let plan = plan::plan(&recipe, digest, &facts);
    if context.ui.json() {
        context.ui.print_json(&plan)?;
    } else {
        context.ui.print(text(&plan))?;
    }
    Ok(Exit::Done)
}

pub(super) fn with_job<T>(
    context: &Context,
    progress: &dyn Progress,
    (update, force): (bool, bool),
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
        update,
        force,
    })
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
