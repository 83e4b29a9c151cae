//! What is wrong, where, and what to do about it.
//!
//! Two kinds of trouble reach a user. A [`Diagnostic`] points at a place in a recipe; a
//! [`Problem`] is any error of the library. Both carry a code, documented in
//! `docs/diagnostics.md` and `docs/errors.md`.

mod render;
mod source;

pub use render::{render_json, render_text};
pub use source::{Diagnostic, Severity, SourceFile, Span};

/// Whose mistake a failure is: decides hpcvm's exit code (`docs/exit-codes.md`) and whether a
/// scheduler should try elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The command line, the recipe or the job description.
    User,
    /// The image: missing, damaged, or without what the job needs.
    Image,
    /// This machine: a tool, space, memory or a right is missing.
    Host,
    /// The hypervisor or the guest failed while running.
    Guest,
    /// A limit the user set ran out.
    Timeout,
    /// A defect of hpcvm itself.
    Internal,
}

/// An error with its code, its blame and, where one is known, the remedy.
pub trait Problem: std::error::Error + Send + Sync + 'static {
    /// The stable code, `HVnnnn`.
    fn code(&self) -> &'static str;
    /// Whose mistake it is.
    fn blame(&self) -> Blame;
    /// What the user can do, as one imperative sentence without a full stop.
    fn help(&self) -> Option<String> {
        None
    }
}
