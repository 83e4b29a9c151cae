//! Why a root file system could not be made.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::exec::ExecError;
use crate::rootfs::tree::TreePath;

/// A root file system could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A file of the tree could not be read where it is kept, or is no longer as long as it was.
    #[error("cannot read the content of {path} for the root file system: {source}")]
    Content {
        /// The file in the tree.
        path: TreePath,
        /// What went wrong.
        source: io::Error,
    },
    /// The tree could not be written as an archive.
    #[error("cannot write the archive of the root file system: {0}")]
    Archive(io::Error),
    /// The tree could not be unpacked for the tool that makes the image.
    #[error("cannot unpack {path} below {}: {source}", folder.display())]
    Unpack {
        /// The entry of the tree.
        path: TreePath,
        /// Where it was being unpacked.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The image could not be read or changed after the tool had made it.
    #[error("cannot complete the root file system image {}: {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The image is not laid out as it was asked for.
    #[error("{tool} made an image that hpcvm cannot complete: it has {what}")]
    Layout {
        /// The program that made it.
        tool: &'static str,
        /// What is not as it was asked for.
        what: String,
    },
    /// What was put into the image is not in it.
    #[error("{path} did not arrive in the root file system{}", said(words))]
    Missing {
        /// The entry of the tree.
        path: TreePath,
        /// What debugfs said.
        words: String,
    },
    /// debugfs cannot be told such a name.
    #[error("the device {0} has a control character in its name")]
    DeviceName(TreePath),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ExecError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A tool's words in parentheses, if it said any.
fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({words})")
    }
}

impl Problem for RootError {
    fn code(&self) -> &'static str {
        match self {
            Self::Content { .. } => "HV2101",
            Self::Archive(_) => "HV2102",
            Self::Unpack { .. } => "HV2103",
            Self::Image { .. } => "HV2104",
            Self::Layout { .. } => "HV2105",
            Self::Missing { .. } => "HV2106",
            Self::DeviceName(_) => "HV2107",
            Self::Program(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::DeviceName(_) => Blame::User,
            Self::Program(error) => error.blame(),
            Self::Write(error) => error.blame(),
            _ => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Content { .. } => {
                "build again without the cached tree: a file it names was changed or removed".into()
            }
            Self::Unpack { .. } => "check the space and the rights in the build's scratch folder".into(),
            Self::Layout { .. } | Self::Missing { .. } => {
                "report this with the versions of e2fsprogs and squashfs-tools, or choose the other kind of root".into()
            }
            Self::DeviceName(_) => "remove the device from the overlay: the guest makes its devices itself".into(),
            Self::Program(error) => return error.help(),
            Self::Write(error) => return error.help(),
            Self::Archive(_) | Self::Image { .. } => return None,
        })
    }
}
