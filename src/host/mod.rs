//! What this machine can do for hpcvm: tried where it can be tried, and with the remedy for what
//! is missing.

mod finding;
mod guests;
mod namespaces;
mod resources;
mod schedulers;
mod survey;
mod tools;
mod virtualbox;

pub use finding::{Finding, State};
pub use schedulers::schedulers;
pub use survey::{Purpose, Surroundings, survey};
