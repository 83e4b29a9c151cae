//! An uncompressed tar archive as tree entries whose contents stay in the archive.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::RootfsError;
use super::tree::{Content, Entry, Kind, Origin, Place, Tree, TreePath};
use crate::digest::{Digest, Hasher};

/// How much of a file is read at once.
const BLOCK: u64 = 256 * 1024;

/// The entries of the archive at `path`, in its order, all from `origin`. Contents are digested
/// on all processors. Extended attributes and access times are ignored.
pub fn entries(path: &Path, origin: &Origin) -> Result<Vec<(TreePath, Entry)>, RootfsError> {
    let failed = |source| RootfsError::Archive {
        path: path.to_owned(),
        source,
    };
    let shared: Arc<Path> = path.into();
    let mut archive = tar::Archive::new(File::open(path).map_err(failed)?);
    let mut found = Vec::new();
    for member in archive.entries_with_seek().map_err(failed)? {
        let member = member.map_err(failed)?;
        let place = TreePath::new(&member.path_bytes())?;
        let kind = kind(&member, &shared).map_err(failed)?;
        if let Some(kind) = kind {
            found.push((place, entry(&member, kind, origin).map_err(failed)?));
        }
    }
    let file = File::open(path).map_err(failed)?;
    let contents = found.par_iter_mut().filter_map(|(_, entry)| match &mut entry.kind {
        Kind::File(content) => Some(content),
        _ => None,
    });
    contents
        .try_for_each(|content| digest(&file, content))
        .map_err(failed)?;
    Ok(found)
}

/// Fails unless every hard link of `tree` names a regular file of it, as [`Kind::HardLink`] demands.
pub fn check_links(tree: &Tree) -> Result<(), RootfsError> {
    for (path, entry) in tree.iter() {
        if let Kind::HardLink(target) = &entry.kind
            && !matches!(tree.get(target).map(|entry| &entry.kind), Some(Kind::File(_)))
        {
            return Err(RootfsError::Malformed {
                what: format!("hard link {path}"),
                why: format!("{target} is no regular file"),
            });
        }
    }
    Ok(())
}

fn entry<R: io::Read>(member: &tar::Entry<'_, R>, kind: Kind, origin: &Origin) -> io::Result<Entry> {
    let header = member.header();
    let number = |value: u64| u32::try_from(value).map_err(|_| io::Error::other("an owner above 2^32"));
    Ok(Entry {
        kind,
        mode: header.mode()? & 0o7777,
        uid: number(header.uid()?)?,
        gid: number(header.gid()?)?,
        mtime: header.mtime()?,
        origin: origin.clone(),
    })
}

/// What a member is; `None` for members that only describe others.
fn kind<R: io::Read>(member: &tar::Entry<'_, R>, archive: &Arc<Path>) -> io::Result<Option<Kind>> {
    let header = member.header();
    let target = || {
        let name = member.link_name_bytes();
        name.map(std::borrow::Cow::into_owned)
            .ok_or_else(|| io::Error::other("a link without target"))
    };
    let device = || Ok::<_, io::Error>((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)));
    Ok(Some(match header.entry_type() {
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Regular | tar::EntryType::Continuous => Kind::File(Content {
            length: member.size(),
            digest: Digest::of(b""),
            place: Place::Span(archive.clone(), member.raw_file_position()),
        }),
        tar::EntryType::Symlink => Kind::Symlink(target()?),
        tar::EntryType::Link => Kind::HardLink(TreePath::new(&target()?).map_err(io::Error::other)?),
        tar::EntryType::Char => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        tar::EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        tar::EntryType::Fifo => Kind::Fifo,
        tar::EntryType::XGlobalHeader => return Ok(None),
        other => return Err(io::Error::other(format!("member type {other:?} is not supported"))),
    }))
}

/// Fills in the digest of a content that stands in `file`.
fn digest(file: &File, content: &mut Content) -> io::Result<()> {
    let Place::Span(_, mut offset) = content.place else {
        return Ok(());
    };
    let end = offset + content.length;
    let mut hasher = Hasher::default();
    let mut block = vec![0; usize::try_from(BLOCK.min(content.length)).expect("a block fits memory")];
    while offset < end {
        let want = usize::try_from((end - offset).min(BLOCK)).expect("a block fits memory");
        file.read_exact_at(&mut block[..want], offset)?;
        hasher.write_all(&block[..want])?;
        offset += want as u64;
    }
    content.digest = hasher.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        let mut add = |name: &str, kind: tar::EntryType, link: &str, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o100_755);
            header.set_uid(7);
            header.set_gid(8);
            header.set_mtime(9);
            header.set_size(data.len() as u64);
            if link.is_empty() {
                builder.append_data(&mut header, name, data).unwrap();
            } else {
                builder.append_link(&mut header, name, link).unwrap();
            }
        };
        add("./usr/", tar::EntryType::Directory, "", b"");
        add(
            &format!("./usr/{}", "n".repeat(150)),
            tar::EntryType::Regular,
            "",
            &vec![5; 600_000],
        );
        add("./usr/b", tar::EntryType::Regular, "", b"bee");
        add("./usr/c", tar::EntryType::Link, "./usr/b", b"");
        add("./usr/d", tar::EntryType::Symlink, "../x", b"");
        builder.finish().unwrap();
        path
    }

    #[test]
    fn members_become_entries() {
        let folder = tempfile::tempdir().unwrap();
        let read = entries(&archive(folder.path()), &Origin::Bootstrap).unwrap();
        let names: Vec<String> = read.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names[2..], ["/usr/b", "/usr/c", "/usr/d"]);
        assert_eq!(
            (read[2].1.uid, read[2].1.gid, read[2].1.mtime, read[2].1.mode),
            (7, 8, 9, 0o755)
        );
        for (index, bytes) in [(1, vec![5; 600_000]), (2, b"bee".to_vec())] {
            let Kind::File(content) = &read[index].1.kind else {
                panic!()
            };
            assert_eq!(content.read().unwrap(), bytes);
            assert_eq!(content.digest, Digest::of(&bytes));
        }
        assert_eq!(read[3].1.kind, Kind::HardLink(TreePath::new(b"usr/b").unwrap()));
        assert_eq!(read[4].1.kind, Kind::Symlink(b"../x".to_vec()));
    }

    #[test]
    fn a_hard_link_to_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        for (path, entry) in entries(&archive(folder.path()), &Origin::Bootstrap).unwrap() {
            tree.insert(path, entry);
        }
        check_links(&tree).unwrap();
        let lost = Kind::HardLink(TreePath::new(b"usr/none").unwrap());
        let entry = Entry::new(lost, 0o644, 0, Origin::Bootstrap);
        tree.insert(TreePath::new(b"usr/e").unwrap(), entry);
        let error = check_links(&tree).unwrap_err().to_string();
        assert!(error.contains("/usr/e") && error.contains("/usr/none"), "{error}");
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = archive(folder.path());
        for length in [100, 700, 300_000] {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(length).unwrap();
            let error = entries(&path, &Origin::Bootstrap).unwrap_err();
            assert!(matches!(error, RootfsError::Archive { .. }), "{length}: {error}");
            archive(folder.path());
        }
    }
}
