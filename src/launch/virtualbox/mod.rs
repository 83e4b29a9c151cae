//! A launch's machine under `VirtualBox`: its programs and its ports.

mod bridge;
mod disk_full;
mod dry_run;
mod start;

pub(super) use disk_full::is_disk_full;
pub(super) use dry_run::dry_run;
pub(super) use start::VirtualBox;
