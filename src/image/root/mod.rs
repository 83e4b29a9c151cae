//! Root file systems made from a [`Tree`](crate::rootfs::tree::Tree), without being root.

mod archive;
mod error;
mod ext4;
mod inodes;
mod size;
mod squashfs;
mod squashfs_root;
mod unpack;

use std::path::PathBuf;

pub use archive::write_tar;
pub use error::RootError;
pub use ext4::{Ext4, write_ext4};
pub use squashfs::{Squashfs, write_squashfs};

use crate::digest::Digest;

/// A file system image with a root file system in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootImage {
    /// The image file.
    pub path: PathBuf,
    /// Its length in bytes, a multiple of 4096.
    pub length: u64,
    /// What it is.
    pub kind: FileSystem,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// The kinds of file system a root can have; the names are those of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Compressed, read-only.
    Squashfs,
    /// Writable.
    Ext4,
}

impl FileSystem {
    /// The name that `mount -t` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
        }
    }
}

impl RootImage {
    /// Describes the finished image at `path`.
    fn of_file(path: PathBuf, kind: FileSystem) -> Result<Self, RootError> {
        let read = |path: &std::path::Path| -> std::io::Result<(u64, Digest)> {
            Ok((std::fs::metadata(path)?.len(), Digest::of_file(path)?))
        };
        match read(&path) {
            Ok((length, digest)) => Ok(Self {
                path,
                length,
                kind,
                digest,
            }),
            Err(source) => Err(RootError::Image { path, source }),
        }
    }
}

#[cfg(test)]
mod tests;
