//! The dynamic symbols of a file: what it leaves to others, and what it defines for them.

use std::collections::BTreeSet;

use goblin::elf::dynamic::{DT_HASH, DT_STRTAB, DT_SYMTAB};
use goblin::elf::section_header::{SHT_DYNSYM, SectionHeader};
use goblin::elf::sym::{STB_LOCAL, STB_WEAK, Sym, Symtab};

use super::bytes::{Source, Window};
use super::object::{Fault, Layout};

/// More than any library has: LLVM's has about 40,000, Qt's browser engine 250,000.
const MOST_SYMBOLS: u64 = 4 * 1024 * 1024;
/// The largest string table that is read.
const LARGEST_STRINGS: u64 = 256 * 1024 * 1024;

/// The dynamic symbols of a file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Must be defined elsewhere.
    pub undefined: BTreeSet<Box<[u8]>>,
    /// May be defined elsewhere.
    pub undefined_weak: BTreeSet<Box<[u8]>>,
    /// Defined here for others.
    pub defined: BTreeSet<Box<[u8]>>,
}

impl Symbols {
    /// Reads the dynamic symbols of the file at `source`.
    pub fn read(source: &Source) -> Result<Self, Fault> {
        let mut window = Window::new(source);
        let layout = Layout::read(&mut window)?;
        let Some(table) = layout.value(DT_SYMTAB).and_then(|address| layout.offset(address)) else {
            return Ok(Self::default());
        };
        let damaged = || Fault::Damaged("the dynamic symbols");
        let (start, end) = layout.strings().ok_or_else(damaged)?;
        let count = count(&mut window, &layout)?;
        if count > MOST_SYMBOLS || end - start > LARGEST_STRINGS {
            return Err(damaged());
        }
        let piece = |offset: u64, length: u64| {
            let length = usize::try_from(length).ok()?;
            Some((offset, length))
        };
        let size = Sym::size(layout.ctx.container) as u64;
        let mut read = |(offset, length)| window.exactly(offset, length);
        let symbols = read(piece(table, count * size).ok_or_else(damaged)?)?.ok_or_else(damaged)?;
        let strings = read(piece(start, end - start).ok_or_else(damaged)?)?.ok_or_else(damaged)?;
        let count = usize::try_from(count).map_err(|_| damaged())?;
        let symbols = Symtab::parse(&symbols, 0, count, layout.ctx).map_err(|_| damaged())?;
        Ok(Self::sort(&symbols, &strings))
    }

    fn sort(table: &Symtab<'_>, strings: &[u8]) -> Self {
        let mut symbols = Self::default();
        for symbol in table {
            let Some(name) = strings.get(symbol.st_name..) else {
                continue;
            };
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            if name.is_empty() || symbol.st_bind() == STB_LOCAL {
                continue;
            }
            let set = match (symbol.st_shndx, symbol.st_bind()) {
                (0, STB_WEAK) => &mut symbols.undefined_weak,
                (0, _) => &mut symbols.undefined,
                _ => &mut symbols.defined,
            };
            set.insert(name.into());
        }
        symbols
    }
}

/// How many dynamic symbols there are. The loader never needs to know, so that no dynamic entry
/// tells: the section table does, else the older hash table, else the strings begin where the
/// symbols end, which is the rule that glibc's `dladdr` relies on.
fn count(window: &mut Window<'_>, layout: &Layout) -> Result<u64, Fault> {
    let size = Sym::size(layout.ctx.container) as u64;
    if let Some(section) = dynsym(window, layout)? {
        return Ok(section.sh_size / size);
    }
    let hash = layout.value(DT_HASH).and_then(|address| layout.offset(address));
    if let Some(hash) = hash
        && let Some(word) = window.exactly(hash.saturating_add(4), 4)?
    {
        let word: [u8; 4] = word.try_into().expect("four bytes were asked for");
        let little = layout.abi.little_endian;
        return Ok(u64::from(if little {
            u32::from_le_bytes(word)
        } else {
            u32::from_be_bytes(word)
        }));
    }
    let symbols = layout.value(DT_SYMTAB).unwrap_or(0);
    let strings = layout.value(DT_STRTAB).unwrap_or(0);
    Ok(strings.saturating_sub(symbols) / size)
}

fn dynsym(window: &mut Window<'_>, layout: &Layout) -> Result<Option<SectionHeader>, Fault> {
    let count = usize::from(layout.header.e_shnum);
    let size = SectionHeader::size(layout.ctx);
    if count == 0 || usize::from(layout.header.e_shentsize) != size {
        return Ok(None);
    }
    let Some(bytes) = window.exactly(layout.header.e_shoff, count * size)? else {
        return Ok(None);
    };
    let sections = SectionHeader::parse_from(&bytes, 0, count, layout.ctx).unwrap_or_default();
    Ok(sections.into_iter().find(|section| section.sh_type == SHT_DYNSYM))
}
