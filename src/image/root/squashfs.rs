//! A read-only, compressed root file system.

use std::io;
use std::path::Path;

use super::{FileSystem, RootError, RootImage, squashfs_root, write_tar};
use crate::durable;
use crate::exec::{Invocation, Runner};
use crate::recipe::Compression;
use crate::rootfs::tree::{Tree, TreePath};

/// How a squashfs image is made.
#[derive(Clone, Copy, Debug)]
pub struct Squashfs {
    /// The compressor.
    pub compression: Compression,
    /// The time of the image, in seconds since 1970.
    pub epoch: u64,
    /// How many processors compress; does not change the image.
    pub processors: usize,
}

/// Makes the squashfs image `target` of `tree` with mksquashfs, which reads a tar stream and
/// so gives files the owners and modes of the tree, whoever runs it. (Its other name for that,
/// sqfstar, does not understand compressor options that take a value in version 4.5.)
///
/// The file appears at `target` whole or not at all.
pub fn write_squashfs(
    runner: &dyn Runner,
    tree: &Tree,
    options: Squashfs,
    target: &Path,
) -> Result<RootImage, RootError> {
    let scratch = durable::scratch_beside(target)?;
    let image = scratch.path().join("root.squashfs");
    let invocation = invocation(tree, options, &image);
    let mut failure = None;
    let ran = runner.feed(&invocation, &mut |stdin| {
        let mut buffered = io::BufWriter::with_capacity(1 << 20, stdin);
        let written = write_tar(tree, &mut buffered);
        match written.and_then(|()| io::Write::flush(&mut buffered).map_err(RootError::Archive)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let kind = io::Error::other(error.to_string());
                failure = Some(error);
                Err(kind)
            }
        }
    });
    match failure {
        // A file that cannot be read is the cause of whatever mksquashfs then complains about.
        Some(error @ RootError::Content { .. }) => return Err(error),
        Some(_) | None => ran?,
    };
    squashfs_root::complete(&image, tree)?;
    durable::adopt(&image, target)?;
    RootImage::of_file(target.to_owned(), FileSystem::Squashfs)
}

fn invocation(tree: &Tree, options: Squashfs, image: &Path) -> Invocation {
    let root = tree.get(&TreePath::root());
    Invocation::new("mksquashfs")
        .arg("-")
        .arg(image)
        .args(["-tar", "-quiet", "-no-progress", "-no-xattrs"])
        // Not compressed, so that `squashfs_root` can complete them: costs some ten bytes a file.
        .args(["-noI", "-noId"])
        .args(["-root-mode", &format!("{:o}", root.map_or(0o755, |entry| entry.mode))])
        .args(["-mkfs-time", &options.epoch.to_string()])
        .args(["-processors", &options.processors.max(1).to_string()])
        .args(compressor(options.compression))
}

/// The compressor's options and the block size.
///
/// Measured on 64 MB of a minimal Debian 12 i386 (867 entries). Blocks of 32, 64, 128 and 256 KiB
/// with zstd at level 15: 23.1, 22.6, 21.5 and 20.5 MB. Smaller blocks cost size and larger ones
/// make each small read unpack more; 128 KiB, the tool's own default, is between. How that tells
/// on a guest's start was not measured. Level 19 saves 1 % more for 2.7 times the processor time
/// (19.3 s instead of 7.2 s), level 22 no more than 19. LZ4 28.0 MB, XZ 19.6 MB.
fn compressor(compression: Compression) -> &'static [&'static str] {
    match compression {
        Compression::Zstd => &["-comp", "zstd", "-Xcompression-level", "15", "-b", "128K"],
        Compression::Lz4 => &["-comp", "lz4", "-Xhc", "-b", "128K"],
        Compression::Xz => &["-comp", "xz", "-b", "128K"],
    }
}
