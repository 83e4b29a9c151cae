//! The listing of a folder of data: what its digest is of, and what it is checked against.
//!
//! ```text
//! hpcvm-folder 1
//! d PATH
//! f LENGTH SHA256 PATH
//! x LENGTH SHA256 PATH          a file that may be executed
//! l PATH -> TARGET
//! ```
//!
//! Paths are relative and sorted by their bytes. In paths and targets, `%`, blanks and what is
//! not printable ASCII are written as `%` and two hexadecimal digits.

use std::fmt::Write as _;

use crate::digest::Digest;
use crate::rootfs::tree::{Content, TreePath};

const HEADER: &str = "hpcvm-folder 1\n";

/// Something in a folder of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderItem {
    /// A folder.
    Folder,
    /// A regular file.
    File {
        /// Its bytes.
        content: Content,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link with its target's bytes.
    Link(Vec<u8>),
}

/// An item as the listing tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Folder,
    File {
        length: u64,
        object: Digest,
        executable: bool,
    },
    Link(Vec<u8>),
}

impl From<&FolderItem> for Listed {
    fn from(item: &FolderItem) -> Self {
        match item {
            FolderItem::Folder => Self::Folder,
            FolderItem::File { content, executable } => Self::File {
                length: content.length,
                object: content.digest,
                executable: *executable,
            },
            FolderItem::Link(target) => Self::Link(target.clone()),
        }
    }
}

/// The digest of a folder with these items, in any order: the same items give the same digest.
#[must_use]
pub fn folder_digest(items: &[(TreePath, FolderItem)]) -> Digest {
    Digest::of(listing(items).as_bytes())
}

/// The listing of these items.
pub(super) fn listing(items: &[(TreePath, FolderItem)]) -> String {
    let mut sorted: Vec<&(TreePath, FolderItem)> = items.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut text = HEADER.to_owned();
    for (path, item) in sorted {
        let path = escape(path.as_bytes());
        // Writing to a string does not fail.
        match item {
            FolderItem::Folder => writeln!(text, "d {path}"),
            FolderItem::File { content, executable } => {
                let kind = if *executable { 'x' } else { 'f' };
                writeln!(text, "{kind} {} {} {path}", content.length, content.digest)
            }
            FolderItem::Link(target) => writeln!(text, "l {path} -> {}", escape(target)),
        }
        .ok();
    }
    text
}

/// Reads a listing; `None` where it is none, is not sorted, or has something outside of the
/// folders that it lists.
pub(super) fn parse(text: &str) -> Option<Vec<(TreePath, Listed)>> {
    let mut items: Vec<(TreePath, Listed)> = Vec::new();
    for line in text.strip_prefix(HEADER)?.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let (path, item) = match kind {
            "d" => (rest, Listed::Folder),
            "f" | "x" => {
                let mut fields = rest.splitn(3, ' ');
                let length = fields.next()?.parse().ok()?;
                let object = fields.next()?.parse().ok()?;
                let executable = kind == "x";
                let file = Listed::File {
                    length,
                    object,
                    executable,
                };
                (fields.next()?, file)
            }
            "l" => {
                let (path, target) = rest.split_once(" -> ")?;
                (path, Listed::Link(unescape(target)?))
            }
            _ => return None,
        };
        let bytes = unescape(path)?;
        let path = TreePath::new(&bytes).ok()?;
        let in_order = items.last().is_none_or(|(last, _)| *last < path);
        if bytes != path.as_bytes() || bytes.is_empty() || !in_order || !stands_in_a_folder(&items, &path) {
            return None;
        }
        items.push((path, item));
    }
    Some(items)
}

/// Whether the folder that `path` stands in is one of `items`, or the listed folder itself.
fn stands_in_a_folder(items: &[(TreePath, Listed)], path: &TreePath) -> bool {
    let Some(parent) = path.parent().filter(|parent| !parent.as_bytes().is_empty()) else {
        return true;
    };
    let found = items.binary_search_by(|(candidate, _)| candidate.cmp(&parent));
    found.is_ok_and(|place| items[place].1 == Listed::Folder)
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02x}").ok();
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn file(text: &str, executable: bool) -> FolderItem {
        let content = Content::inline(text.as_bytes());
        FolderItem::File { content, executable }
    }

    #[test]
    fn a_listing_is_read_as_it_was_written() {
        let mut items = vec![
            (path("z é\n"), file("z", false)),
            (path("a"), FolderItem::Folder),
            (path("a/run"), file("#!", true)),
            (path("a/to"), FolderItem::Link(b"../z -> %".to_vec())),
        ];
        let text = listing(&items);
        let digest = Digest::of(b"#!");
        assert!(text.contains(&format!("\nx 2 {digest} a/run\n")), "{text}");
        let read = parse(&text).unwrap();
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let expected: Vec<(TreePath, Listed)> = items.iter().map(|(p, item)| (p.clone(), item.into())).collect();
        assert_eq!(read, expected);
        let digest = folder_digest(&items);
        items.reverse();
        assert_eq!(folder_digest(&items), digest);
        items[0].1 = file("z", true);
        assert_ne!(folder_digest(&items), digest, "the x-bit counts");
    }

    #[test]
    fn a_listing_cannot_lead_out() {
        let digest = Digest::of(b"");
        let file = |name: &str| format!("f 0 {digest} {name}\n");
        let cases = [
            file("../a"),
            file("a/../../b"),
            file("/a"),
            file("a"),
            "d a\nd a\n".to_owned(),
            "d b\nd a\n".to_owned(),
            "d \n".to_owned(),
            "q a\n".to_owned(),
            "l a\n".to_owned(),
            format!("l a -> /etc\n{}", file("a/b")),
            format!("f -1 {digest} a\n"),
            "f 0 00 a\n".to_owned(),
            "d a%0\n".to_owned(),
            "d a%2e%2e/\n".to_owned(),
        ];
        for (number, case) in cases.iter().enumerate() {
            let parsed = parse(&format!("{HEADER}{case}"));
            assert_eq!(parsed.is_some(), number == 3, "{case}");
        }
        assert!(parse("d a\n").is_none());
    }

    proptest! {
        #[test]
        fn no_listing_makes_reading_fail(text in "(hpcvm-folder 1\n)?([dfxl] [a-c/.%0-9>-]{0,12}\n){0,4}") {
            parse(&text);
        }
    }
}
