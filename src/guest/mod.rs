//! What runs inside the guest: its kernel, the kernel's modules, and what starts the job.

pub mod bzimage;
pub mod kernel_error;
//pub mod kernel_package;
pub mod modules;
pub mod wrap;
