//! A launch's machine under `VirtualBox`: its programs and its ports.

mod bridge;
mod start;

pub(super) use start::{VirtualBox, dry_run};
