//! A tree on disk: one line per entry, contents left in their archives.
//!
//! ```text
//! hpcvm-tree 1
//! A PATH SIZE                                   an archive that contents stand in
//! O KIND NAME                                   an origin
//! E KIND MODE UID GID MTIME ORIGIN PATH ...     an entry; what follows depends on its kind
//! = DIGEST                                      of all lines above
//! ```
//! Fields are parted by tabs; bytes other than printable ASCII are written `%xx`. Reading checks
//! the digest, and that every archive has the size it had.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RootfsError;
use super::error::reading;
use super::tree::{Content, Entry, Kind, Origin, Place, Tree, TreePath};
use crate::digest::Digest;
use crate::durable;

const HEADER: &str = "hpcvm-tree 1\n";

/// Writes `tree` to the file at `path`, whole or not at all.
pub fn save(tree: &Tree, path: &Path) -> Result<(), RootfsError> {
    let mut text = encode(tree)?;
    let digest = Digest::of(text.as_bytes());
    let _ = writeln!(text, "=\t{digest}");
    Ok(durable::write(path, text.as_bytes())?)
}

/// Reads what [`save`] wrote; `None` when it is not there, damaged, or its archives changed.
#[must_use]
pub fn load(path: &Path) -> Option<Tree> {
    let text = fs::read_to_string(path).ok()?;
    let (body, last) = text.trim_end_matches('\n').rsplit_once('\n')?;
    let digest: Digest = last.strip_prefix("=\t")?.parse().ok()?;
    let body = &text[..=body.len()];
    (Digest::of(body.as_bytes()) == digest).then(|| decode(body))?
}

/// The archives that the index at `path` names, as far as it can be read.
#[must_use]
pub fn archives(path: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let field = |line: &str| unescape(line.strip_prefix("A\t")?.split('\t').next()?);
    text.lines()
        .filter_map(field)
        .map(|bytes| OsStr::from_bytes(&bytes).into())
        .collect()
}

fn encode(tree: &Tree) -> Result<String, RootfsError> {
    let mut archives: BTreeMap<Arc<Path>, usize> = BTreeMap::new();
    let mut origins: BTreeMap<Origin, usize> = BTreeMap::new();
    for (_, entry) in tree.iter() {
        origins.entry(entry.origin.clone()).or_default();
        if let Kind::File(Content {
            place: Place::Span(archive, _),
            ..
        }) = &entry.kind
        {
            archives.entry(archive.clone()).or_default();
        }
    }
    let mut text = String::from(HEADER);
    for (number, (archive, index)) in archives.iter_mut().enumerate() {
        *index = number;
        let size = fs::metadata(archive).map_err(reading(&**archive))?.len();
        let _ = writeln!(text, "A\t{}\t{size}", escape(archive.as_os_str().as_bytes()));
    }
    for (number, (origin, index)) in origins.iter_mut().enumerate() {
        *index = number;
        let (kind, name) = match origin {
            Origin::Package(name) => ("package", &**name),
            Origin::Overlay(name) => ("overlay", &**name),
            Origin::Recipe => ("recipe", ""),
            Origin::Bootstrap => ("bootstrap", ""),
        };
        let _ = writeln!(text, "O\t{kind}\t{}", escape(name.as_bytes()));
    }
    for (path, entry) in tree.iter() {
        let (kind, rest) = encode_kind(&entry.kind, &archives)?;
        let (path, origin) = (escape(path.as_bytes()), origins[&entry.origin]);
        let (mode, uid, gid, mtime) = (entry.mode, entry.uid, entry.gid, entry.mtime);
        let _ = writeln!(
            text,
            "E\t{kind}\t{mode:o}\t{uid}\t{gid}\t{mtime}\t{origin}\t{path}{rest}"
        );
    }
    Ok(text)
}

fn encode_kind(kind: &Kind, archives: &BTreeMap<Arc<Path>, usize>) -> Result<(char, String), RootfsError> {
    Ok(match kind {
        Kind::Directory => ('d', String::new()),
        Kind::Symlink(target) => ('l', format!("\t{}", escape(target))),
        Kind::HardLink(target) => ('h', format!("\t{}", escape(target.as_bytes()))),
        Kind::CharDevice(major, minor) => ('c', format!("\t{major}\t{minor}")),
        Kind::BlockDevice(major, minor) => ('b', format!("\t{major}\t{minor}")),
        Kind::Fifo => ('p', String::new()),
        Kind::File(content) => match &content.place {
            Place::Span(archive, offset) => {
                let (length, digest) = (content.length, content.digest);
                ('f', format!("\t{length}\t{digest}\t{}\t{offset}", archives[archive]))
            }
            Place::Inline(bytes) => ('i', format!("\t{}", escape(bytes))),
            Place::HostFile(path) => ('i', format!("\t{}", escape(&content.read().map_err(reading(path))?))),
        },
    })
}

fn decode(body: &str) -> Option<Tree> {
    let mut archives: Vec<Arc<Path>> = Vec::new();
    let mut origins: Vec<Origin> = Vec::new();
    let mut tree = Tree::default();
    for line in body.strip_prefix(HEADER)?.lines() {
        let mut fields = line.split('\t');
        match fields.next()? {
            "A" => {
                let path = PathBuf::from(OsStr::from_bytes(&unescape(fields.next()?)?));
                let size: u64 = fields.next()?.parse().ok()?;
                if fs::metadata(&path).ok()?.len() != size {
                    return None;
                }
                archives.push(path.into());
            }
            "O" => {
                let kind = fields.next()?;
                let name = String::from_utf8(unescape(fields.next()?)?).ok()?;
                origins.push(match kind {
                    "package" => Origin::Package(name.into()),
                    "overlay" => Origin::Overlay(name.into()),
                    "recipe" => Origin::Recipe,
                    "bootstrap" => Origin::Bootstrap,
                    _ => return None,
                });
            }
            "E" => {
                let (path, entry) = decode_entry(&mut fields, &archives, &origins)?;
                tree.insert(path, entry);
            }
            _ => return None,
        }
    }
    Some(tree)
}

fn decode_entry<'a>(
    fields: &mut impl Iterator<Item = &'a str>,
    archives: &[Arc<Path>],
    origins: &[Origin],
) -> Option<(TreePath, Entry)> {
    let kind = fields.next()?;
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (uid, gid) = (number(fields)?, number(fields)?);
    let mtime = fields.next()?.parse().ok()?;
    let origin = origins.get(fields.next()?.parse::<usize>().ok()?)?.clone();
    let path = TreePath::new(&unescape(fields.next()?)?).ok()?;
    let kind = match kind {
        "d" => Kind::Directory,
        "l" => Kind::Symlink(unescape(fields.next()?)?),
        "h" => Kind::HardLink(TreePath::new(&unescape(fields.next()?)?).ok()?),
        "c" => Kind::CharDevice(number(fields)?, number(fields)?),
        "b" => Kind::BlockDevice(number(fields)?, number(fields)?),
        "p" => Kind::Fifo,
        "i" => Kind::File(Content::inline(unescape(fields.next()?)?)),
        "f" => {
            let length = fields.next()?.parse().ok()?;
            let digest = fields.next()?.parse().ok()?;
            let archive = archives.get(fields.next()?.parse::<usize>().ok()?)?;
            let offset = fields.next()?.parse().ok()?;
            let place = Place::Span(archive.clone(), offset);
            Kind::File(Content { length, digest, place })
        }
        _ => return None,
    };
    let entry = Entry {
        kind,
        mode,
        uid,
        gid,
        mtime,
        origin,
    };
    Some((path, entry))
}

fn number<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<u32> {
    fields.next()?.parse().ok()
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(archive: &Path) -> Tree {
        let mut tree = Tree::default();
        let place = Place::Span(archive.into(), 2);
        let digest = Digest::of(b"cde");
        let content = Content {
            length: 3,
            digest,
            place,
        };
        let link = Kind::HardLink(TreePath::new(b"etc/f").unwrap());
        let kinds = [
            ("etc/f", Kind::File(content)),
            ("etc/i", Kind::File(Content::inline(&b"a\tb\n%\xff"[..]))),
            ("etc/z\u{e9}\n", Kind::Symlink(b"../ x".to_vec())),
            ("etc/h", link),
            ("dev/c", Kind::CharDevice(5, 1)),
            ("dev/p", Kind::Fifo),
        ];
        for (path, kind) in kinds {
            let origin = Origin::Package("base files".into());
            tree.insert(
                TreePath::new(path.as_bytes()).unwrap(),
                Entry::new(kind, 0o4755, 12, origin),
            );
        }
        tree
    }

    #[test]
    fn a_tree_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, index) = (folder.path().join("a.tar"), folder.path().join("x.index"));
        fs::write(&archive, b"abcdef").unwrap();
        let tree = sample(&archive);
        save(&tree, &index).unwrap();
        assert_eq!(load(&index), Some(tree));
        assert_eq!(archives(&index), [archive.as_path()]);
        fs::write(&archive, b"abcde").unwrap();
        assert_eq!(load(&index), None, "an archive of another size");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, index) = (folder.path().join("a.tar"), folder.path().join("x.index"));
        fs::write(&archive, b"abcdef").unwrap();
        save(&sample(&archive), &index).unwrap();
        let whole = fs::read(&index).unwrap();
        for place in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&index, &bytes).unwrap();
            assert_eq!(load(&index), None, "byte {place}");
        }
        fs::write(&index, b"").unwrap();
        assert_eq!(load(&index), None);
    }

    proptest! {
        #[test]
        fn escaping_is_undone(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }
    }
}
