//! What runs inside a guest, and what the host tells it: kernel and modules, the initial RAM
//! disk, the job runner, the job and result disks and the control conversation.

pub mod control;
pub mod job_disk;
pub mod result_disk;
