//! The inode table of an ext4 image, to complete what `mke2fs -d` took from the host's files.
//!
//! mke2fs gives files the owner and times they have on the host. The tree's own are written into
//! the inode table afterwards; inodes are found by a mark in their modification time, so that no
//! name has to be quoted for anyone. That is plain editing because the image is made without
//! metadata checksums. Layout: Linux, `Documentation/filesystems/ext4/`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::RootError;

const SUPERBLOCK_AT: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Feature bits that change where things are or need more than an edited inode.
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_META_BG: u32 = 0x10;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const DESCRIPTOR: usize = 32;
/// Inodes of this size have room for creation times and nanoseconds.
const INODE: usize = 256;
/// How many inodes are read at once.
const BATCH: u32 = 4096;

/// The inode tables of an image, one per block group.
#[derive(Debug)]
pub(super) struct InodeTables {
    inodes_per_group: u32,
    /// Offset of each group's table in the image, in bytes.
    tables: Vec<u64>,
}

/// What an inode gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// Permission bits, set-id and sticky bits.
    pub(super) mode: u32,
    /// Numeric owner.
    pub(super) uid: u32,
    /// Numeric group.
    pub(super) gid: u32,
    /// All four times, in seconds since 1970.
    pub(super) time: u64,
}

impl InodeTables {
    /// Finds the tables of the image at `path`.
    pub(super) fn locate(path: &Path) -> Result<Self, RootError> {
        let image_error = |source| RootError::Image {
            path: path.to_owned(),
            source,
        };
        let image = File::open(path).map_err(image_error)?;
        let mut superblock = [0; 1024];
        image
            .read_exact_at(&mut superblock, SUPERBLOCK_AT)
            .map_err(image_error)?;
        let (short, long) = (|at| get_u16(&superblock, at), |at| get_u32(&superblock, at));
        let block_size = 1024_u64 << long(24).min(6);
        if short(56) != MAGIC
            || usize::from(short(88)) != INODE
            || long(96) & (INCOMPAT_64BIT | INCOMPAT_META_BG) != 0
            || long(100) & RO_COMPAT_METADATA_CSUM != 0
        {
            let what = format!(
                "magic {:#x}, inodes of {} bytes, features {:#x} and {:#x}",
                short(56),
                short(88),
                long(96),
                long(100)
            );
            return Err(RootError::Layout { tool: "mke2fs", what });
        }
        let inodes_per_group = long(40);
        let groups = long(0).checked_div(inodes_per_group).unwrap_or(0);
        let mut tables = Vec::new();
        for group in 0..u64::from(groups) {
            let mut descriptor = [0; DESCRIPTOR];
            let at = (u64::from(long(20)) + 1) * block_size + group * DESCRIPTOR as u64;
            image.read_exact_at(&mut descriptor, at).map_err(image_error)?;
            tables.push(u64::from(get_u32(&descriptor, 8)) * block_size);
        }
        Ok(Self {
            inodes_per_group,
            tables,
        })
    }

    /// Shows every inode in use, with its number, to `visit`, which says whether it changed it;
    /// writes back what was changed.
    pub(super) fn edit(&self, image: &File, mut visit: impl FnMut(u32, &mut Inode) -> bool) -> io::Result<()> {
        let mut batch = vec![0; BATCH as usize * INODE];
        for (group, table) in (0..).zip(&self.tables) {
            for start in (0..self.inodes_per_group).step_by(BATCH as usize) {
                let count = BATCH.min(self.inodes_per_group - start);
                let bytes = &mut batch[..count as usize * INODE];
                let at = table + u64::from(start) * INODE as u64;
                image.read_exact_at(bytes, at)?;
                let mut changed = false;
                for (index, inode) in (0..).zip(bytes.chunks_exact_mut(INODE)) {
                    let mut inode = Inode { bytes: inode };
                    if inode.is_used() {
                        changed |= visit(group * self.inodes_per_group + start + index + 1, &mut inode);
                    }
                }
                if changed {
                    image.write_all_at(bytes, at)?;
                }
            }
        }
        Ok(())
    }
}

/// One inode.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    bytes: &'a mut [u8],
}

impl Inode<'_> {
    fn is_used(&self) -> bool {
        get_u16(self.bytes, 0) != 0 && get_u16(self.bytes, 26) != 0
    }

    /// The modification time's low 32 bits.
    pub(super) fn mark(&self) -> u32 {
        get_u32(self.bytes, 16)
    }

    /// Gives the inode these attributes; what it is (file, folder, ...) stays.
    pub(super) fn set(&mut self, attributes: Attributes) {
        let kind = get_u16(self.bytes, 0) & 0o170_000;
        self.put_u16(0, kind | low(attributes.mode & 0o7777));
        self.put_u16(2, low(attributes.uid));
        self.put_u16(120, low(attributes.uid >> 16));
        self.put_u16(24, low(attributes.gid));
        self.put_u16(122, low(attributes.gid >> 16));
        let (seconds, epoch) = split(attributes.time);
        // Access, change and modification time, and creation time among the extra fields.
        for at in [8, 12, 16, 144] {
            self.put_u32(at, seconds);
        }
        for at in [132, 136, 140, 148] {
            self.put_u32(at, epoch);
        }
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// A time as ext4 stores it: a signed 32-bit number of seconds, and how many times 2^32 is to be
/// added (two bits).
fn split(time: u64) -> (u32, u32) {
    let bytes = time.to_le_bytes();
    let seconds = get_u32(&bytes, 0);
    let carry = seconds >> 31;
    (seconds, get_u32(&bytes, 4).wrapping_add(carry) & 3)
}

fn low(value: u32) -> u16 {
    get_u16(&value.to_le_bytes(), 0)
}

fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_past_2038_carry_into_the_extra_bits() {
        for (time, stored) in [
            (0, (0, 0)),
            (0x7fff_ffff, (0x7fff_ffff, 0)),
            (0x8000_0000, (0x8000_0000, 1)),
            (0xffff_ffff, (0xffff_ffff, 1)),
            (0x1_0000_0000, (0, 1)),
            (0x1_8000_0000, (0x8000_0000, 2)),
        ] {
            assert_eq!(split(time), stored, "{time:#x}");
        }
    }

    #[test]
    fn what_is_no_ext4_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let error = InodeTables::locate(file.path()).unwrap_err().to_string();
        assert!(error.contains("magic 0x0"), "{error}");
    }
}
