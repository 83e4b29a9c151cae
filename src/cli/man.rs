//! `hpcvm man`

use std::path::PathBuf;

use super::arguments::command;
use super::ui::OutputError;
use super::{CliError, Context, Exit};
use crate::durable;

/// Arguments of `hpcvm man`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example: hpcvm man --output ~/.local/share/man/man1")]
pub struct Args {
    /// Write the page of every verb into this folder, which is made where it is missing
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints hpcvm(1), or writes all pages.
pub(super) fn run(context: &Context, args: Args) -> Result<Exit, CliError> {
    let mut whole = command();
    whole.build();
    let Some(folder) = args.output else {
        context.ui.print(page(whole)?)?;
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(&folder).map_err(|source| durable::WriteError {
        path: folder.clone(),
        source,
    })?;
    let mut commands = vec![whole];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        durable::write(&folder.join(format!("{name}.1")), &page(command)?)?;
    }
    Ok(Exit::Done)
}

/// One manual page in troff.
fn page(command: clap::Command) -> Result<Vec<u8>, OutputError> {
    let mut troff = Vec::new();
    clap_mangen::Man::new(command).render(&mut troff)?;
    Ok(troff)
}
