//! `VirtualBox`, driven by files that we write and programs that we start.
//!
//! A machine needs no call of `VBoxManage`: [`register`] writes its settings file and a registry that names it,
//! into a home of its own; [`Service`] is the `VBoxSVC` of that home, and `VBoxHeadless` runs the machine. Nothing
//! is shared with the user's own machines or those of other launches: neither registry nor media nor sockets.
//!
//! Sources: the settings schema `VirtualBox-settings.xsd` and the manual's chapters on `VBoxHeadless` and on storage;
//! what neither tells was measured, see `docs/virtualbox.md`.

mod error;
mod flat_disk;
mod folders;
mod installation;
mod register;
mod service;
mod settings;

pub use error::VirtualBoxError;
pub use flat_disk::FlatDisk;
pub use folders::{Folders, reap};
pub use installation::{Driver, Installation, driver};
pub use register::{SOCKETS, make_clone, register};
pub use service::Service;
pub use settings::{Base, Port, Settings};
