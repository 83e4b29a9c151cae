//! The ELF scan against the tools that know best: the host's own loader, compiler and readelf.

mod families;
mod fixtures;
mod host;
mod hostile;
mod objects;
mod program;
mod roots;
mod search;
