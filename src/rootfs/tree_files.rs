//! A tree as the file system of an ELF scan: nothing is unpacked for it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use super::tree::{Kind, Place, Tree, TreePath};
use crate::elf::bytes::{FileId, Source};
use crate::elf::file_system::FileSystem;

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// `path` in the tree without links; `..` leads to the folder above the real one.
fn resolve(tree: &Tree, path: &Path) -> io::Result<TreePath> {
    let mut here = TreePath::root();
    for component in path.components() {
        here = match component {
            Component::Normal(name) => {
                let joined = [here.as_bytes(), b"/", name.as_bytes()].concat();
                let joined = TreePath::new(&joined).map_err(io::Error::other)?;
                tree.resolve(&joined).ok_or_else(not_found)?
            }
            Component::ParentDir => here.parent().unwrap_or(TreePath::root()),
            _ => here,
        };
    }
    if here != TreePath::root() && tree.get(&here).is_none() {
        return Err(not_found());
    }
    Ok(here)
}

fn absolute(path: &TreePath) -> PathBuf {
    OsString::from_vec([b"/", path.as_bytes()].concat()).into()
}

impl FileSystem for Tree {
    fn open(&self, path: &Path) -> io::Result<Source> {
        let mut real = resolve(self, path)?;
        if let Some(Kind::HardLink(target)) = self.get(&real).map(|entry| &entry.kind) {
            real = target.clone();
        }
        let Some(Kind::File(content)) = self.get(&real).map(|entry| &entry.kind) else {
            return Err(not_found());
        };
        let id = FileId::Path(absolute(&real));
        Ok(match &content.place {
            Place::Inline(bytes) => Source::memory(id, bytes.clone()),
            Place::Span(archive, start) => Source::span(id, File::open(archive)?, *start, content.length),
            Place::HostFile(file) => Source::span(id, File::open(file)?, 0, content.length),
        })
    }

    fn is_folder(&self, path: &Path) -> bool {
        resolve(self, path).is_ok_and(|real| {
            real == TreePath::root() || matches!(self.get(&real).map(|entry| &entry.kind), Some(Kind::Directory))
        })
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        resolve(self, path).map(|real| absolute(&real))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let folder = resolve(self, path)?;
        let below = self
            .below(&folder)
            .filter(|(path, _)| path.parent().as_ref() == Some(&folder));
        Ok(below
            .map(|(path, _)| OsStr::from_bytes(path.name()).to_owned())
            .collect())
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = resolve(self, path)?;
        let files = self
            .below(&folder)
            .filter(|(_, entry)| matches!(entry.kind, Kind::File(_) | Kind::HardLink(_)));
        let inside = |file: &TreePath| match &file.as_bytes()[folder.as_bytes().len()..] {
            [] => path.to_owned(),
            rest => path.join(OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest))),
        };
        let mut files: Vec<PathBuf> = files.map(|(file, _)| inside(file)).collect();
        files.sort();
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Content, Entry, Origin};
    use super::*;

    #[test]
    fn a_tree_answers_as_a_chroot_would() {
        let mut tree = Tree::default();
        let mut insert = |path: &str, kind| {
            let path = TreePath::new(path.as_bytes()).unwrap();
            tree.insert(path, Entry::new(kind, 0o755, 0, Origin::Recipe));
        };
        insert("usr/lib/libx.so.1.2", Kind::File(Content::inline(&b"library"[..])));
        insert(
            "usr/lib/same",
            Kind::HardLink(TreePath::new(b"usr/lib/libx.so.1.2").unwrap()),
        );
        insert("usr/lib/libx.so.1", Kind::Symlink("libx.so.1.2".into()));
        insert("usr/lib64/x", Kind::Fifo);
        insert("lib", Kind::Symlink("/usr/lib".into()));
        let real = |path: &str| tree.real_path(Path::new(path)).ok();
        for (path, expected) in [
            ("/lib/libx.so.1", Some("/usr/lib/libx.so.1.2")),
            ("/lib/../lib/libx.so.1", Some("/usr/lib/libx.so.1.2")),
            ("/../..", Some("/")),
            ("/lib/none", None),
        ] {
            assert_eq!(real(path), expected.map(PathBuf::from), "{path}");
        }
        let open = |path: &str| tree.open(Path::new(path));
        assert_eq!(open("/lib/same").unwrap().id, open("/lib/libx.so.1").unwrap().id);
        assert_eq!(open("/lib/same").unwrap().read_all(100).unwrap(), b"library");
        assert!(open("/usr/lib64/x").is_err() && open("/lib").is_err());
        assert!(tree.is_folder(Path::new("/lib")) && tree.is_folder(Path::new("/")));
        assert!(!tree.is_folder(Path::new("/lib/same")));
        assert_eq!(
            tree.walk(Path::new("/lib")).unwrap(),
            ["/lib/libx.so.1.2", "/lib/same"].map(PathBuf::from)
        );
        assert_eq!(
            tree.walk(Path::new("/lib/libx.so.1")).unwrap(),
            [PathBuf::from("/lib/libx.so.1")]
        );
        let mut names = tree.list(Path::new("/lib")).unwrap();
        names.sort();
        assert_eq!(names, ["libx.so.1", "libx.so.1.2", "same"]);
    }
}
