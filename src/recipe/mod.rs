//! Recipes: what a guest is made of, as its author wrote it and as it was understood.
//!
//! [`load`] reads a recipe and all it includes: text becomes a located tree ([`node`], by
//! [`yaml`]), the tree is compared with the schema ([`shape`]), what fits it becomes the
//! [`model`], the models of all files become one ([`merge`]), and the checks of [`validate`] turn
//! that into a [`Recipe`]. No step stops at the first problem. `docs/recipe.md` is the reference.

pub mod codes;
mod include;
mod load;
mod located;
mod merge;
mod model;
mod node;
mod node_deserializer;
#[cfg(test)]
mod property_tests;
mod report;
mod resolved;
pub mod schema;
mod shape;
mod suggest;
mod suites;
mod validate;
mod yaml;

pub use load::{Loaded, MAX_FILE_SIZE, load};
pub use resolved::{
    Base, Bootstrap, Bootstrapper, Compression, Expectation, FileContent, FileEntry, ImageOptions, Init, Initrd,
    Kernel, Libraries, LocalLibraries, Origin, Origins, Overlay, Pocket, Preload, PurgeRule, Recipe, RootKind,
    RunDefaults, Validation, Warm, Wrap,
};
pub use validate::unmatched_services;
