//! hpcvm runs a batch job inside a virtual machine that lives exactly as long as the job.
//!
//! Data flows one way: a [`recipe`] becomes a [`plan`], the plan a root file system tree
//! ([`rootfs`]), the tree a bootable disk [`image`]; [`launch`] runs one job in a fresh VM of
//! an image and [`timing`] says where the time went. See `ARCHITECTURE.md`.
//!
//! The library neither prints, nor exits, nor reads the environment: [`cli`] does.

pub mod architecture;
pub mod bench;
pub mod build;
pub mod cli;
pub mod diagnostic;
pub mod digest;
pub mod durable;
pub mod elf;
pub mod exec;
pub mod guest;
pub mod host;
pub mod hypervisor;
pub mod image;
pub mod launch;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod remedy;
pub mod report;
pub mod rootfs;
pub mod sharedlibs;
pub mod slim;
pub mod timing;
pub mod units;
