//! Checks what a merged recipe says, and fills in what it does not say.
//!
//! Each part returns a value even where it found an error, so that the other parts are still
//! checked; what is returned is only used if no error was found anywhere.

mod base;
mod combination;
mod commands;
mod libraries;
mod machine;
mod overlays;
mod paths;
mod resolve;
mod services;
mod software;
mod words;

pub(super) use resolve::resolve;
pub use services::unmatched_services;
