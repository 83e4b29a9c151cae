//! What runs inside a guest, and what the host tells it: kernel and modules, the initial RAM
//! disk, the job runner, the job and result disks and the control conversation.

pub mod bzimage;
pub mod control;
pub mod cpio;
pub mod hook;
pub mod initrd;
pub mod job_disk;
mod job_records;
mod kernel_archive;
pub mod kernel_error;
mod kernel_pack;
pub mod kernel_package;
pub mod modules;
pub mod programs;
pub mod result_disk;
pub mod template_disk;
mod vmlinux;
pub mod wrap;
