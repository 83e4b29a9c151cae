//! Why there is no report.

use crate::diagnostic::{Blame, Problem};
use crate::image::ManifestError;

/// The report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// One of the image's lists cannot be used.
    #[error(transparent)]
    List(#[from] ManifestError),
    /// The page's template and what it is filled with do not fit each other.
    #[error("the report cannot be put together: {0}")]
    Template(#[from] minijinja::Error),
}

impl Problem for ReportError {
    fn code(&self) -> &'static str {
        match self {
            Self::List(error) => error.code(),
            Self::Template(_) => "HV2701",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::List(error) => error.blame(),
            Self::Template(_) => Blame::Internal,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::List(error) => error.help(),
            Self::Template(_) => None,
        }
    }
}
