//! Virtual machines: what one is made of, and the hypervisors that run it.

pub mod machine;
pub mod qemu;
