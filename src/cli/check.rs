//! `hpcvm check`

use std::path::PathBuf;

use super::ui::Style;
use super::{CliError, Context, Exit, build};
use crate::diagnostic::{Severity, render_json, render_text};
use crate::progress::Silent;
use crate::recipe;

/// Arguments of `hpcvm check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exits with 1 when a recipe has errors. docs/diagnostics.md explains every code.")]
pub struct Args {
    /// The recipes' files
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
}

/// Tells every problem of every recipe.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut diagnostics = Vec::new();
    for path in &args.recipes {
        let loaded = recipe::load(path);
        let mut found = loaded.diagnostics;
        // Some mistakes only the packages can tell, where a build has them already.
        if let Some(recipe) = loaded.recipe {
            found.extend(build::with_job(context, &Silent, build::Wishes::default(), |job| {
                job.mistakes(&recipe)
            }));
        }
        if found.is_empty() && !context.ui.json() {
            context.ui.print(format!("{}: ok\n", path.display()))?;
        }
        diagnostics.extend(found);
    }
    if context.ui.json() {
        context.ui.print(render_json(&diagnostics))?;
    } else {
        context
            .ui
            .print(render_text(&diagnostics, context.ui.stdout_style() == Style::Ansi))?;
    }
    let broken = diagnostics.iter().any(|found| found.severity == Severity::Error);
    Ok(if broken { Exit::Found } else { Exit::Done })
}
