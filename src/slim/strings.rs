//! The string table of `ld.so.cache`: sorted so that a string which ends another one is not
//! stored again (glibc elf/stringtable.c).

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// Strings in one run of bytes, each ended by NUL.
#[derive(Debug)]
pub(super) struct StringTable {
    bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
}

impl StringTable {
    /// The table of these strings, each once.
    pub(super) fn new<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut sorted: Vec<&[u8]> = strings.collect::<BTreeSet<_>>().into_iter().collect();
        sorted.sort_by(|a, b| from_the_end(a, b));
        let mut table = Self {
            bytes: Vec::new(),
            offsets: HashMap::new(),
        };
        let mut before: &[u8] = b"";
        for string in sorted {
            if table.bytes.is_empty() || !before.ends_with(string) {
                table.bytes.extend_from_slice(string);
                table.bytes.push(0);
            }
            let offset = table.bytes.len() - 1 - string.len();
            let offset = u32::try_from(offset).expect("a tree's names do not fill 4 GiB");
            table.offsets.insert(string.to_vec(), offset);
            before = string;
        }
        table
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where `string`, one of those given, begins.
    pub(super) fn offset(&self, string: &[u8]) -> u32 {
        self.offsets[string]
    }
}

/// Compares from the last byte on, the greater first; of two that end alike, the longer is first.
fn from_the_end(a: &[u8], b: &[u8]) -> Ordering {
    let pairs = a.iter().rev().zip(b.iter().rev());
    let differing = pairs.map(|(a, b)| b.cmp(a)).find(|order| order.is_ne());
    differing.unwrap_or_else(|| b.len().cmp(&a.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_another_string_is_not_stored_again() {
        let strings = [
            "libz.so.1",
            "/lib/libz.so.1",
            "/usr/lib/libz.so.1",
            "libc.so.6",
            "z.so.1",
        ];
        let table = StringTable::new(strings.iter().map(|text| text.as_bytes()));
        for string in strings {
            let start = table.offset(string.as_bytes()) as usize;
            assert_eq!(&table.bytes()[start..start + string.len()], string.as_bytes());
            assert_eq!(table.bytes()[start + string.len()], 0);
        }
        assert_eq!(table.bytes(), b"libc.so.6\0/usr/lib/libz.so.1\0");
        assert!(StringTable::new(std::iter::empty()).bytes().is_empty());
    }
}
