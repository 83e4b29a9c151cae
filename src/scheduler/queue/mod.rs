//! The queue of the scheduler `local`: jobs in a folder, one background process a job, and no more
//! slots in use than this machine has processors.

mod runner;
mod store;
mod tokens;

pub use runner::{Deletion, serve};
pub use store::{LocalJob, Queue, QueueError};
