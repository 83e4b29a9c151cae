//! Builds real images from a Debian mirror and boots them in real virtual machines, as users do.
//!
//! Images and packages are kept between runs in `HPCVM_TEST_CACHE` (see [`harness::cache`]).

mod boots;
mod builds;
mod ends;
mod failures;
mod files;
mod harness;
mod images;
mod jobs;
mod libraries;
mod limits;
mod linked;
mod locks;
mod mpi;
mod oracles;
mod science;
mod signals;
mod slimmed;
mod users;
mod virtualbox;
mod warm;
mod warm_held;
mod warm_machines;
mod warm_node;
mod warm_python;
mod warm_site;
