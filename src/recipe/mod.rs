//! Recipes: what a guest is made of, as its author wrote it and as it was understood.

mod resolved;

pub use resolved::{
    Base, Bootstrap, Bootstrapper, Compression, Expectation, FileContent, FileEntry, ImageOptions, Init, Initrd,
    Kernel, Overlay, Pocket, PurgeRule, Recipe, RootKind, RunDefaults, Validation, Wrap,
};
