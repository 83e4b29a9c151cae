//! Batch schedulers: the wrapper script, its submission, the state of jobs, and what a slot is.
//!
//! A [`Scheduler`] is a dialect: option names, a template, answers. It starts nothing itself:
//! [`Client`] gives its command lines to an [`exec::Runner`](crate::exec::Runner). What a job
//! runs is never in the wrapper but in its [`JobFile`], which the wrapper's last line names.

mod avoid;
mod check;
mod client;
mod detect;
mod error;
mod gridengine;
mod htcondor;
mod interface;
mod job_file;
mod job_text;
mod job_vm;
mod kind;
mod local;
mod lsf;
mod options;
mod pbs;
pub mod queue;
mod record;
mod script;
mod slot;
mod slurm;
mod state;
mod tasks;
mod words;
mod wrapper;

pub use avoid::Ask;
pub use check::{Plausibility, PlausibilityError};
pub use client::Client;
pub use detect::{Found, choose, detect};
pub use error::SchedulerError;
pub use interface::{Again, Call, JobId, Meaning, NODE_FAILED, Retry, Scheduler, Signs};
pub use job_file::{ImageReference, JobFile, JobFileError, Stage};
pub use job_text::JobText;
pub use job_vm::{AcceleratorKind, HypervisorKind, VmSpec, Warmth};
pub use kind::{Evidence, Kind};
pub use options::{Concern, Given};
pub use record::{JobFolder, Record, RecordError, Registry, TaskStatus};
pub use script::{JobScript, ScriptError};
pub use slot::{Slot, SlotNames};
pub use state::{Entry, State};
pub use tasks::{InvalidTasks, Tasks};
pub use wrapper::{Submission, Wish, Wrapper};
