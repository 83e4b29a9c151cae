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
