//! The root folder of a squashfs image, which mksquashfs 4.5 cannot be told.
//!
//! Reading an archive, mksquashfs gives the root folder to whoever runs it, at the time it runs,
//! and ignores its own options about that. So the root's inode and the table of owners, both left
//! uncompressed for that, are put right afterwards, to what root itself would have got. Layout:
//! `fs/squashfs/squashfs_fs.h` of Linux; numbers are little-endian.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::RootError;
use crate::rootfs::tree::{Entry, Tree, TreePath};

const SUPERBLOCK: usize = 96;
const MAGIC: u32 = u32::from_le_bytes(*b"hsqs");
const OWNERS_AT: usize = 26;
const ROOT_INODE_AT: usize = 32;
const LENGTH_AT: usize = 40;
const OWNER_TABLE_AT: usize = 48;
const INODE_TABLE_AT: usize = 64;
/// Inodes and owners are kept in blocks of this many bytes, each after its length.
const METADATA: u64 = 8192;
/// The length's bit that says that a block is not compressed.
const UNCOMPRESSED: u16 = 0x8000;
/// An image's length is a multiple of this.
const PADDING: u64 = 4096;

/// Gives the root folder of the image at `path`, made of `tree`, the owner and time it has there.
pub(super) fn complete(path: &Path, tree: &Tree) -> Result<(), RootError> {
    let image_error = |source| RootError::Image {
        path: path.to_owned(),
        source,
    };
    let Some(root) = tree.get(&TreePath::root()) else {
        return Ok(());
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(image_error)?;
    let mut superblock = [0; SUPERBLOCK];
    file.read_exact_at(&mut superblock, 0).map_err(image_error)?;
    if u32::from_le_bytes(field(&superblock, 0)) != MAGIC {
        return Err(layout("no magic number"));
    }
    let mut image = Image { file, superblock };
    let owners = image.owners()?.map_err(image_error)?;
    let owners = with_root(owners, tree, root)?;
    image.set_owners(&owners).map_err(image_error)?;
    image.set_root(root, &owners)?.map_err(image_error)
}

/// The owners in use, in the image's order, with those of the root folder.
fn with_root(mut owners: Vec<u32>, tree: &Tree, root: &Entry) -> Result<Vec<u32>, RootError> {
    let below = tree.iter().filter(|(path, _)| !path.as_bytes().is_empty());
    let used: BTreeSet<u32> = below.flat_map(|(_, entry)| [entry.uid, entry.gid]).collect();
    // The root folder's inode is the last one, so whoever ran mksquashfs is last in the table.
    let kept = owners.iter().take_while(|owner| used.contains(owner)).count();
    if owners[kept..].iter().any(|owner| used.contains(owner)) {
        return Err(layout("owners in another order than that of the inodes"));
    }
    owners.truncate(kept);
    for owner in [root.uid, root.gid] {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    Ok(owners)
}

struct Image {
    file: File,
    superblock: [u8; SUPERBLOCK],
}

/// A value, or what the operating system said, inside what the image's layout allows.
type Checked<T> = Result<io::Result<T>, RootError>;

impl Image {
    fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(field(&self.superblock, at))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.superblock[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Where the one block of owners begins, if the table is the last thing in the image.
    fn owner_block(&self) -> Result<u64, RootError> {
        let count = u64::from(u16::from_le_bytes(field(&self.superblock, OWNERS_AT)));
        let table = self.long(OWNER_TABLE_AT);
        if 4 * count > METADATA || self.long(LENGTH_AT) != table.saturating_add(8) {
            return Err(layout("more than 2048 owners, or something after them"));
        }
        table
            .checked_sub(2 + 4 * count)
            .ok_or_else(|| layout("no room for its owners"))
    }

    /// The user and group numbers that inodes refer to by their position.
    fn owners(&self) -> Checked<Vec<u32>> {
        let at = self.owner_block()?;
        let length = self.long(OWNER_TABLE_AT) - at;
        let mut block = vec![0; usize::try_from(length).expect("at most 8194 bytes")];
        if let Err(error) = self.file.read_exact_at(&mut block, at) {
            return Ok(Err(error));
        }
        let header = u16::from_le_bytes([block[0], block[1]]);
        if u64::from(header) != (u64::from(UNCOMPRESSED) | (length - 2)) {
            return Err(layout("compressed owners"));
        }
        let owners = block[2..]
            .chunks_exact(4)
            .map(|owner| u32::from_le_bytes(field(owner, 0)));
        Ok(Ok(owners.collect()))
    }

    /// Replaces the table of owners at the end of the image.
    fn set_owners(&mut self, owners: &[u32]) -> io::Result<()> {
        let at = self.owner_block().map_err(io::Error::other)?;
        let count = u16::try_from(owners.len()).map_err(io::Error::other)?;
        let mut tail = (UNCOMPRESSED | (4 * count)).to_le_bytes().to_vec();
        tail.extend(owners.iter().flat_map(|owner| owner.to_le_bytes()));
        let table = at + tail.len() as u64;
        tail.extend(at.to_le_bytes());
        let length = at + tail.len() as u64;
        self.file.set_len(at)?;
        self.file.write_all_at(&tail, at)?;
        self.file.set_len(length.next_multiple_of(PADDING))?;
        self.put(OWNERS_AT, &count.to_le_bytes());
        self.put(OWNER_TABLE_AT, &table.to_le_bytes());
        self.put(LENGTH_AT, &length.to_le_bytes());
        self.file.write_all_at(&self.superblock, 0)
    }

    /// Writes owner and time into the root folder's inode.
    fn set_root(&self, root: &Entry, owners: &[u32]) -> Checked<()> {
        let reference = self.long(ROOT_INODE_AT);
        let block = self.long(INODE_TABLE_AT).saturating_add(reference >> 16);
        let mut header = [0; 2];
        if let Err(error) = self.file.read_exact_at(&mut header, block) {
            return Ok(Err(error));
        }
        if u16::from_le_bytes(header) & UNCOMPRESSED == 0 {
            return Err(layout("compressed inodes"));
        }
        let position = |owner: u32| owners.iter().position(|&other| other == owner).unwrap_or_default();
        let short = |owner: u32| u16::try_from(position(owner)).unwrap_or_default().to_le_bytes();
        let time = u32::try_from(root.mtime).unwrap_or(u32::MAX).to_le_bytes();
        // After type and mode: user, group, time.
        let value = [&short(root.uid)[..], &short(root.gid), &time].concat();
        for (offset, byte) in (4..).zip(value) {
            let within = (reference & 0xffff) + offset;
            // An inode may go on in the next block, after that one's length.
            let at = block + 2 + within + if within < METADATA { 0 } else { 2 };
            if let Err(error) = self.file.write_all_at(&[byte], at) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

fn layout(what: &str) -> RootError {
    RootError::Layout {
        tool: "mksquashfs",
        what: what.to_owned(),
    }
}

/// The `N` bytes from `at` on.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
