//! One ELF file: what the dynamic loader reads of it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::dynamic::{
    DF_1_NODEFLIB, DF_1_PIE, DT_FLAGS_1, DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_VERDEF,
    DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, Dyn,
};
use goblin::elf::header::{ELFMAG, ET_DYN, ET_EXEC, Header};
use goblin::elf::program_header::{PF_W, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE};
use goblin::elf::section_header::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS};
use goblin::elf::{Dynamic, Elf, ProgramHeader, SectionHeader};

use super::abi::{Abi, Class};
use super::bytes::{Source, Window};
use super::notes::{Dlopen, Notes};
use super::versions::{self, Table, VersionNeed};

/// Why a file cannot be taken for a program or a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// It does not begin as an ELF file does.
    #[error("is not an ELF file")]
    NotElf,
    /// An ELF file that is not loaded: an object file, a kernel module, a core dump.
    #[error("is neither a program nor a shared library")]
    NotLoadable,
    /// It is truncated or contradicts itself.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    /// The operating system refuses to read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// What the dynamic loader reads of a file. All names are as the file spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// With what it can be loaded.
    pub abi: Abi,
    /// `ET_EXEC` or `ET_DYN`.
    pub elf_type: u16,
    /// Whether it has a dynamic section; a static program has none.
    pub dynamic: bool,
    /// `DT_SONAME`.
    pub soname: Option<OsString>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<OsString>,
    /// `DT_RPATH`; `None` where `DT_RUNPATH` is there too, since the loader then ignores it.
    pub rpath: Option<OsString>,
    /// `DT_RUNPATH`.
    pub runpath: Option<OsString>,
    /// `PT_INTERP`: the dynamic loader of a program.
    pub interpreter: Option<PathBuf>,
    /// `DF_1_NODEFLIB`: the default folders are not searched for what it needs.
    pub no_default_folders: bool,
    /// `DF_1_PIE`: a program, whatever else it looks like; one that is static has no loader.
    pub position_independent: bool,
    /// Versions it needs.
    pub requires: Vec<VersionNeed>,
    /// Versions it defines; `None` where it has no versions at all.
    pub provides: Option<Vec<String>>,
    /// Build id in hexadecimal.
    pub build_id: Option<String>,
    /// What it loads by `dlopen`, as far as it tells.
    pub dlopen: Vec<Dlopen>,
}

/// Segments that are looked at; real files have about a dozen.
const MOST_SEGMENTS: usize = 1024;
/// Bytes of a dynamic section: 4,096 entries of a 64-bit file.
const LARGEST_DYNAMIC: u64 = 64 * 1024;
/// Bytes of one note segment.
const LARGEST_NOTE: usize = 64 * 1024;

impl Object {
    /// Reads the file at `source`, which takes a few kilobytes of it whatever its size.
    pub fn read(source: &Source) -> Result<Self, Fault> {
        let mut window = Window::new(source);
        let layout = Layout::read(&mut window)?;
        let strings = layout.strings();
        let mut object = Self {
            abi: layout.abi,
            elf_type: layout.elf_type,
            dynamic: !layout.dynamic.is_empty(),
            soname: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            interpreter: layout.interpreter(&mut window)?,
            no_default_folders: layout.value(DT_FLAGS_1).unwrap_or(0) & DF_1_NODEFLIB != 0,
            position_independent: layout.value(DT_FLAGS_1).unwrap_or(0) & DF_1_PIE != 0,
            requires: Vec::new(),
            provides: None,
            build_id: None,
            dlopen: Vec::new(),
        };
        for entry in &layout.dynamic {
            match entry.d_tag {
                DT_NEEDED => object.needed.push(name(&mut window, strings, entry.d_val)?),
                DT_SONAME => object.soname = Some(name(&mut window, strings, entry.d_val)?),
                DT_RPATH => object.rpath = Some(name(&mut window, strings, entry.d_val)?),
                DT_RUNPATH => object.runpath = Some(name(&mut window, strings, entry.d_val)?),
                _ => {}
            }
        }
        if object.runpath.is_some() {
            object.rpath = None;
        }
        if let Some(table) = layout.version_table(DT_VERNEED, DT_VERNEEDNUM)? {
            object.requires = versions::needed(&mut window, table, layout.ctx)?;
        }
        if let Some(table) = layout.version_table(DT_VERDEF, DT_VERDEFNUM)? {
            object.provides = Some(versions::defined(&mut window, table, layout.ctx)?);
        }
        let notes = layout.notes(&mut window)?;
        object.build_id = notes.build_id;
        object.dlopen = notes.dlopen;
        Ok(object)
    }

    /// Whether it is there to be loaded by others: a library or a plug-in. Some can be started as
    /// well (glibc's `libc.so.6` tells its version then).
    #[must_use]
    pub fn is_library(&self) -> bool {
        let started = self.interpreter.is_some() || self.position_independent;
        self.elf_type == ET_DYN && self.dynamic && (self.soname.is_some() || !started)
    }

    /// Whether it is started, and not only loaded: it names its loader, or is a static program.
    #[must_use]
    pub fn is_program(&self) -> bool {
        self.interpreter.is_some() || self.elf_type == ET_EXEC
    }
}

/// The string at `value` of the string table `strings`.
fn name(window: &mut Window<'_>, strings: Option<(u64, u64)>, value: u64) -> Result<OsString, Fault> {
    let outside = Fault::Damaged("a name is not in the string table");
    let (start, end) = strings.ok_or(Fault::Damaged("the dynamic section has no string table"))?;
    let bytes = window.string(start.saturating_add(value), end)?;
    bytes.map(OsString::from_vec).ok_or(outside)
}

/// Where things are in a file.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) abi: Abi,
    elf_type: u16,
    pub(super) ctx: Ctx,
    pub(super) header: Header,
    segments: Vec<ProgramHeader>,
    dynamic: Vec<Dyn>,
}

impl Layout {
    pub(super) fn read(window: &mut Window<'_>) -> Result<Self, Fault> {
        let start = window.up_to(0, 64)?;
        if !start.starts_with(ELFMAG) {
            return Err(Fault::NotElf);
        }
        let damaged = Fault::Damaged("the file header");
        let header = Elf::parse_header(&start).map_err(|_| damaged.clone())?;
        let container = header.container().map_err(|_| damaged.clone())?;
        let order = header.endianness().map_err(|_| damaged)?;
        if !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(Fault::NotLoadable);
        }
        let ctx = Ctx::new(container, order);
        let segments = segments(window, &header, ctx)?;
        let dynamic = dynamic(window, &segments, ctx)?;
        let class = match container {
            Container::Little => Class::Elf32,
            Container::Big => Class::Elf64,
        };
        Ok(Self {
            abi: Abi {
                class,
                machine: header.e_machine,
                little_endian: order == Endian::Little,
            },
            elf_type: header.e_type,
            ctx,
            header,
            segments,
            dynamic,
        })
    }

    /// The value of the last dynamic entry with this tag.
    pub(super) fn value(&self, tag: u64) -> Option<u64> {
        let entry = self.dynamic.iter().rev().find(|entry| entry.d_tag == tag);
        entry.map(|entry| entry.d_val)
    }

    /// Where the byte that is loaded to `address` stands in the file.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD)
            .find_map(|segment| {
                let within = address.checked_sub(segment.p_vaddr)?;
                let offset = segment.p_offset.checked_add(within)?;
                (within < segment.p_filesz).then_some(offset)
            })
    }

    /// Where the string table begins and ends.
    pub(super) fn strings(&self) -> Option<(u64, u64)> {
        let start = self.offset(self.value(DT_STRTAB)?)?;
        Some((start, start.saturating_add(self.value(DT_STRSZ)?)))
    }

    fn version_table(&self, place: u64, count: u64) -> Result<Option<Table>, Fault> {
        let Some(address) = self.value(place) else {
            return Ok(None);
        };
        let outside = Fault::Damaged("a version table is outside the file");
        Ok(Some(Table {
            offset: self.offset(address).ok_or(outside.clone())?,
            entries: self.value(count).unwrap_or(0),
            strings: self.strings().ok_or(outside)?,
        }))
    }

    fn interpreter(&self, window: &mut Window<'_>) -> Result<Option<PathBuf>, Fault> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == PT_INTERP) else {
            return Ok(None);
        };
        let end = segment.p_offset.saturating_add(segment.p_filesz);
        let path = window.string(segment.p_offset, end)?;
        let path = path.ok_or(Fault::Damaged("the name of its loader"))?;
        Ok(Some(OsString::from_vec(path).into()))
    }

    fn notes(&self, window: &mut Window<'_>) -> Result<Notes, Fault> {
        let mut notes = Notes::default();
        for segment in self.segments.iter().filter(|segment| segment.p_type == PT_NOTE) {
            let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX);
            let data = window.up_to(segment.p_offset, size.min(LARGEST_NOTE))?;
            notes.add(&data, segment.p_align, self.ctx);
        }
        Ok(notes)
    }
}

/// Where the data that a program reads and does not write or execute stands in a file, as offsets
/// and lengths: by its sections, or where it has none, by its segments.
pub(super) fn read_only_data(source: &Source) -> Result<Vec<(u64, u64)>, Fault> {
    let mut window = Window::new(source);
    let layout = Layout::read(&mut window)?;
    let flags = u64::from(SHF_ALLOC | SHF_EXECINSTR | SHF_WRITE);
    let data: Vec<(u64, u64)> = sections(&mut window, &layout)?
        .iter()
        .filter(|section| section.sh_type == SHT_PROGBITS && section.sh_flags & flags == u64::from(SHF_ALLOC))
        .map(|section| (section.sh_offset, section.sh_size))
        .collect();
    if !data.is_empty() {
        return Ok(data);
    }
    let loaded = layout.segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let constant = loaded.filter(|segment| segment.p_flags & PF_W == 0);
    Ok(constant.map(|segment| (segment.p_offset, segment.p_filesz)).collect())
}

/// The section table; empty where there is none that can be read, which the loader does not need.
pub(super) fn sections(window: &mut Window<'_>, layout: &Layout) -> Result<Vec<SectionHeader>, Fault> {
    let count = usize::from(layout.header.e_shnum);
    let size = SectionHeader::size(layout.ctx);
    if count == 0 || usize::from(layout.header.e_shentsize) != size {
        return Ok(Vec::new());
    }
    let Some(bytes) = window.exactly(layout.header.e_shoff, count * size)? else {
        return Ok(Vec::new());
    };
    Ok(SectionHeader::parse_from(&bytes, 0, count, layout.ctx).unwrap_or_default())
}

fn segments(window: &mut Window<'_>, header: &Header, ctx: Ctx) -> Result<Vec<ProgramHeader>, Fault> {
    let damaged = Fault::Damaged("the program headers");
    let count = usize::from(header.e_phnum);
    let size = ProgramHeader::size(ctx);
    if count > MOST_SEGMENTS || (count > 0 && usize::from(header.e_phentsize) != size) {
        return Err(damaged);
    }
    let bytes = window.exactly(header.e_phoff, count * size)?;
    let bytes = bytes.ok_or(damaged.clone())?;
    ProgramHeader::parse(&bytes, 0, count, ctx).map_err(|_| damaged)
}

fn dynamic(window: &mut Window<'_>, segments: &[ProgramHeader], ctx: Ctx) -> Result<Vec<Dyn>, Fault> {
    let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) else {
        return Ok(Vec::new());
    };
    let damaged = Fault::Damaged("the dynamic section");
    if segment.p_filesz > LARGEST_DYNAMIC {
        return Err(damaged);
    }
    let length = usize::try_from(segment.p_filesz).map_err(|_| damaged.clone())?;
    let bytes = window.exactly(segment.p_offset, length)?.ok_or(damaged.clone())?;
    // goblin reads from a whole file: let the section be one. Its own conversion of addresses is
    // not used, because it trusts the segments.
    let alone = ProgramHeader {
        p_type: PT_DYNAMIC,
        p_filesz: segment.p_filesz,
        ..ProgramHeader::default()
    };
    let parsed = Dynamic::parse(&bytes, &[alone], ctx).map_err(|_| damaged)?;
    Ok(parsed.map(|dynamic| dynamic.dyns).unwrap_or_default())
}
