//! How long launches take, measured from outside: processes are started and watched, nothing
//! inside hpcvm is asked.
//!
//! [`cold`] runs the launches in turn, [`process`] measures one, [`statistics`] and [`report`]
//! make figures of them. `docs/benchmarks.md` says how to read those. Nothing here judges.

pub mod cold;
pub mod crowd;
mod error;
pub mod figure;
pub mod grid;
pub mod job;
pub mod machine;
pub mod outcome;
pub mod process;
pub mod report;
pub mod results;
pub mod statistics;
pub mod subject;
pub mod table;
pub mod warm;

pub use error::BenchError;
