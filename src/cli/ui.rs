//! The terminal: the only place that writes to it.

use std::io::{self, Write};

use super::environment::Environment;
use super::step::Step;
use crate::diagnostic::{Blame, Problem};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColourChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain text.
    Plain,
    /// ANSI colours.
    Ansi,
}

impl Style {
    /// Something bad.
    #[must_use]
    pub fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something to look at.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// Something good.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A heading.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// How steps of a long undertaking are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// Not at all.
    Silent,
    /// One line at each change.
    Lines,
    /// A moving line on a terminal.
    Spinner,
    /// One JSON object on a line of standard error at each change.
    Json,
}

/// What was asked for about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// `-v` minus `-q`.
    pub verbosity: i8,
    /// `--color`.
    pub colour: ColourChoice,
    /// `--json`.
    pub json: bool,
}

/// Writes to the user's standard output and standard error.
#[derive(Clone, Debug)]
pub struct Ui {
    stdout_style: Style,
    stderr_style: Style,
    steps: Steps,
    json: bool,
}

/// Standard output or standard error could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct OutputError(#[from] io::Error);

impl Problem for OutputError {
    fn code(&self) -> &'static str {
        "HV0902"
    }

    fn blame(&self) -> Blame {
        Blame::Host
    }
}

impl Ui {
    /// A user interface as wished for, on these terminals.
    #[must_use]
    pub fn new(wishes: Wishes, environment: &Environment) -> Self {
        let style = |is_terminal: bool| match wishes.colour {
            ColourChoice::Always => Style::Ansi,
            ColourChoice::Auto if is_terminal && environment.get("NO_COLOR").is_none() => Style::Ansi,
            ColourChoice::Auto | ColourChoice::Never => Style::Plain,
        };
        let steps = match wishes {
            _ if wishes.verbosity < 0 => Steps::Silent,
            Wishes { json: true, .. } => Steps::Json,
            // Log lines would tear a moving line apart.
            Wishes { verbosity: 0, .. } if environment.stderr_is_terminal => Steps::Spinner,
            _ => Steps::Lines,
        };
        Self {
            stdout_style: style(environment.stdout_is_terminal),
            stderr_style: style(environment.stderr_is_terminal),
            steps,
            json: wishes.json,
        }
    }

    /// Whether results are wanted as JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        self.json
    }

    /// The style of standard output.
    #[must_use]
    pub const fn stdout_style(&self) -> Style {
        self.stdout_style
    }

    /// The style of standard error.
    #[must_use]
    pub const fn stderr_style(&self) -> Style {
        self.stderr_style
    }

    /// Writes a result to standard output. A reader that stopped reading, such as `head`, has
    /// all it wants: that is no error.
    pub fn print(&self, text: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes `value` to standard output as indented JSON.
    pub fn print_json(&self, value: &impl serde::Serialize) -> Result<(), OutputError> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        text.push('\n');
        self.print(text)
    }

    /// Whether only errors are told.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.steps == Steps::Silent
    }

    /// Says something worth knowing on standard error; silent with `-q`.
    pub fn note(&self, text: &str) {
        if !self.is_silent() {
            self.complain(&format!("hpcvm: {text}\n"));
        }
    }

    /// Writes to standard error. That it cannot be written can be told nobody.
    pub fn complain(&self, text: &str) {
        io::stderr().lock().write_all(text.as_bytes()).ok();
    }

    /// Begins a step; it ends with the guard.
    #[must_use = "the step ends when the guard is dropped"]
    pub fn step(&self, name: &str, detail: &str) -> Step<'_> {
        Step::begin(self, name, detail)
    }

    pub(super) const fn steps(&self) -> Steps {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui(verbosity: i8, colour: ColourChoice, json: bool, terminal: bool, variables: &[(&str, &str)]) -> Ui {
        let wishes = Wishes {
            verbosity,
            colour,
            json,
        };
        let mut environment = Environment::of(variables);
        environment.stderr_is_terminal = terminal;
        environment.stdout_is_terminal = terminal;
        Ui::new(wishes, &environment)
    }

    #[test]
    fn colours_follow_the_option_then_the_variable_then_the_terminal() {
        use ColourChoice::{Always, Auto, Never};
        for (choice, terminal, no_color, expected) in [
            (Auto, true, "", Style::Ansi),
            (Auto, true, "1", Style::Plain),
            (Auto, false, "", Style::Plain),
            (Always, false, "1", Style::Ansi),
            (Never, true, "", Style::Plain),
        ] {
            let style = ui(0, choice, false, terminal, &[("NO_COLOR", no_color)]).stdout_style();
            assert_eq!(style, expected, "{choice:?} terminal={terminal} NO_COLOR={no_color}");
        }
    }

    #[test]
    fn steps_are_shown_as_the_surroundings_allow() {
        for (verbosity, json, terminal, expected) in [
            (0, false, true, Steps::Spinner),
            (1, false, true, Steps::Lines),
            (0, false, false, Steps::Lines),
            (0, true, true, Steps::Json),
            (-1, true, true, Steps::Silent),
        ] {
            let steps = ui(verbosity, ColourChoice::Auto, json, terminal, &[]).steps();
            assert_eq!(steps, expected, "{verbosity} {json} {terminal}");
        }
    }
}
