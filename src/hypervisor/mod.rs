//! What runs a guest.

pub mod accelerator;
mod probe_rom;
