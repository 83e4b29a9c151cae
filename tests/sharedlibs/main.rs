//! The shared library repository.

mod collect;
mod core;
mod example;
mod export;
mod fixtures;
mod program;
mod refusals;
mod sources;
mod verify;
mod writers;
