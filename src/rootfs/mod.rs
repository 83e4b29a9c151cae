//! Root file systems: packages resolved, fetched, bootstrapped; the tree they make; what is
//! stripped from it and laid over it.

pub mod tree;
