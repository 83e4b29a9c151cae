//! `hpcvm completions`

use super::arguments::command;
use super::{CliError, Context, Exit};

/// Arguments of `hpcvm completions`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example: hpcvm completions bash > ~/.local/share/bash-completion/completions/hpcvm")]
pub struct Args {
    /// The shell to write for
    shell: clap_complete::Shell,
}

/// Prints the completion script.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "hpcvm", &mut script);
    context.ui.print(script)?;
    Ok(Exit::Done)
}
