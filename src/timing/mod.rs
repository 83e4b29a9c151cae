//! Where the time went: the phases of a launch on one clock, and the timing logger that gathers
//! them from all launches of a job.
//!
//! Launchers and wrappers send an [`event`] at each phase ([`sender`]); the [`logger`] on the
//! submit host stamps it on its own clock, so that no clock skew between machines enters (paper
//! section [P10]), and keeps it in its [`journal`]. Timelines, percentiles and figures are views
//! of the journal ([`history`]).

pub mod address;
pub mod client;
pub mod event;
pub mod explain;
pub mod export;
pub mod history;
pub mod journal;
pub mod logger;
mod logger_error;
pub mod sender;
pub mod statistics;
mod timeline;
pub mod token;

pub use logger_error::LoggerError;
pub use timeline::{Mark, Observer, Phase, Timeline};
