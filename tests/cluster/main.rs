//! Real schedulers on simulated clusters: that the ground on which launches are tested is sound.
//!
//! What is seen here about signals stands in docs/cluster.md.

mod chaos;
mod errors;
mod failures;
mod harness;
mod htcondor;
mod jobs;
mod kills;
mod nodes;
mod observe;
mod signals;
mod site;
mod strangers;
mod submit;
mod suspend;
mod timing;
mod warm;
