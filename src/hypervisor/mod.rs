//! Virtual machines: what one is made of, and what runs them.

pub mod accelerator;
pub mod machine;
pub mod monitor;
mod probe_rom;
pub mod qemu;
