//! From the command line to the exit code.

use std::ffi::OsString;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use super::ui::{Style, Ui, Wishes};
use super::{Arguments, CliError, Context, Environment, Exit};

/// Parses `arguments` (the program's name first), does what they say and tells what went wrong.
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(answer) => return answer_of_clap(&answer),
    };
    let environment = Environment::snapshot();
    let wishes = parsed.global.wishes();
    let ui = Ui::new(wishes, &environment);
    log_to_stderr(wishes, ui.stderr_style());
    let done = Context::new(parsed.global, ui.clone(), environment).and_then(|context| parsed.verb.run(&context));
    done.unwrap_or_else(|error| {
        report(&ui, &error);
        error.exit()
    })
}

/// Help, the version, or what was wrong with the command line.
fn answer_of_clap(answer: &clap::Error) -> Exit {
    // A closed standard output or error cannot be complained about.
    answer.print().ok();
    if answer.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// Tells an error, as text or JSON.
pub(super) fn report(ui: &Ui, error: &CliError) {
    if ui.json() {
        ui.complain(&error.json());
    } else {
        ui.complain(&error.text(ui.stderr_style()));
    }
}

fn log_to_stderr(wishes: Wishes, style: Style) {
    let level = match wishes.verbosity {
        ..0 => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(style == Style::Ansi)
        .with_target(false);
    // The only failure is a subscriber that is there already: a program that embeds hpcvm has one.
    if wishes.json {
        lines.json().try_init().ok();
    } else {
        lines.try_init().ok();
    }
}
