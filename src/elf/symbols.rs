//! The dynamic symbols of a file: what it leaves to others, and what it defines for them.

use std::collections::BTreeSet;

use goblin::elf::dynamic::{DT_HASH, DT_STRTAB, DT_SYMTAB};
use goblin::elf::section_header::{SHT_DYNSYM, SectionHeader};
use goblin::elf::sym::{STB_LOCAL, STB_WEAK, Sym, Symtab};

use super::bytes::{Source, Window};
use super::object::{Fault, Layout, sections};

/// More than any library has: LLVM's has about 40,000, Qt's browser engine 250,000.
const MOST_SYMBOLS: u64 = 4 * 1024 * 1024;
/// The largest string table that is read.
const LARGEST_STRINGS: u64 = 256 * 1024 * 1024;
/// The most that all names together may have: symbols of a hostile file may share one long name,
/// which must not take time for each.
const ALL_NAMES: usize = 512 * 1024 * 1024;

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

/// What a symbol is to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    Undefined,
    UndefinedWeak,
    Defined,
}

impl Symbols {
    /// Reads the dynamic symbols of the file at `source`.
    pub fn read(source: &Source) -> Result<Self, Fault> {
        let mut symbols = Self::default();
        visit(source, |binding, name| {
            let set = match binding {
                Binding::Undefined => &mut symbols.undefined,
                Binding::UndefinedWeak => &mut symbols.undefined_weak,
                Binding::Defined => &mut symbols.defined,
            };
            set.insert(name.into());
        })?;
        Ok(symbols)
    }
}

/// Calls `each` for every dynamic symbol that is not local, in the file's order.
pub(super) fn visit(source: &Source, mut each: impl FnMut(Binding, &[u8])) -> Result<(), Fault> {
    let mut window = Window::new(source);
    let layout = Layout::read(&mut window)?;
    let Some(table) = layout.value(DT_SYMTAB).and_then(|address| layout.offset(address)) else {
        return Ok(());
    };
    let damaged = || Fault::Damaged("the dynamic symbols");
    let (start, end) = layout.strings().ok_or_else(damaged)?;
    let count = count(&mut window, &layout)?;
    if count > MOST_SYMBOLS || end - start > LARGEST_STRINGS {
        return Err(damaged());
    }
    let mut read = |offset, length: u64| {
        let length = usize::try_from(length).map_err(|_| damaged())?;
        window.exactly(offset, length)?.ok_or_else(damaged)
    };
    let symbols = read(table, count * Sym::size(layout.ctx.container) as u64)?;
    let strings = read(start, end - start)?;
    let count = usize::try_from(count).map_err(|_| damaged())?;
    let table = Symtab::parse(&symbols, 0, count, layout.ctx).map_err(|_| damaged())?;
    let mut rest_of_names = ALL_NAMES;
    for symbol in &table {
        if symbol.st_name == 0 || symbol.st_bind() == STB_LOCAL {
            continue;
        }
        let Some(rest) = strings.get(symbol.st_name..) else {
            continue;
        };
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        rest_of_names = rest_of_names.checked_sub(end).ok_or_else(damaged)?;
        let binding = match (symbol.st_shndx, symbol.st_bind()) {
            (0, STB_WEAK) => Binding::UndefinedWeak,
            (0, _) => Binding::Undefined,
            _ => Binding::Defined,
        };
        if end > 0 {
            each(binding, &rest[..end]);
        }
    }
    Ok(())
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
    let sections = sections(window, layout)?;
    Ok(sections.into_iter().find(|section| section.sh_type == SHT_DYNSYM))
}
