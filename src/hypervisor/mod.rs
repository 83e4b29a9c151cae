//! Virtual machines: what one is made of, and what runs them.

pub mod accelerator;
mod choice;
pub mod machine;
pub mod monitor;
mod probe_rom;
pub mod qemu;
pub mod qemu_version;
pub mod virtualbox;

pub use choice::Hypervisor;
