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
pub mod layout;
//N
//O
pub mod pool;
//P
//T
pub mod repository;
pub mod resolve;
//S
pub mod tarball;
pub mod tree;

pub use error::RootfsError;
