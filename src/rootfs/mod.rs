//! Root file systems: packages resolved, fetched, bootstrapped; the tree they make; what is
//! stripped from it and laid over it.

pub mod apt;
pub mod archive;
pub mod cache;
pub mod configured;
mod error;
pub mod extract;
pub mod index;
pub mod installed;
pub(crate) mod layout;
pub mod normalise;
pub mod overlay;
pub mod pool;
pub mod purge;
mod purge_tables;
pub mod repository;
pub mod resolve;
pub mod services;
pub mod tarball;
pub mod tree;
mod tree_files;

pub use error::RootfsError;
