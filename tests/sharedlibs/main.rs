//! The shared library repository.

mod core;
mod fixtures;
