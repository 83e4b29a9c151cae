//! The timing logger: takes events from all launches, stamps them and keeps them.
//!
//! One thread serves every connection, so that a slow peer delays nobody; the events of one turn
//! go to disk together and are acknowledged after that.

mod connection;
mod inquiry;
mod server;
mod wire;

pub use server::{Limits, Logger};
pub(super) use wire::{Answer, Opening};

/// The Unix socket's name in the logger's folder.
pub const SOCKET_FILE: &str = "logger.sock";
