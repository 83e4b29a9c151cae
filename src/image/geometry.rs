//! Cylinders, heads and sectors: what a BIOS of the nineties calls the size of a disk.

/// Bytes of a sector. Other sector sizes are not for virtual BIOS disks.
pub const SECTOR: u64 = 512;

/// Sectors of a track, in every translation there is.
const SECTORS: u32 = 63;

/// The most cylinders that the BIOS interface can name.
const MAX_CYLINDERS: u32 = 1024;

/// A disk's logical geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders, 1 to 1024.
    pub cylinders: u32,
    /// Heads: 16, 32, 64, 128 or 255.
    pub heads: u32,
    /// Sectors of a track, always 63.
    pub sectors: u32,
}

impl Geometry {
    /// The geometry of a disk of `sectors` sectors by LBA-assisted translation, as `SeaBIOS` and
    /// `VirtualBox`'s BIOS compute it: the fewest heads that need no more than 1024 cylinders.
    #[must_use]
    pub fn of_disk(sectors: u64) -> Self {
        let cylinders = |heads: u32| sectors / u64::from(heads * SECTORS);
        let heads = [16, 32, 64, 128]
            .into_iter()
            .find(|&heads| cylinders(heads) <= u64::from(MAX_CYLINDERS))
            .unwrap_or(255);
        Self {
            cylinders: u32::try_from(cylinders(heads)).map_or(MAX_CYLINDERS, |count| count.clamp(1, MAX_CYLINDERS)),
            heads,
            sectors: SECTORS,
        }
    }

    /// A sector's address in the three bytes of a partition table entry: head, sector with the
    /// high bits of the cylinder, cylinder. What lies past cylinder 1023 gets the customary
    /// 1023/254/63.
    #[must_use]
    pub fn address(self, sector: u32) -> [u8; 3] {
        let track = sector / self.sectors;
        let (cylinder, head) = (track / self.heads, track % self.heads);
        if cylinder >= MAX_CYLINDERS {
            return [254, 0xff, 0xff];
        }
        let byte = |value: u32| value.to_le_bytes()[0];
        let high = (cylinder >> 8) << 6;
        [
            byte(head),
            byte(high | (sector % self.sectors + 1)),
            byte(cylinder & 0xff),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_grow_with_the_disk() {
        for (mebibytes, cylinders, heads) in [
            (1, 2, 16),
            // VirtualBox itself wrote 16/16/63 for this one.
            (8, 16, 16),
            (504, 1024, 16),
            (505, 513, 32),
            (4032, 1024, 128),
            (10_240, 1024, 255),
        ] {
            let geometry = Geometry::of_disk(mebibytes * 2048);
            assert_eq!((geometry.cylinders, geometry.heads), (cylinders, heads), "{mebibytes}");
        }
    }

    #[test]
    fn addresses_count_sectors_from_one() {
        let geometry = Geometry::of_disk(2048 * 1000);
        assert_eq!(geometry.heads, 32);
        assert_eq!(geometry.address(0), [0, 1, 0]);
        assert_eq!(geometry.address(2048), [0, 33, 1]);
        assert_eq!(geometry.address(32 * 63 * 300), [0, 1 | 0x40, 44]);
        assert_eq!(geometry.address(u32::MAX), [254, 0xff, 0xff]);
    }
}
