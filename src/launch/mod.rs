//! One job in a fresh VM: clone, boot, run, collect, discard.

mod backend;
mod boot_image;
mod clone;
mod collect;
mod error;
mod events;
mod failure_logs;
mod inputs;
mod launcher;
mod libraries;
mod logs;
mod memory;
mod patience;
mod prepare;
mod relay;
mod request;
mod restore;
mod scratch;
mod session;
pub mod slot;
mod spawn;
mod spool;
pub mod stage;
mod streams;
pub mod template;
mod verdict;
mod virtualbox;

pub use boot_image::BootImage;
pub use error::LaunchError;
pub use launcher::launch;
pub use libraries::{By, Libraries, LibrariesError, Places};
pub use prepare::dry_run;
pub use request::{Input, Interrupt, JobRequest, LaunchRequest, Limits, Output, Share, Start, Streams, WarmStart};
pub use scratch::{ScratchFolder, reap, reap_with_slots};
pub use session::{Outcome, StopReason};
