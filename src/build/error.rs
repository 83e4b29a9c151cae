//! Why an image could not be built.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Diagnostic, Problem};
use crate::durable::WriteError;
use crate::exec::debian_package;
use crate::guest::kernel_error::KernelError;
use crate::image::StoreError;
use crate::image::boot::BootError;
use crate::image::disk::DiskError;
use crate::image::root::RootError;
use crate::rootfs::RootfsError;
use crate::slim::SlimError;

/// An image could not be built; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Programs are not installed.
    #[error("building this image needs programs that are not installed: {}", .0.join(", "))]
    MissingTools(Vec<&'static str>),
    /// The recipe asks for something that its packages do not have.
    #[error("the recipe does not fit its packages: {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Recipe(Vec<Diagnostic>),
    /// A guest that makes its own initrd has none.
    #[error("the bootstrapped tree has no /boot/{0}*")]
    NoKernel(&'static str),
    /// A file of the image being made cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Staging {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The tree could not be made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// Libraries could not be linked.
    #[error(transparent)]
    Libraries(#[from] SlimError),
    /// The kernel could not be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The root file system could not be written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The boot partition could not be written.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The disk could not be put together.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl BuildError {
    /// The error that came from another module, as that module tells it.
    fn inner(&self) -> Option<&dyn Problem> {
        Some(match self {
            Self::MissingTools(_) | Self::Recipe(_) | Self::NoKernel(_) | Self::Staging { .. } => return None,
            Self::Rootfs(error) => error,
            Self::Libraries(error) => error,
            Self::Kernel(error) => error,
            Self::Root(error) => error,
            Self::Boot(error) => error,
            Self::Disk(error) => error,
            Self::Store(error) => error,
            Self::Write(error) => error,
        })
    }
}

impl Problem for BuildError {
    fn code(&self) -> &'static str {
        match self {
            Self::MissingTools(_) => "HV2301",
            Self::Recipe(_) => "HV2302",
            Self::NoKernel(_) => "HV2303",
            Self::Staging { .. } => "HV2304",
            _ => self.inner().map_or("HV2304", Problem::code),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Recipe(_) | Self::NoKernel(_) => Blame::User,
            _ => self.inner().map_or(Blame::Host, Problem::blame),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::MissingTools(tools) => {
                let mut packages: Vec<_> = tools.iter().map(|tool| debian_package(tool).unwrap_or(tool)).collect();
                packages.sort_unstable();
                packages.dedup();
                Some(format!("install them: apt-get install {}", packages.join(" ")))
            }
            Self::NoKernel(_) => Some("let the bootstrap be configured, or use hpcvm's own initrd".to_owned()),
            Self::Recipe(_) => None,
            _ => self.inner().and_then(Problem::help),
        }
    }
}
