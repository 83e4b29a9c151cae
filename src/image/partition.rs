//! The partition table of a BIOS disk (MBR): up to four primary partitions in its first sector.

use super::geometry::Geometry;
use crate::diagnostic::{Blame, Problem};

/// Sectors of 1 MiB: where partitions begin.
pub const ALIGNMENT: u32 = 2048;

/// The most boot code there is room for.
pub const BOOT_CODE_MAX: usize = 440;

/// A FAT16 partition to be read by logical sector numbers.
pub const FAT16_LBA: u8 = 0x0e;
/// A Linux file system of any kind.
pub const LINUX: u8 = 0x83;

const SIGNATURE_AT: usize = 440;
const ENTRIES_AT: usize = 446;
const ENTRY: usize = 16;
const MARK: [u8; 2] = [0x55, 0xaa];
const ACTIVE: u8 = 0x80;

/// One primary partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Whether the boot code starts it.
    pub active: bool,
    /// What it holds, such as [`FAT16_LBA`]; never 0.
    pub kind: u8,
    /// Its first sector.
    pub first: u32,
    /// How many sectors it has; never 0.
    pub sectors: u32,
}

/// A disk's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// The disk signature, by which Linux names partitions: `PARTUUID=SIGNATURE-NN`.
    pub signature: u32,
    /// The four entries; partition 1 is the first of them.
    pub partitions: [Option<Partition>; 4],
}

/// A sector holds no partition table that can be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The sector does not end as it must.
    #[error("the disk's first sector is no partition table: it ends in {0:#04x} {1:#04x}, expected 0x55 0xaa")]
    NoTable(u8, u8),
    /// More than [`BOOT_CODE_MAX`] bytes of boot code.
    #[error("boot code of {0} bytes does not fit in the 440 that the partition table leaves")]
    BootCode(usize),
    /// The entry's first byte is neither 0 nor 0x80.
    #[error("partition {number} has the status {status:#04x}, expected 0 or 0x80")]
    Status {
        /// 1 to 4.
        number: usize,
        /// What stands there.
        status: u8,
    },
    /// The entry is neither empty nor complete.
    #[error("partition {0} has a type or a size, but not both")]
    Incomplete(usize),
    /// It does not begin at a whole mebibyte, or begins in the table itself.
    #[error("partition {number} begins at sector {first}, which is no multiple of 2048")]
    Unaligned {
        /// 1 to 4.
        number: usize,
        /// Its first sector.
        first: u32,
    },
    /// It ends past the end of the disk.
    #[error("partition {number} ends at sector {end}, but the disk at {disk}")]
    PastEnd {
        /// 1 to 4.
        number: usize,
        /// The sector past its last.
        end: u64,
        /// Sectors of the disk.
        disk: u64,
    },
    /// Two partitions share sectors.
    #[error("partitions {0} and {1} overlap")]
    Overlap(usize, usize),
    /// More than one partition is active: the boot code refuses to choose.
    #[error("more than one partition is active")]
    Active,
}

impl Problem for PartitionError {
    fn code(&self) -> &'static str {
        "HV3011"
    }

    fn blame(&self) -> Blame {
        Blame::Image
    }

    fn help(&self) -> Option<String> {
        Some("copy or build the image again".to_owned())
    }
}

impl PartitionTable {
    /// The first sector of a disk of `disk_sectors` sectors, with boot code.
    pub fn encode(&self, boot_code: &[u8], disk_sectors: u64) -> Result<[u8; 512], PartitionError> {
        self.check(disk_sectors)?;
        if boot_code.len() > BOOT_CODE_MAX {
            return Err(PartitionError::BootCode(boot_code.len()));
        }
        let geometry = Geometry::of_disk(disk_sectors);
        let mut sector = [0; 512];
        sector[..boot_code.len()].copy_from_slice(boot_code);
        sector[SIGNATURE_AT..SIGNATURE_AT + 4].copy_from_slice(&self.signature.to_le_bytes());
        for (entry, partition) in sector[ENTRIES_AT..].chunks_exact_mut(ENTRY).zip(self.partitions) {
            if let Some(partition) = partition {
                entry.copy_from_slice(&partition.encode(geometry));
            }
        }
        sector[510..].copy_from_slice(&MARK);
        Ok(sector)
    }

    /// Reads and checks the first sector of a disk of `disk_sectors` sectors. The addresses by
    /// cylinder are not looked at: nothing has used them for decades.
    pub fn decode(sector: &[u8; 512], disk_sectors: u64) -> Result<Self, PartitionError> {
        if sector[510..] != MARK {
            return Err(PartitionError::NoTable(sector[510], sector[511]));
        }
        let mut partitions = [None; 4];
        let entries = sector[ENTRIES_AT..510].chunks_exact(ENTRY);
        for (index, (entry, partition)) in entries.zip(&mut partitions).enumerate() {
            *partition = Partition::decode(entry, index + 1)?;
        }
        let table = Self {
            signature: number(&sector[SIGNATURE_AT..]),
            partitions,
        };
        table.check(disk_sectors)?;
        Ok(table)
    }

    /// The partitions there are, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Partition)> {
        (1..).zip(self.partitions).filter_map(|(n, p)| Some((n, p?)))
    }

    fn check(&self, disk_sectors: u64) -> Result<(), PartitionError> {
        let mut seen: Vec<(usize, Partition)> = Vec::new();
        for (number, partition) in self.iter() {
            let first = partition.first;
            if partition.kind == 0 || partition.sectors == 0 {
                return Err(PartitionError::Incomplete(number));
            }
            if first == 0 || !first.is_multiple_of(ALIGNMENT) {
                return Err(PartitionError::Unaligned { number, first });
            }
            if partition.end() > disk_sectors {
                return Err(PartitionError::PastEnd {
                    number,
                    end: partition.end(),
                    disk: disk_sectors,
                });
            }
            let meets = |other: &Partition| u64::from(first) < other.end() && u64::from(other.first) < partition.end();
            if let Some((other, _)) = seen.iter().find(|(_, other)| meets(other)) {
                return Err(PartitionError::Overlap(*other, number));
            }
            if partition.active && seen.iter().any(|(_, other)| other.active) {
                return Err(PartitionError::Active);
            }
            seen.push((number, partition));
        }
        Ok(())
    }
}

impl Partition {
    /// The sector past its last one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first as u64 + self.sectors as u64
    }

    fn encode(&self, geometry: Geometry) -> [u8; ENTRY] {
        let last = u32::try_from(self.end() - 1).unwrap_or(u32::MAX);
        let mut entry = [0; ENTRY];
        entry[0] = if self.active { ACTIVE } else { 0 };
        entry[1..4].copy_from_slice(&geometry.address(self.first));
        entry[4] = self.kind;
        entry[5..8].copy_from_slice(&geometry.address(last));
        entry[8..12].copy_from_slice(&self.first.to_le_bytes());
        entry[12..].copy_from_slice(&self.sectors.to_le_bytes());
        entry
    }

    fn decode(entry: &[u8], number_of_entry: usize) -> Result<Option<Self>, PartitionError> {
        if entry.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if entry[0] & !ACTIVE != 0 {
            return Err(PartitionError::Status {
                number: number_of_entry,
                status: entry[0],
            });
        }
        Ok(Some(Self {
            active: entry[0] == ACTIVE,
            kind: entry[4],
            first: number(&entry[8..]),
            sectors: number(&entry[12..]),
        }))
    }
}

/// The little-endian number at the start of `bytes`.
fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISK: u64 = 40 * 2048;

    fn partition(first: u32, sectors: u32) -> Partition {
        Partition {
            active: false,
            kind: LINUX,
            first,
            sectors,
        }
    }

    fn table(partitions: [Option<Partition>; 4]) -> PartitionTable {
        PartitionTable {
            signature: 0x1234_abcd,
            partitions,
        }
    }

    fn usual() -> PartitionTable {
        let boot = Partition {
            active: true,
            kind: FAT16_LBA,
            ..partition(2048, 10 * 2048)
        };
        table([Some(boot), Some(partition(11 * 2048, 29 * 2048)), None, None])
    }

    #[test]
    fn a_table_survives_and_stands_where_the_bios_looks() {
        let sector = usual().encode(&[0x90; 440], DISK).unwrap();
        assert_eq!(PartitionTable::decode(&sector, DISK), Ok(usual()));
        assert_eq!(&sector[440..446], [0xcd, 0xab, 0x34, 0x12, 0, 0]);
        // With tracks of 63 and 16 heads, sector 2048 is 2/0/33 and sector 22527 is 22/5/37.
        assert_eq!(sector[446..458], [0x80, 0, 33, 2, 0x0e, 5, 37, 22, 0, 8, 0, 0]);
    }

    #[test]
    fn tables_that_cannot_be_right_are_refused() {
        let active = |p: Partition| Some(Partition { active: true, ..p });
        let cases = [
            (
                table([Some(partition(0, 2048)), None, None, None]),
                "begins at sector 0",
            ),
            (
                table([Some(partition(63, 2048)), None, None, None]),
                "begins at sector 63",
            ),
            (
                table([None, Some(partition(2048, 0)), None, None]),
                "partition 2 has a type",
            ),
            (
                table([None, Some(partition(2048, u32::MAX)), None, None]),
                "but the disk at 81920",
            ),
            (
                table([Some(partition(4096, 4096)), None, None, Some(partition(2048, 2049))]),
                "partitions 1 and 4 overlap",
            ),
            (
                table([active(partition(2048, 1)), active(partition(4096, 1)), None, None]),
                "more than one",
            ),
        ];
        for (table, says) in cases {
            let error = table.encode(&[], DISK).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(usual().encode(&[0; 441], DISK), Err(PartitionError::BootCode(441)));
    }

    #[test]
    fn damaged_sectors_are_refused() {
        let good = usual().encode(&[], DISK).unwrap();
        for (at, byte, says) in [
            (510, 0, "no partition table"),
            (446, 0x81, "status 0x81"),
            (450, 0, "type or a size"),
            (455, 1, "no multiple of 2048"),
            (462, 0x80, "more than one"),
            (473, 1, "but the disk"),
        ] {
            let mut bad = good;
            bad[at] = byte;
            let error = PartitionTable::decode(&bad, DISK).unwrap_err().to_string();
            assert!(error.contains(says), "{at}: {error}");
        }
    }

    proptest! {
        #[test]
        fn random_sectors_never_panic(head in any::<[u8; 32]>(), disk in any::<u64>()) {
            let mut sector = [0; 512];
            sector[446..478].copy_from_slice(&head);
            sector[510..].copy_from_slice(&MARK);
            if let Ok(table) = PartitionTable::decode(&sector, disk) {
                prop_assert_eq!(PartitionTable::decode(&table.encode(&[], disk).unwrap(), disk), Ok(table));
            }
        }
    }
}
