//! A boot partition and a root partition put together as one bootable VDI.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::boot::BootImage;
use super::partition::{ALIGNMENT, FAT16_LBA, LINUX, Partition, PartitionError, PartitionTable};
use super::root::RootImage;
use super::vdi::{VdiWriteError, Written, write_fixed};
use crate::diagnostic::{Blame, Problem};
use crate::digest::{Digest, Hasher};
use crate::durable::{self, WriteError};

const SECTOR: u64 = 512;

/// The number of the root partition, counted from 1 as Linux does.
pub const ROOT_PARTITION: usize = 2;

/// A part of a VDI file that is a partition: there, the file can be read as a raw disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSpan {
    /// Where it begins in the VDI file, in bytes.
    pub offset: u64,
    /// Its length in bytes, a multiple of 512.
    pub length: u64,
}

/// Where everything stands in a finished VDI file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLayout {
    /// The boot partition.
    pub boot: PartitionSpan,
    /// The root partition.
    pub root: PartitionSpan,
    /// The disk's signature, by which the guest finds its root.
    pub signature: DiskSignature,
    /// Where the virtual disk begins in the VDI file, in bytes.
    pub data_offset: u64,
    /// Bytes of the virtual disk.
    pub disk_size: u64,
    /// Bytes of the VDI file.
    pub file_length: u64,
    /// Digest of the virtual disk's bytes.
    pub disk: Digest,
}

/// The number in a partition table that tells one disk from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSignature(u32);

impl DiskSignature {
    /// The signature of the disk that has this root. It depends on nothing else, so that the
    /// kernel's command line, which the boot partition holds, can name it.
    #[must_use]
    pub fn of_root(root: &RootImage) -> Self {
        let mut hasher = Hasher::default();
        hasher.field(b"disk-signature").field(root.digest.as_bytes());
        let [a, b, c, d, ..] = *hasher.finish().as_bytes();
        // Zero means "no signature" to Linux.
        Self(u32::from_le_bytes([a, b, c, d]).max(1))
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// What Linux calls the root partition (`PARTUUID`): `1234abcd-02`.
    #[must_use]
    pub fn root_partition(self) -> String {
        format!("{:08x}-{ROOT_PARTITION:02x}", self.0)
    }
}

/// A disk could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A partition image could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A partition image changed after it was made.
    #[error("{} has {found} bytes, but was made with {expected}", path.display())]
    Changed {
        /// The image.
        path: PathBuf,
        /// Its length now.
        found: u64,
        /// Its length when it was made.
        expected: u64,
    },
    /// The partitions are larger than a partition table can tell.
    #[error("a disk of {0} bytes is larger than the 2 TiB of a BIOS partition table")]
    TooLarge(u64),
    /// The partition table cannot be right.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The VDI could not be written.
    #[error("{}: {source}", path.display())]
    Vdi {
        /// The VDI.
        path: PathBuf,
        /// What went wrong.
        source: VdiWriteError,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for DiskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "HV2131",
            Self::Changed { .. } => "HV2132",
            Self::TooLarge(_) => "HV2133",
            Self::Vdi { .. } => "HV2134",
            Self::Partition(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::TooLarge(_) => Blame::User,
            Self::Partition(_) => Blame::Internal,
            _ => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Changed { .. } => Some("build again, and let only one build use the folder".to_owned()),
            Self::TooLarge(_) => Some("ask for less free space in the recipe".to_owned()),
            Self::Write(error) => error.help(),
            _ => None,
        }
    }
}

/// Writes the VDI `target`: a partition table with `boot_code`, the boot partition, and the root
/// partition, each at a whole mebibyte, both of the disk and of the file.
///
/// The file appears at `target` whole or not at all; where the disk has zeros it has holes.
pub fn write_disk(
    boot_code: &[u8],
    boot: &BootImage,
    root: &RootImage,
    target: &Path,
) -> Result<DiskLayout, DiskError> {
    let signature = DiskSignature::of_root(root);
    let plan = Plan::of(boot.length, root.length, signature)?;
    let first_sector = plan.table.encode(boot_code, plan.size / SECTOR)?;
    let padding = |from: u64, to: u64| io::repeat(0).take(to - from);
    let mut disk = (&first_sector[..])
        .chain(padding(SECTOR, plan.boot.offset))
        .chain(open(&boot.path, boot.length)?)
        .chain(padding(plan.boot.offset + boot.length, plan.root.offset))
        .chain(open(&root.path, root.length)?)
        .chain(padding(plan.root.offset + root.length, plan.size));
    let mut written = None;
    durable::write_with(target, |file| {
        let vdi = write_fixed(&mut disk, plan.size, file).map_err(|source| DiskError::Vdi {
            path: target.to_owned(),
            source,
        })?;
        written = Some(vdi);
        Ok::<(), DiskError>(())
    })?;
    let vdi = written.expect("write_with called the closure, or failed");
    Ok(plan.in_file(&vdi, signature))
}

/// Where the partitions stand on the disk.
#[derive(Debug)]
struct Plan {
    table: PartitionTable,
    boot: PartitionSpan,
    root: PartitionSpan,
    size: u64,
}

impl Plan {
    fn of(boot: u64, root: u64, signature: DiskSignature) -> Result<Self, DiskError> {
        let aligned = |offset: u64| offset.next_multiple_of(u64::from(ALIGNMENT) * SECTOR);
        let span = |offset: u64, length: u64| PartitionSpan {
            offset,
            length: length.next_multiple_of(SECTOR),
        };
        let boot = span(aligned(1), boot);
        let root = span(aligned(boot.offset + boot.length), root);
        let size = aligned(root.offset + root.length);
        let partition = |active: bool, kind: u8, span: PartitionSpan| {
            let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).map_err(|_| DiskError::TooLarge(size));
            Ok::<_, DiskError>(Some(Partition {
                active,
                kind,
                first: sectors(span.offset)?,
                sectors: sectors(span.length)?,
            }))
        };
        let partitions = [
            partition(true, FAT16_LBA, boot)?,
            partition(false, LINUX, root)?,
            None,
            None,
        ];
        let table = PartitionTable {
            signature: signature.number(),
            partitions,
        };
        Ok(Self {
            table,
            boot,
            root,
            size,
        })
    }

    fn in_file(&self, vdi: &Written, signature: DiskSignature) -> DiskLayout {
        let data_offset = vdi.header.data_offset;
        let shifted = |span: PartitionSpan| PartitionSpan {
            offset: span.offset + data_offset,
            ..span
        };
        DiskLayout {
            boot: shifted(self.boot),
            root: shifted(self.root),
            signature,
            data_offset,
            disk_size: self.size,
            file_length: vdi.length,
            disk: vdi.disk,
        }
    }
}

/// Opens a partition image that must have `expected` bytes.
fn open(path: &Path, expected: u64) -> Result<File, DiskError> {
    let read_error = |source| DiskError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read_error)?;
    let found = file.metadata().map_err(read_error)?.len();
    if found == expected {
        Ok(file)
    } else {
        Err(DiskError::Changed {
            path: path.to_owned(),
            found,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::exec::{Host, Invocation, Runner};
    use crate::image::root::FileSystem;
    use crate::image::vdi::DiskReader;
    use crate::units::MIB;

    /// Two partition images with contents that cannot be confused.
    fn images(folder: &Path) -> (BootImage, RootImage) {
        let (boot, root) = (vec![0xb0; 3 << 20], vec![0x12; (2 << 20) + 4096]);
        let paths = (folder.join("boot"), folder.join("root"));
        fs::write(&paths.0, &boot).unwrap();
        fs::write(&paths.1, &root).unwrap();
        let boot = BootImage {
            path: paths.0,
            length: boot.len() as u64,
            digest: Digest::of(&boot),
        };
        let root = RootImage {
            path: paths.1,
            length: root.len() as u64,
            kind: FileSystem::Squashfs,
            digest: Digest::of(&root),
        };
        (boot, root)
    }

    #[test]
    fn partitions_are_where_the_layout_says() {
        let folder = tempfile::tempdir().unwrap();
        let (boot, root) = images(folder.path());
        let target = folder.path().join("disk.vdi");
        let layout = write_disk(&[0x90; 440], &boot, &root, &target).unwrap();
        assert_eq!((layout.boot.offset, layout.root.offset), (2 * MIB, 5 * MIB));
        assert_eq!(layout.disk_size, 7 * MIB);
        let file = File::open(&target).unwrap();
        assert_eq!(file.metadata().unwrap().len(), layout.file_length);
        for (span, byte) in [(layout.boot, 0xb0), (layout.root, 0x12)] {
            let mut content = vec![0; usize::try_from(span.length).unwrap()];
            file.read_exact_at(&mut content, span.offset).unwrap();
            assert!(content.iter().all(|&found| found == byte), "{span:?}");
        }
        let mut sector = [0; 512];
        let mut reader = DiskReader::open(file).unwrap();
        assert_eq!(reader.raw_offset(), Some(layout.data_offset));
        reader.read_exact(&mut sector).unwrap();
        let table = PartitionTable::decode(&sector, layout.disk_size / SECTOR).unwrap();
        assert_eq!(table.signature, layout.signature.number());
        assert_eq!(table.iter().count(), 2);
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        host.run(
            &Invocation::new("qemu-img")
                .args(["check", "-q", "-f", "vdi"])
                .arg(&target),
        )
        .unwrap();
    }

    #[test]
    fn the_signature_is_that_of_the_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut root) = images(folder.path());
        let signature = DiskSignature::of_root(&root);
        let name = signature.root_partition();
        assert_eq!(name, format!("{:08x}-02", signature.number()));
        root.path = "/elsewhere".into();
        assert_eq!(DiskSignature::of_root(&root), signature);
        root.digest = Digest::of(b"another");
        assert_ne!(DiskSignature::of_root(&root), signature);
    }

    #[test]
    fn a_changed_partition_image_leaves_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (boot, root) = images(folder.path());
        fs::write(&root.path, b"short").unwrap();
        let target = folder.path().join("disk.vdi");
        let error = write_disk(&[], &boot, &root, &target).unwrap_err().to_string();
        assert!(error.ends_with("has 5 bytes, but was made with 2101248"), "{error}");
        fs::remove_file(&root.path).unwrap();
        assert!(matches!(
            write_disk(&[], &boot, &root, &target),
            Err(DiskError::Read { .. })
        ));
        assert!(!target.exists());
    }

    #[test]
    fn a_disk_past_two_tebibytes_is_refused() {
        let signature = DiskSignature(1);
        assert!(matches!(Plan::of(MIB, 1 << 42, signature), Err(DiskError::TooLarge(_))));
    }
}
