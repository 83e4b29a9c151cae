//! What can be wrong with a guest's kernel.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::exec::ExecError;

/// A kernel, its package or one of its modules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The file is not a bzImage that hpcvm can read.
    #[error("the kernel is not an x86 bzImage that hpcvm can read: {0}")]
    Header(&'static str),
    /// The kernel's payload is compressed in a way hpcvm cannot undo.
    #[error("the kernel is compressed with {0}, which hpcvm cannot unpack")]
    Compression(&'static str),
    /// The kernel's payload cannot be unpacked.
    #[error("the kernel's compressed payload is damaged: {0}")]
    Payload(String),
    /// The kernel's ELF file cannot be packed anew.
    #[error("the kernel cannot be packed anew: {0}")]
    Unwrappable(String),
    /// The package does not hold what every kernel package holds.
    #[error("{} holds no {what}", package.display())]
    NotAKernelPackage {
        /// The package file.
        package: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The package is not the file whose digest was given, or its archive is damaged.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The kernel has no module of this name.
    #[error("kernel {release} has no module '{module}'{}", similar(nearest))]
    UnknownModule {
        /// The name asked for.
        module: String,
        /// The kernel's release.
        release: String,
        /// Names that look alike, the nearest first.
        nearest: Vec<String>,
    },
    /// A module's file cannot be read.
    #[error("module '{module}' of kernel {release} cannot be read: {reason}")]
    Module {
        /// The module.
        module: String,
        /// The kernel's release.
        release: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The cache could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The part of a message that offers names like the one that is not there.
fn similar(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(" (there is {})", names.join(", ")),
    }
}

impl Problem for KernelError {
    fn code(&self) -> &'static str {
        match self {
            Self::Header(_) => "HV2201",
            Self::Compression(_) => "HV2202",
            Self::Payload(_) => "HV2203",
            Self::Unwrappable(_) => "HV2204",
            Self::NotAKernelPackage { .. } => "HV2205",
            Self::Read { .. } => "HV2206",
            Self::UnknownModule { .. } => "HV2207",
            Self::Module { .. } => "HV2208",
            Self::Exec(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Compression(_)
            | Self::Unwrappable(_)
            | Self::NotAKernelPackage { .. }
            | Self::UnknownModule { .. } => Blame::User,
            Self::Header(_) | Self::Payload(_) | Self::Module { .. } => Blame::Image,
            Self::Read { .. } => Blame::Host,
            Self::Exec(error) => error.blame(),
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Compression(_) | Self::Unwrappable(_) => "use the kernel as Debian ships it: kernel: {wrap: stock}",
            Self::Header(_) | Self::NotAKernelPackage { .. } => {
                "name a Debian kernel package, such as linux-image-686 or linux-image-amd64, under kernel: {package: ...}"
            }
            Self::Payload(_) | Self::Read { .. } | Self::Module { .. } => "remove the package from the cache, so that it is fetched anew",
            Self::UnknownModule { .. } => "correct the name under kernel: {modules: [...]}",
            Self::Exec(error) => return error.help(),
            Self::Write(error) => return error.help(),
        }
        .to_owned())
    }
}
