//! ELF files as the dynamic loader sees them: what one needs, where `ld.so` finds it, what is
//! missing, and why each library is there.
//!
//! [`object`] reads one file, [`search`] knows the loader's rules, [`closure`] follows them from
//! a program, [`scan`] does so for many. Nothing is executed: a tree of another architecture, or
//! one that stands in an archive ([`file_system`]), is scanned like the host's own.

pub mod abi;
pub mod bytes;
pub mod closure;
mod error;
pub mod families;
pub mod file_system;
pub mod ld_cache;
pub mod ld_conf;
pub mod loader;
pub mod notes;
pub mod object;
pub mod processor;
pub mod scan;
pub mod scripts;
pub mod search;
mod symbol_index;
pub mod symbols;
#[cfg(test)]
mod test_files;
pub mod tokens;
pub mod verify;
pub mod versions;

pub use error::ElfError;
