//! Where files are looked up: the host, a folder that is a root, or a tree in an archive.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::bytes::Source;

/// A root file system that a loader could run in. Paths are absolute inside it; symbolic links
/// and `..` are followed inside it too, as a chroot would.
pub trait FileSystem: Debug + Sync {
    /// Opens the regular file at `path`, links followed; `NotFound` where there is none.
    fn open(&self, path: &Path) -> io::Result<Source>;

    /// Whether a folder stands at `path`, links followed.
    fn is_folder(&self, path: &Path) -> bool;

    /// `path` without symbolic links.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;

    /// The names in the folder at `path`, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// The regular files at `path` and below, sorted; links are not followed, except that `path`
    /// itself may be one.
    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The host as programs of the host see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl FileSystem for HostFiles {
    fn open(&self, path: &Path) -> io::Result<Source> {
        Source::host(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        names(path)
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        walk(path)
    }
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect()
}

/// The regular files at and below a path of the host. Folders that may not be read are passed
/// over, as are other file systems: `/proc` and `/sys` have nothing to scan.
fn walk(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let below = walkdir::WalkDir::new(path)
        .same_file_system(true)
        .follow_root_links(true)
        .sort_by_file_name();
    let entries = below.into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    Ok(files.map(walkdir::DirEntry::into_path).collect())
}

/// A folder of the host that is a root: an unpacked image, a sysroot.
#[derive(Debug)]
pub struct FolderFiles {
    root: PathBuf,
    /// Folders without links by folders as named. Nothing changes while scanning.
    folders: RwLock<HashMap<PathBuf, Option<PathBuf>>>,
}

/// As many symbolic links as Linux follows in one path.
const MOST_LINKS: usize = 40;

impl FolderFiles {
    /// The root in the host's folder `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            folders: RwLock::default(),
        }
    }

    /// Where `path` is on the host, when it has no symbolic links.
    fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn folder(&self, path: &Path, links: &mut usize) -> Option<PathBuf> {
        let known = self
            .folders
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned();
        if let Some(known) = known {
            return known;
        }
        let before = *links;
        let found = self.resolve(path, links);
        // Within a chain of links the answer may only tell that the chain was too long.
        if before == 0 {
            let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
            folders.insert(path.to_owned(), found.clone());
        }
        found
    }

    /// `path` without links, if its folders exist; the last component need not.
    fn resolve(&self, path: &Path, links: &mut usize) -> Option<PathBuf> {
        let parent = match path.parent() {
            Some(parent) => self.folder(parent, links)?,
            None => return Some("/".into()),
        };
        match path.components().next_back()? {
            Component::Normal(name) => {
                let here = parent.join(name);
                let Ok(target) = fs::read_link(self.outside(&here)) else {
                    return Some(here);
                };
                *links += 1;
                if *links > MOST_LINKS {
                    return None;
                }
                self.resolve(&parent.join(target), links)
            }
            Component::ParentDir => Some(parent.parent().unwrap_or(Path::new("/")).to_owned()),
            _ => Some(parent),
        }
    }

    /// Where the file or folder at `path` really is on the host.
    fn real_outside(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.outside(&self.real_path(path)?))
    }
}

impl FileSystem for FolderFiles {
    fn open(&self, path: &Path) -> io::Result<Source> {
        Source::host(&self.real_outside(path)?)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.real_outside(path).is_ok_and(|path| path.is_dir())
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        let real = self.resolve(&Path::new("/").join(path), &mut 0);
        let real = real.ok_or(io::ErrorKind::NotFound)?;
        fs::symlink_metadata(self.outside(&real))?;
        Ok(real)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        names(&self.real_outside(path)?)
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let outside = self.real_outside(path)?;
        let found = walk(&outside)?;
        let inside = |file: PathBuf| match file.strip_prefix(&outside) {
            Ok(rest) if !rest.as_os_str().is_empty() => path.join(rest),
            _ => path.to_owned(),
        };
        Ok(found.into_iter().map(inside).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_the_folder() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("root");
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::write(root.join("usr/lib/libx.so.1.2"), "inside").unwrap();
        fs::write(host.path().join("secret"), "outside").unwrap();
        for (target, link) in [
            ("usr/lib", "lib"),
            ("libx.so.1.2", "usr/lib/libx.so.1"),
            ("/usr/lib/libx.so.1", "usr/lib/deep/libx.so"),
            ("../../../../../usr/lib", "up"),
            ("/secret", "usr/secret"),
            ("../secret", "leak"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let files = FolderFiles::new(&root);
        for (path, real) in [
            ("/lib/libx.so.1", Some("/usr/lib/libx.so.1.2")),
            ("/lib/deep/../libx.so.1", Some("/usr/lib/libx.so.1.2")),
            ("/lib/deep/libx.so", Some("/usr/lib/libx.so.1.2")),
            ("/up/libx.so.1", Some("/usr/lib/libx.so.1.2")),
            ("/../../lib", Some("/usr/lib")),
            ("/", Some("/")),
            ("/usr/secret", None),
            ("/leak", None),
            ("/loop", None),
            ("/loop/x", None),
            ("/lib/none", None),
        ] {
            assert_eq!(files.real_path(Path::new(path)).ok(), real.map(PathBuf::from), "{path}");
        }
        assert_eq!(files.open(Path::new("/up/libx.so.1")).unwrap().length, 6);
        assert!(files.open(Path::new("/lib")).is_err());
        assert!(files.is_folder(Path::new("/lib/deep")));
        assert_eq!(
            files.walk(Path::new("/lib")).unwrap(),
            [PathBuf::from("/lib/libx.so.1.2")]
        );
        assert_eq!(
            files.walk(Path::new("/lib/libx.so.1")).unwrap(),
            [PathBuf::from("/lib/libx.so.1")]
        );
    }
}
