//! What runs inside the guest: its kernel, the kernel's modules, and what starts the job.

pub mod bzimage;
mod kernel_archive;
pub mod kernel_error;
mod kernel_pack;
pub mod kernel_package;
pub mod modules;
mod vmlinux;
pub mod wrap;
