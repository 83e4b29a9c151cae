//! Warm starts: a machine that is ready for a job is saved once, and copied for every job.
//!
//! A template is a machine's memory, as a file that all its copies map and none writes to, and
//! the rest of its state beside it. It is saved before it is told of any job. `docs/warm-start.md`
//! says what a copy has of its own.

mod bare;
mod build;
mod error;
mod key;
mod notes;
mod site;
mod store;
mod watchdog;

pub use bare::BareRestore;
pub use build::make;
pub use error::TemplateError;
pub use site::SiteTemplates;
pub use store::{Kept, Template, Templates};

pub(super) use build::{discard, obtain};
pub(super) use key::restored;
pub(super) use store::STATE;
pub(super) use watchdog::Watchdog;
