//! The files read and the problems found in them, gathered while a recipe is loaded.

use std::sync::Arc;

use super::codes::Code;
use super::located::Place;
use crate::diagnostic::{Diagnostic, Severity, SourceFile, Span};

/// The longest piece of the user's text that a message repeats, in characters.
const MAX_QUOTED: usize = 60;

/// The files read so far and the problems found in them.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Every file, in the order read; a [`Place`] names one by its index.
    pub(super) files: Vec<Arc<SourceFile>>,
    /// Every problem, in the order found.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Registers `file` and returns its index.
    pub(super) fn add_file(&mut self, file: Arc<SourceFile>) -> usize {
        self.files.push(file);
        self.files.len() - 1
    }

    /// Adds a problem; label and help are set on what this returns.
    pub(super) fn add(&mut self, place: &Place, code: Code, message: impl Into<String>) -> Added<'_> {
        let diagnostic = diagnostic(Arc::clone(&self.files[place.file]), place.span.clone(), code, message);
        self.diagnostics.push(diagnostic);
        Added(self.diagnostics.last_mut().expect("one was just pushed"))
    }

    /// Whether an error was found at or in `place`.
    pub(super) fn has_error_in(&self, place: &Place) -> bool {
        let file = &self.files[place.file];
        let found = |d: &Diagnostic| Arc::ptr_eq(&d.file, file) && place.span.range.contains(&d.span.range.start);
        self.diagnostics
            .iter()
            .any(|d| d.severity == Severity::Error && found(d))
    }

    /// Whether any problem forbids building.
    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// The diagnostic of `code` at `span` of `file`.
pub(super) fn diagnostic(file: Arc<SourceFile>, span: Span, code: Code, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        code: code.id,
        severity: code.severity,
        message: message.into(),
        file,
        span,
        label: None,
        help: None,
    }
}

/// The diagnostic added last.
pub(super) struct Added<'a>(&'a mut Diagnostic);

impl Added<'_> {
    /// Says what is wrong with the marked place itself.
    pub(super) fn label(self, label: impl Into<String>) -> Self {
        self.0.label = Some(label.into());
        self
    }

    /// Says what to do.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says what to do, if there is something to say.
    pub(super) fn maybe_help(self, help: Option<String>) -> Self {
        self.0.help = help;
        self
    }
}

/// `text` in single quotes, on one line, without control characters and not too long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(MAX_QUOTED) {
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    if text.chars().count() > MAX_QUOTED {
        shown.push('…');
    }
    format!("'{shown}'")
}
