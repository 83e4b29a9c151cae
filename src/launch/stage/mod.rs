//! Brings an image to the node: once for all tasks, verified, and kept for the next.
//!
//! The first launch of an image on a node copies it from the store, which may be far away, into
//! the node cache and compares every byte with the manifest's digests; the others wait for it on
//! a lock. Later ones only look whether the files still are as they were left.

mod error;
mod node;
mod node_cache;

pub use error::StageError;
pub use node::{find_cache, is_remote};
pub use node_cache::{NodeCache, Staged};
