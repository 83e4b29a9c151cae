//! `/etc/ld.so.cache`: the table of libraries that `ldconfig` leaves for the loader.
//!
//! Format: glibc sysdeps/generic/dl-cache.h, "glibc-ld.so.cache1.1", alone or behind a table of
//! the older format (glibc before 2.32).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::abi::Abi;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Where the header tells the place of the extensions.
const EXTENSION_FIELD: usize = 32;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// The extension that lists the names of `glibc-hwcaps` folders.
const EXTENSION_HWCAPS: u32 = 1;
/// Set in an entry's `hwcap` where its low half numbers a `glibc-hwcaps` folder.
const HWCAP_EXTENSION: u64 = 1 << 62;

/// `FLAG_ELF_LIBC6` alone: a 32-bit library of x86 that needs glibc.
pub(crate) const LIBC6: u32 = 3;
/// `FLAG_ELF`: a library that needs no C library at all; it fits where [`LIBC6`] does.
pub(crate) const ANY_LIBC: u32 = 1;

/// Folders for processors that `ldconfig` of glibc 2.36 and earlier lists and Debian has for 32-bit
/// x86, by the bits of their entries (dl-procinfo.h: `HWCAP_X86_SSE2`; platforms from bit 48 on, `i686`
/// is the second). Every guest's processor has both.
pub(crate) const LEGACY_FOLDERS: [(&str, u64); 2] = [("i686", 1 << 49), ("sse2", 1)];

/// The largest cache that is read; one of a full desktop has 200 KiB.
pub const LARGEST: usize = 64 * 1024 * 1024;

/// One library of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    flags: u32,
    /// Older hardware capabilities, as bits; 0 for a file that fits every processor.
    hwcap: u64,
    /// The `glibc-hwcaps` folder it is for, such as `x86-64-v3`.
    level: Option<String>,
    path: PathBuf,
}

/// The cache's libraries by soname, in the cache's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    entries: HashMap<OsString, Vec<Entry>>,
}

impl Cache {
    /// Reads a cache file. `None` for what is no cache or is damaged: `ld.so` then does as if
    /// there were none.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let cache = if file.starts_with(OLD_MAGIC) {
            let count = usize::try_from(number(file, 12)?).ok()?;
            let end = count.checked_mul(OLD_ENTRY)?.checked_add(OLD_HEADER)?;
            file.get(end.checked_next_multiple_of(8)?..)?
        } else {
            file
        };
        if !cache.starts_with(MAGIC) {
            return None;
        }
        let levels = levels(cache);
        let count = usize::try_from(number(cache, MAGIC.len())?).ok()?;
        let end = count.checked_mul(ENTRY)?.checked_add(HEADER)?;
        let table = cache.get(HEADER..end)?;
        let mut entries: HashMap<OsString, Vec<Entry>> = HashMap::new();
        for row in table.chunks_exact(ENTRY) {
            let hwcap = u64::from(number(row, 16)?) | u64::from(number(row, 20)?) << 32;
            let level = match hwcap & HWCAP_EXTENSION {
                0 => None,
                _ => Some(levels.get(usize::try_from(hwcap & 0xffff_ffff).ok()?)?.clone()),
            };
            let name = string(cache, number(row, 4)?)?;
            entries.entry(name).or_default().push(Entry {
                flags: number(row, 0)?,
                hwcap,
                level,
                path: string(cache, number(row, 8)?)?.into(),
            });
        }
        Some(Self { entries })
    }

    /// Where the library `name` is for programs of `abi`: in the best of the `levels`, which are
    /// in order of preference, else in the first folder that asks for no older capabilities but
    /// those in `hwcaps`; the cache has the most demanding ones first.
    #[must_use]
    pub fn find(&self, name: &OsStr, abi: Abi, levels: &[&str], hwcaps: u64) -> Option<PathBuf> {
        let fitting = || {
            let entries = self.entries.get(name).into_iter().flatten();
            entries.filter(move |entry| abi.takes_cache_flags(entry.flags))
        };
        let best = levels
            .iter()
            .find_map(|level| fitting().find(|entry| entry.level.as_deref() == Some(*level)));
        let plain = || fitting().find(|entry| entry.level.is_none() && entry.hwcap & !hwcaps == 0);
        best.or_else(plain).map(|entry| entry.path.clone())
    }

    /// How many sonames it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The number at `offset`. Caches of big-endian machines are not read: no guest is one.
fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// Longest path that Linux opens.
const PATH_MAX: usize = 4096;

fn string(cache: &[u8], offset: u32) -> Option<OsString> {
    let rest = cache.get(usize::try_from(offset).ok()?..)?;
    let rest = &rest[..rest.len().min(PATH_MAX)];
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(OsString::from_vec(rest[..end].to_vec()))
}

/// The names of `glibc-hwcaps` folders that entries refer to; none in older caches.
fn levels(cache: &[u8]) -> Vec<String> {
    let read = || {
        let start = usize::try_from(number(cache, EXTENSION_FIELD)?).ok()?;
        if start == 0 || number(cache, start)? != EXTENSION_MAGIC {
            return None;
        }
        let sections = usize::try_from(number(cache, start + 4)?).ok()?;
        let table = cache.get(start + 8..)?;
        let section = table
            .chunks_exact(16)
            .take(sections)
            .find(|section| number(section, 0) == Some(EXTENSION_HWCAPS))?;
        let offset = usize::try_from(number(section, 8)?).ok()?;
        let length = usize::try_from(number(section, 12)?).ok()?;
        let names = cache.get(offset..offset.checked_add(length)?)?;
        names
            .chunks_exact(4)
            .map(|word| string(cache, number(word, 0)?)?.into_string().ok())
            .collect::<Option<Vec<String>>>()
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use goblin::elf::header::{EM_386, EM_X86_64};

    use super::super::abi::Class;
    use super::*;

    fn abi(machine: u16, class: Class) -> Abi {
        Abi {
            class,
            machine,
            little_endian: true,
        }
    }

    /// A cache file of (flags, hwcap, soname, path), with these `glibc-hwcaps` names.
    fn cache(rows: &[(u32, u64, &str, &str)], names: &[&str]) -> Vec<u8> {
        let word = |length: usize| u32::try_from(length).unwrap();
        let strings_start = HEADER + rows.len() * ENTRY;
        let mut strings: Vec<u8> = Vec::new();
        let mut intern = |text: &str| {
            let offset = word(strings_start + strings.len());
            strings.extend(text.bytes().chain([0]));
            offset
        };
        let mut table = Vec::new();
        for (flags, hwcap, name, path) in rows {
            for word in [*flags, intern(name), intern(path), 0] {
                table.extend(word.to_le_bytes());
            }
            table.extend(hwcap.to_le_bytes());
        }
        let names: Vec<u32> = names.iter().map(|name| intern(name)).collect();
        strings.resize(strings.len().next_multiple_of(4), 0);
        let extension = word(strings_start + strings.len());
        let mut file = MAGIC.to_vec();
        for word in [word(rows.len()), word(strings.len()), 2, extension, 0, 0, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(table);
        file.extend(strings);
        let list = extension + 24;
        for word in [EXTENSION_MAGIC, 1, EXTENSION_HWCAPS, 0, list, word(names.len() * 4)] {
            file.extend(word.to_le_bytes());
        }
        file.extend(names.iter().flat_map(|name| name.to_le_bytes()));
        file
    }

    fn example() -> Vec<u8> {
        let rows = [
            (
                0x0303,
                HWCAP_EXTENSION,
                "libx.so.1",
                "/lib64/glibc-hwcaps/x86-64-v2/libx.so.1",
            ),
            (
                0x0303,
                HWCAP_EXTENSION + 1,
                "libx.so.1",
                "/lib64/glibc-hwcaps/x86-64-v3/libx.so.1",
            ),
            (0x0303, 4, "libx.so.1", "/lib64/avx/libx.so.1"),
            (0x0303, 0, "libx.so.1", "/lib64/libx.so.1"),
            (0x0003, 0, "libx.so.1", "/lib/libx.so.1"),
        ];
        cache(&rows, &["x86-64-v2", "x86-64-v3"])
    }

    #[test]
    fn the_best_fitting_library_is_found() {
        let old = [
            OLD_MAGIC,
            b"\0",
            &1_u32.to_le_bytes(),
            &[0; OLD_ENTRY],
            &[0; 4],
            &example(),
        ]
        .concat();
        let amd64 = abi(EM_X86_64, Class::Elf64);
        for file in [example(), old] {
            let cache = Cache::parse(&file).unwrap();
            let find = |name: &str, abi, levels: &[&str]| cache.find(name.as_ref(), abi, levels, 0);
            assert_eq!(find("libx.so.1", amd64, &[]), Some("/lib64/libx.so.1".into()));
            assert_eq!(
                find("libx.so.1", amd64, &["x86-64-v3", "x86-64-v2"]),
                Some("/lib64/glibc-hwcaps/x86-64-v3/libx.so.1".into())
            );
            assert_eq!(
                find("libx.so.1", abi(EM_386, Class::Elf32), &[]),
                Some("/lib/libx.so.1".into())
            );
            assert_eq!(find("liby.so.1", amd64, &[]), None);
            let older = cache.find("libx.so.1".as_ref(), amd64, &[], 4);
            assert_eq!(older, Some("/lib64/avx/libx.so.1".into()));
        }
    }

    #[test]
    fn damage_is_found_and_never_fatal() {
        let file = example();
        for length in 0..file.len() {
            let _ = Cache::parse(&file[..length]);
        }
        assert_eq!(Cache::parse(&file[..HEADER + 2 * ENTRY]), None);
        assert_eq!(Cache::parse(b"nonsense"), None);
        for place in 0..file.len() {
            let mut broken = file.clone();
            broken[place] ^= 0xff;
            let _ = Cache::parse(&broken);
        }
    }
}
