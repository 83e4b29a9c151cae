//! Raw disks for `VirtualBox`, which reads none without a descriptor: a VMDK of one flat extent.
//!
//! Source: `VMware`'s "Virtual Disk Format 5.0"; the `ddb.uuid` lines are `VirtualBox`'s own, as its
//! `VBoxManage createmedium --format VMDK --variant Fixed` writes them.

use std::fmt::Write as _;

use crate::image::geometry::SECTOR;
use crate::image::uuid::Uuid;

/// The geometry that an ATA disk tells of itself has at most these (ATA/ATAPI-5, 6.2).
const HEADS: u64 = 16;
const TRACK: u64 = 63;
const CYLINDERS: u64 = 16_383;

/// A raw file in the same folder as its descriptor.
#[derive(Clone, Debug)]
pub struct FlatDisk<'a> {
    /// The raw file's name, without a folder: letters, digits, dots and dashes.
    pub file: &'a str,
    /// Its length in bytes, of which whole sectors count.
    pub length: u64,
    /// What the disk is known as.
    pub uuid: Uuid,
}

impl FlatDisk<'_> {
    /// The text of the descriptor file.
    #[must_use]
    pub fn descriptor(&self) -> String {
        let sectors = self.length / SECTOR;
        let cylinders = (sectors / (HEADS * TRACK)).clamp(1, CYLINDERS);
        let mut text = String::from(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n",
        );
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("strings take every line");
        line(format_args!(
            "\n# Extent description\nRW {sectors} FLAT \"{}\" 0",
            self.file
        ));
        line(format_args!(
            "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\""
        ));
        line(format_args!("ddb.adapterType=\"ide\""));
        line(format_args!("ddb.geometry.cylinders=\"{cylinders}\""));
        line(format_args!("ddb.geometry.heads=\"{HEADS}\""));
        line(format_args!("ddb.geometry.sectors=\"{TRACK}\""));
        line(format_args!("ddb.uuid.image=\"{}\"", self.uuid));
        line(format_args!("ddb.uuid.modification=\"{}\"", self.uuid));
        line(format_args!("ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\""));
        line(format_args!(
            "ddb.uuid.parentmodification=\"00000000-0000-0000-0000-000000000000\""
        ));
        text
    }
}
