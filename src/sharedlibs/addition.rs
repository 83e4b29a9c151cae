//! What is added to a repository.

use std::fs::File;
use std::io;
use std::path::Path;

use super::LibraryError;
use super::folder::FolderItem;
use super::index::IndexEntry;
use crate::elf::bytes::{FileId, Source};
use crate::elf::object::{Fault, Object};
use crate::rootfs::tree::{Content, Kind, Place, Tree, TreePath};

/// A library or a folder of data.
#[derive(Clone, Debug)]
pub enum Addition {
    /// A file that becomes an object.
    Library(NewLibrary),
    /// A folder that stays together.
    Folder(NewFolder),
}

/// A library to be added.
#[derive(Clone, Debug)]
pub struct NewLibrary {
    /// Where it stands in the guest, without links.
    pub path: TreePath,
    /// Its bytes.
    pub content: Content,
    /// The package it is from; the default where there is none.
    pub provenance: Provenance,
}

/// A folder of data to be added.
#[derive(Clone, Debug)]
pub struct NewFolder {
    /// Where it stands in the guest.
    pub path: TreePath,
    /// What is below it, by path relative to it, sorted; each entry's folder is an entry, too.
    pub items: Vec<(TreePath, FolderItem)>,
    /// The packages it is from.
    pub provenance: Vec<Provenance>,
}

/// Where something is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The Debian package.
    pub package: Option<String>,
    /// The package's version.
    pub version: Option<String>,
    /// The text of its licence: Debian's `/usr/share/doc/PACKAGE/copyright`.
    pub licence: Option<Content>,
}

impl NewLibrary {
    /// What the index says of it. A file that is no ELF file, or a damaged one, has no facts.
    pub(super) fn entry(&self) -> Result<IndexEntry, LibraryError> {
        let object = match object_of(&self.content).map_err(failed(&self.path))? {
            Ok(object) => Some(object),
            Err(Fault::Unreadable(why)) => return Err(failed(&self.path)(io::Error::other(why))),
            Err(_) => None,
        };
        let mut entry = IndexEntry {
            path: self.path.to_string(),
            object: self.content.digest,
            package: self.provenance.package.clone(),
            version: self.provenance.version.clone(),
            length: self.content.length,
            abi: None,
            soname: None,
            needs: Vec::new(),
            provides: Vec::new(),
            build_id: None,
            licence: self.provenance.licence.as_ref().map(|licence| licence.digest),
        };
        if let Some(object) = object {
            let text = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
            entry.abi = Some(object.abi.to_string());
            entry.soname = object.soname.map(text);
            entry.needs = object.needed.into_iter().map(text).collect();
            entry.provides = object.provides.unwrap_or_default();
            entry.build_id = object.build_id;
        }
        Ok(entry)
    }
}

impl NewFolder {
    /// The folder at `path` of `tree`. Links that lead out of it become absolute, for they are
    /// followed from another place then; files with two names become two files. Devices, named
    /// pipes and programs with set-id bits have no place in a repository.
    pub fn of_tree(tree: &Tree, path: &TreePath, provenance: Vec<Provenance>) -> Result<Self, LibraryError> {
        let start = path.as_bytes().len() + 1;
        let mut items = Vec::new();
        for (below, entry) in tree.below(path).filter(|(below, _)| *below != path) {
            let refused = |why: &str| LibraryError::Item {
                path: below.to_string(),
                why: why.to_owned(),
            };
            let executable = entry.mode & 0o111 != 0;
            let item = match &entry.kind {
                Kind::File(_) | Kind::HardLink(_) if entry.mode & 0o6000 != 0 => {
                    return Err(refused("it has set-id bits"));
                }
                Kind::Directory => FolderItem::Folder,
                Kind::File(content) => FolderItem::File {
                    content: content.clone(),
                    executable,
                },
                Kind::HardLink(target) => match tree.get(target).map(|entry| &entry.kind) {
                    Some(Kind::File(content)) => FolderItem::File {
                        content: content.clone(),
                        executable,
                    },
                    _ => return Err(refused("it is a hard link to nothing")),
                },
                Kind::Symlink(target) => FolderItem::Link(kept_inside(below, path, target)),
                Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {
                    return Err(refused("it is neither file, folder nor link"));
                }
            };
            let relative = TreePath::new(&below.as_bytes()[start..]).expect("the rest of a path is a path");
            items.push((relative, item));
        }
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let path = path.clone();
        Ok(Self {
            path,
            items,
            provenance,
        })
    }
}

/// The target of the link at `link`, made absolute where it is relative and leads out of `folder`.
fn kept_inside(link: &TreePath, folder: &TreePath, target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        return target.to_vec();
    }
    let parent = link.parent().unwrap_or(TreePath::root());
    let mut place: Vec<&[u8]> = parent.as_bytes().split(|&byte| byte == b'/').collect();
    let depth = folder.as_bytes().split(|&byte| byte == b'/').count();
    let mut leaves = false;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                place.pop();
            }
            name => place.push(name),
        }
        // Leading out and in again by the folder's own name would not work either.
        leaves |= place.len() < depth;
    }
    if leaves {
        [b"/", place.join(&b'/').as_slice()].concat()
    } else {
        target.to_vec()
    }
}

/// What the dynamic loader reads of `content`.
pub(super) fn object_of(content: &Content) -> io::Result<Result<Object, Fault>> {
    let id = FileId::Path("/".into());
    let span = |path: &Path, start| -> io::Result<Source> {
        let file = File::open(path)?;
        Ok(Source::span(id.clone(), file, start, content.length))
    };
    let source = match &content.place {
        Place::Inline(bytes) => Source::memory(id.clone(), bytes.clone()),
        Place::Span(archive, start) => span(archive, *start)?,
        Place::HostFile(path) => span(path, 0)?,
    };
    Ok(Object::read(&source))
}

fn failed(path: &TreePath) -> impl Fn(io::Error) -> LibraryError {
    let path = path.to_string();
    move |source| LibraryError::Content {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::{Entry, Origin};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn links_that_lead_out_become_absolute() {
        let cases = [
            ("usr/share/m/a", "b", "b"),
            ("usr/share/m/d/a", "../b", "../b"),
            ("usr/share/m/d/a", "../../x/b", "/usr/share/x/b"),
            ("usr/share/m/a", "../m/b", "/usr/share/m/b"),
            ("usr/share/m/a", "../../../../../b", "/b"),
            ("usr/share/m/a", "/etc/b", "/etc/b"),
            ("usr/share/m/a", "./x/./b", "./x/./b"),
        ];
        for (link, target, expected) in cases {
            let kept = kept_inside(&path(link), &path("usr/share/m"), target.as_bytes());
            assert_eq!(String::from_utf8(kept).unwrap(), expected, "{link} -> {target}");
        }
    }

    #[test]
    fn a_folder_takes_files_folders_and_links_only() {
        let mut tree = Tree::default();
        let entry = |kind, mode| Entry::new(kind, mode, 0, Origin::Recipe);
        tree.insert(path("d/f"), entry(Kind::File(Content::inline(&b"f"[..])), 0o755));
        tree.insert(path("d/h"), entry(Kind::HardLink(path("d/f")), 0o644));
        tree.insert(path("d/s/l"), entry(Kind::Symlink(b"../f".to_vec()), 0o777));
        let folder = NewFolder::of_tree(&tree, &path("d"), Vec::new()).unwrap();
        let names: Vec<String> = folder.items.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["/f", "/h", "/s", "/s/l"]);
        assert!(matches!(folder.items[1].1, FolderItem::File { executable: false, .. }));
        for (kind, mode) in [
            (Kind::Fifo, 0o644),
            (Kind::File(Content::inline(&b""[..])), 0o4755),
            (Kind::HardLink(path("none")), 0o644),
        ] {
            tree.insert(path("d/z"), entry(kind, mode));
            let error = NewFolder::of_tree(&tree, &path("d"), Vec::new()).unwrap_err();
            assert!(error.to_string().starts_with("/d/z cannot be"), "{error}");
        }
    }
}
