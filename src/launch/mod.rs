//! One job in a fresh VM: clone, boot, run, collect, discard.

mod boot_image;
mod clone;
mod collect;
mod error;
mod events;
mod inputs;
mod libraries;
mod logs;
mod memory;
mod prepare;
mod request;
mod scratch;
mod session;
pub mod slot;
pub mod stage;
mod streams;
mod verdict;

pub use boot_image::BootImage;
pub use error::LaunchError;
pub use libraries::{By, Libraries, LibrariesError, Places};
pub use prepare::dry_run;
pub use request::{Input, Interrupt, JobRequest, LaunchRequest, Limits, Output, Share, Start, Streams};
pub use scratch::{ScratchFolder, reap};
pub use session::{Outcome, StopReason, launch};
