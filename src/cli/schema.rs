//! `hpcvm schema`

use super::{CliError, Context, Exit};
use crate::recipe;

/// Arguments of `hpcvm schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the JSON Schema of recipes.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, CliError> {
    context.ui.print(recipe::schema::recipe_text())?;
    Ok(Exit::Done)
}
