//! Symbol versions: which ones a file needs of which library, and which ones it defines.

use goblin::container::Ctx;
use goblin::elf::section_header::{SHT_GNU_VERDEF, SHT_GNU_VERNEED};
use goblin::elf::symver::{VerdefSection, VerneedSection};
use goblin::elf::{SectionHeader, SectionHeaders};

use super::bytes::{ALL_STRINGS, Window};
use super::object::Fault;

/// `VER_FLG_BASE`: the entry names the file itself.
const BASE: u16 = 1;
/// `VER_FLG_WEAK`: only weak symbols need the version, so that it may be missing.
const WEAK: u16 = 2;
/// More versions than any library has: glibc's libc has about 40, libstdc++ about 60.
const MOST: usize = 16 * 1024;
/// How much is read of a table: first a little, which nearly always is enough, then much.
const TABLE: [usize; 2] = [4 * 1024, 1024 * 1024];

/// One version that a file needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionNeed {
    /// The library that must define it: a name that also is among those needed.
    pub library: String,
    /// The version, such as `GLIBC_2.34`.
    pub version: String,
    /// Whether the program starts without it.
    pub weak: bool,
}

/// Where a version table stands in its file, and how many entries it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) offset: u64,
    pub(super) entries: u64,
    /// Where the strings begin and end.
    pub(super) strings: (u64, u64),
}

/// Reads with `read` from a short piece of the table, and again from a long one if that was not
/// all. `read` returns `None` where the piece ends too early.
fn in_pieces<T>(
    window: &mut Window<'_>,
    table: Table,
    what: &'static str,
    read: impl Fn(&mut Window<'_>, &[u8]) -> Result<Option<T>, Fault>,
) -> Result<T, Fault> {
    for size in TABLE {
        let bytes = window.up_to(table.offset, size)?;
        if let Some(found) = read(window, &bytes)? {
            return Ok(found);
        }
    }
    Err(Fault::Damaged(what))
}

/// A section table with one entry that covers `bytes`, as goblin wants to see it.
fn section(sh_type: u32, bytes: &[u8], entries: u64) -> SectionHeaders {
    vec![SectionHeader {
        sh_type,
        sh_size: bytes.len() as u64,
        sh_info: u32::try_from(entries).unwrap_or(u32::MAX),
        ..SectionHeader::default()
    }]
}

fn string(window: &mut Window<'_>, table: Table, offset: usize) -> Result<String, Fault> {
    let (start, end) = table.strings;
    let bytes = window.string(start.saturating_add(offset as u64), end)?;
    let bytes = bytes.ok_or(Fault::Damaged("a version's name is not in the string table"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The versions of `DT_VERNEED`, in the file's order.
pub(super) fn needed(window: &mut Window<'_>, table: Table, ctx: Ctx) -> Result<Vec<VersionNeed>, Fault> {
    in_pieces(window, table, "the table of needed versions", |window, bytes| {
        let sections = section(SHT_GNU_VERNEED, bytes, table.entries);
        let Ok(Some(section)) = VerneedSection::parse(bytes, &sections, ctx) else {
            return Ok(None);
        };
        let mut needs = Vec::new();
        let mut files = 0;
        // The library's name is repeated for each of its versions.
        let mut room = ALL_STRINGS;
        for file in &section {
            files += 1;
            let library = string(window, table, file.vn_file)?;
            let before = needs.len();
            for version in &file {
                needs.push(VersionNeed {
                    library: library.clone(),
                    version: string(window, table, version.vna_name)?,
                    weak: version.vna_flags & WEAK != 0,
                });
                room = room.saturating_sub(library.len());
                if needs.len() > MOST || room == 0 {
                    return Err(Fault::Damaged("too many needed versions"));
                }
            }
            if needs.len() - before != usize::from(file.vn_cnt) {
                return Ok(None);
            }
        }
        Ok((files == table.entries).then_some(needs))
    })
}

/// The versions of `DT_VERDEF` without the one that names the file itself, in the file's order.
pub(super) fn defined(window: &mut Window<'_>, table: Table, ctx: Ctx) -> Result<Vec<String>, Fault> {
    in_pieces(window, table, "the table of defined versions", |window, bytes| {
        let sections = section(SHT_GNU_VERDEF, bytes, table.entries);
        let Ok(Some(section)) = VerdefSection::parse(bytes, &sections, ctx) else {
            return Ok(None);
        };
        let mut versions = Vec::new();
        let mut entries = 0;
        for definition in &section {
            entries += 1;
            // The first name is the version's own, the others are its parents.
            let Some(name) = definition.iter().next() else {
                return Ok(None);
            };
            if definition.vd_flags & BASE == 0 {
                versions.push(string(window, table, name.vda_name)?);
            }
            if versions.len() > MOST {
                return Err(Fault::Damaged("too many defined versions"));
            }
        }
        Ok((entries == table.entries).then_some(versions))
    })
}
