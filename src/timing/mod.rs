//! Where the time went: the phases of a launch, on one clock.

mod timeline;

pub use timeline::{Mark, Phase, Timeline};
