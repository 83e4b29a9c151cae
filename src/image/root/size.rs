//! How large a writable root must be for its content.

use std::collections::BTreeMap;

use crate::rootfs::tree::{Kind, Tree, TreePath};
use crate::units::{Bytes, KIB, MIB};

/// Bytes of an ext4 block.
pub(super) const BLOCK: u64 = 4096;
/// Blocks of a block group: as many as one block of bitmap can tell.
const GROUP: u64 = 8 * BLOCK;
/// Inodes of 256 bytes in a block.
const INODES_PER_BLOCK: u64 = BLOCK / 256;
/// Inodes the file system keeps for itself, with that of `lost+found`.
const OWN_INODES: u64 = 11;
/// Bytes of free space for which there is one free inode: mke2fs's own rule.
const BYTES_PER_INODE: u64 = 16 * KIB;
/// The longest directory entry: what may be left unused at the end of each block of a folder.
const LONGEST_ENTRY: u64 = 8 + 256;
/// Symbolic links shorter than this stand in their inode.
const LINK_IN_INODE: usize = 60;

/// What mke2fs is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Blocks of the image, whole mebibytes of them.
    pub(super) blocks: u64,
    /// Inodes of the image.
    pub(super) inodes: u64,
}

impl Size {
    /// Room for `tree` and `free_space` more.
    pub(super) fn of(tree: &Tree, free_space: Bytes) -> Self {
        let inodes = tree.len() as u64 + OWN_INODES + free_space.0 / BYTES_PER_INODE;
        let content = content_blocks(tree) + free_space.0.div_ceil(BLOCK) + inodes.div_ceil(INODES_PER_BLOCK);
        // Each group has two bitmaps, up to one block of inodes by rounding, and a copy of the
        // superblock and the descriptors; those are one block for every 128 groups.
        let groups = content.div_ceil(GROUP - 64).max(1);
        let overhead = groups * (4 + groups.div_ceil(BLOCK / 32)) + content / 256 + 16;
        let blocks = (content + overhead).next_multiple_of(MIB / BLOCK);
        Self { blocks, inodes }
    }
}

/// Blocks that the content of files, folders and long links takes.
fn content_blocks(tree: &Tree) -> u64 {
    let mut folders: BTreeMap<TreePath, u64> = BTreeMap::new();
    let mut blocks = 0;
    for (path, entry) in tree.iter() {
        if let Some(parent) = path.parent() {
            *folders.entry(parent).or_default() += 8 + (path.name().len() as u64).next_multiple_of(4);
        }
        blocks += match &entry.kind {
            // One block of extents for what hardly ever needs more than the four in the inode.
            Kind::File(content) => content.length.div_ceil(BLOCK) + content.length / (64 * MIB),
            Kind::Symlink(target) if target.len() >= LINK_IN_INODE => 1,
            // Without any entry a folder has one block.
            Kind::Directory => 1,
            _ => 0,
        };
    }
    let names: u64 = folders
        .values()
        .map(|bytes| (24 + bytes) / (BLOCK - LONGEST_ENTRY))
        .sum();
    blocks + names
}
