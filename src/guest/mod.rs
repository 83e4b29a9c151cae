//! What goes into a guest besides its root file system.

pub mod cpio;
