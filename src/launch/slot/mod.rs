//! Several VMs in one job slot: all told to stop together, each with its own streams and its
//! own end.

mod table;
mod together;

pub use table::table;
pub use together::{SlotVm, VmEnd, launch_together};
