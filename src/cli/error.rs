//! What the user sees of a failure: once, here, for every error of the library.

use super::exit::Exit;
use super::ui::Style;
use crate::diagnostic::{Blame, Problem};

/// Any failure on its way to the user.
///
/// It is made from any [`Problem`], so that `?` suffices in a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// Whose mistake it was: decides the exit code.
    pub blame: Blame,
    /// The stable code, `HVnnnn`.
    pub code: &'static str,
    /// What went wrong.
    pub message: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl<P: Problem> From<P> for CliError {
    fn from(problem: P) -> Self {
        let message = problem.to_string();
        let mut causes = Vec::new();
        let mut next = problem.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many messages already quote their cause; saying it twice helps nobody.
            if !causes.last().unwrap_or(&message).contains(&text) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self {
            blame: problem.blame(),
            code: problem.code(),
            message,
            causes,
            help: problem.help(),
        }
    }
}

impl CliError {
    /// How hpcvm ends after this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Failed(self.blame)
    }

    /// The lines for a reader, each ended by a line feed.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let label = style.error(&format!("error[{}]", self.code));
        let mut text = format!("{label}: {}\n", self.message.trim_end());
        for cause in &self.causes {
            text += "  cause: ";
            text += &cause.trim_end().replace('\n', "\n  ");
            text.push('\n');
        }
        if let Some(help) = &self.help {
            text += &["  ", &style.strong("help"), ": ", help, "\n"].concat();
        }
        if self.blame == Blame::Internal {
            text += "  this is a defect of hpcvm: please report it with the command line\n";
        }
        text
    }

    /// The same as one JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        let object = serde_json::json!({
            "error": {
                "code": self.code,
                "blame": self.blame,
                "message": self.message,
                "causes": self.causes,
                "help": self.help,
                "exit-code": self.exit().code(),
            }
        });
        format!("{object}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::durable::WriteError;
    use crate::exec::ExecError;

    /// A problem whose message does not quote its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("the image cannot be read")]
    struct Unread(#[source] io::Error);

    impl Problem for Unread {
        fn code(&self) -> &'static str {
            "HV1201"
        }
        fn blame(&self) -> Blame {
            Blame::Internal
        }
    }

    fn missing_tool() -> CliError {
        let program = "mcopy".to_owned();
        ExecError::NotFound { program }.into()
    }

    #[test]
    fn errors_are_rendered_for_readers() {
        let full: CliError = WriteError {
            path: "/store/x".into(),
            source: io::ErrorKind::StorageFull.into(),
        }
        .into();
        let rendered = [missing_tool(), full, Unread(io::Error::other("bad\nsector")).into()]
            .map(|error| error.text(Style::Plain))
            .join("--\n");
        insta::assert_snapshot!(rendered, @r"
        error[HV1001]: mcopy is not installed
          help: install it: apt-get install mtools
        --
        error[HV1301]: cannot write /store/x: no storage space
          help: free some space there, or name another place with --store, --cache or TMPDIR
        --
        error[HV1201]: the image cannot be read
          cause: bad
          sector
          this is a defect of hpcvm: please report it with the command line
        ");
    }

    #[test]
    fn errors_are_rendered_for_programs() {
        insta::assert_snapshot!(missing_tool().json(), @r#"{"error":{"code":"HV1001","blame":"host","message":"mcopy is not installed","causes":[],"help":"install it: apt-get install mtools","exit-code":122}}"#);
    }

    #[test]
    fn the_blame_decides_the_exit_code() {
        assert_eq!(missing_tool().exit().code(), 122);
    }
}
