//! Virtual machines: what one is made of, and what runs them.

pub mod accelerator;
pub mod machine;
mod probe_rom;
pub mod qemu;
