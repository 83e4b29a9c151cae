//! Real schedulers on simulated clusters: that the ground on which launches are tested is sound.
//!
//! What is seen here about signals stands in docs/cluster.md.

mod harness;
mod htcondor;
mod jobs;
mod nodes;
mod observe;
mod signals;
