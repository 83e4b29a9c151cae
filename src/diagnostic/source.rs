//! Diagnostics that point at a place in a text file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A text file that diagnostics can point into.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user named it.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

impl SourceFile {
    /// `span` within the text, on borders of characters.
    #[must_use]
    pub fn clamp(&self, span: &Span) -> Span {
        let start = self.text.floor_char_boundary(span.range.start);
        let end = self.text.ceil_char_boundary(span.range.end).max(start);
        Span { range: start..end }
    }

    /// Line and column of byte `offset`, both from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// A place in a [`SourceFile`]: a range of bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte and the byte past the last.
    pub range: Range<usize>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, but is probably not what was meant.
    Warning,
    /// Cannot be built.
    Error,
}

/// One problem of a recipe, at its place.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable code, `HVnnnn`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in a few words, lower case, no full stop.
    pub message: String,
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// Where in the file.
    pub span: Span,
    /// What is wrong with the marked place itself.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
}
