//! Notes of an ELF file: its build id, and the libraries it loads by `dlopen` when it can.

use goblin::container::Ctx;
use goblin::elf::note::{NT_GNU_BUILD_ID, NoteDataIterator};
use serde::{Deserialize, Serialize};

/// `NT_FDO_DLOPEN_METADATA` of UAPI.12, owner `FDO`.
const FDO_DLOPEN: u32 = 0x407c_0c0a;

/// How much a program misses a library that it loads by `dlopen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// It does not work without.
    Required,
    /// A feature that most want does not work without.
    #[default]
    Recommended,
    /// A feature that few want does not work without.
    Suggested,
}

/// One `dlopen` dependency (UAPI.12, "ELF `dlopen()` metadata").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dlopen {
    /// Names that are tried in turn; the first that is found is used.
    pub soname: Vec<String>,
    /// What it is for, in one word.
    #[serde(default)]
    pub feature: Option<String>,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// How much it is missed.
    #[serde(default)]
    pub priority: Priority,
}

/// What the notes of a file tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Build id in hexadecimal.
    pub(super) build_id: Option<String>,
    pub(super) dlopen: Vec<Dlopen>,
}

impl Notes {
    /// Adds what one note segment tells. Notes do not decide how a program is loaded, so that a
    /// damaged one is passed over.
    pub(super) fn add(&mut self, data: &[u8], align: u64, ctx: Ctx) {
        let alignment = if align == 8 { 8 } else { 4 };
        let notes = NoteDataIterator {
            data,
            size: data.len(),
            offset: 0,
            ctx: (alignment, ctx),
        };
        for note in notes.map_while(Result::ok) {
            match (note.name, note.n_type) {
                ("GNU", NT_GNU_BUILD_ID) => {
                    let bytes: Vec<String> = note.desc.iter().map(|byte| format!("{byte:02x}")).collect();
                    self.build_id = Some(bytes.concat());
                }
                ("FDO", FDO_DLOPEN) => self.dlopen.extend(dlopen(note.desc)),
                _ => {}
            }
        }
    }
}

/// The entries of one note; those that are not understood are left out.
fn dlopen(json: &[u8]) -> Vec<Dlopen> {
    // The text may be ended by NULs that pad the note.
    let end = json.iter().position(|&byte| byte == 0).unwrap_or(json.len());
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&json[..end]).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| serde_json::from_value(entry).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use goblin::container::{Container, Endian};

    use super::*;

    fn note(owner: &str, number: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for length in [owner.len() + 1, content.len()] {
            note.extend(u32::try_from(length).unwrap().to_le_bytes());
        }
        note.extend(number.to_le_bytes());
        for part in [[owner.as_bytes(), b"\0"].concat(), content.to_vec()] {
            note.extend(&part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn notes_are_read_one_after_the_other() {
        let json = br#"[{"soname":["libidn2.so.0","libidn2.so.1"],"feature":"idn","priority":"suggested"},
                        {"soname":["libz.so.1"]}, {"soname":7}, {"soname":["x"],"priority":"odd"}]"#;
        let data = [
            note("GNU", NT_GNU_BUILD_ID, &[0xab, 0x01]),
            note("FDO", FDO_DLOPEN, json),
        ]
        .concat();
        let mut notes = Notes::default();
        notes.add(&data, 4, Ctx::new(Container::Little, Endian::Little));
        assert_eq!(notes.build_id.as_deref(), Some("ab01"));
        let expected = [
            (vec!["libidn2.so.0", "libidn2.so.1"], Priority::Suggested),
            (vec!["libz.so.1"], Priority::Recommended),
        ];
        let found: Vec<_> = notes.dlopen.iter().map(|d| (d.soname.clone(), d.priority)).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        for ((sonames, priority), expected) in found.into_iter().zip(expected) {
            assert_eq!(
                (sonames, priority),
                (expected.0.iter().map(|s| (*s).into()).collect(), expected.1)
            );
        }
    }

    #[test]
    fn a_damaged_note_ends_the_reading() {
        let mut data = note("GNU", NT_GNU_BUILD_ID, &[1, 2, 3, 4]);
        data.extend([0xff; 12]);
        let mut notes = Notes::default();
        notes.add(&data, 4, Ctx::new(Container::Little, Endian::Little));
        assert_eq!(notes.build_id.as_deref(), Some("01020304"));
    }
}
