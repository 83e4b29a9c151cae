//! Files laid over a tree: overlay folders and the recipe's own.
//!
//! An overlay is a folder whose content stands in the guest as it stands there. Owners are root,
//! modes 0755 for folders and programs and 0644 for other files, whatever umask or owner the files
//! have on this host. Symbolic links are kept as they are and never followed on the host.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use walkdir::WalkDir;

use super::RootfsError;
use super::error::reading;
use super::layout;
use super::tree::{Content, Entry, Kind, Origin, Tree, TreePath};
use crate::digest::{Digest, Hasher};
use crate::recipe::{FileContent, FileEntry};

/// Lays the content of `folder` over the tree, as overlay `name`; returns how many entries.
pub fn lay_folder(tree: &mut Tree, name: &str, folder: &Path, mtime: u64) -> Result<usize, RootfsError> {
    let entries = entries(name, folder)?;
    let count = entries.len();
    for (path, kind, mode) in entries {
        let origin = Origin::Overlay(name.into());
        lay(tree, &path, Entry::new(kind, mode, mtime, origin));
    }
    Ok(count)
}

/// Lays the recipe's single files over the tree.
pub fn lay_files(tree: &mut Tree, files: &[FileEntry], mtime: u64) -> Result<(), RootfsError> {
    for file in files {
        let (kind, usual_mode) = match &file.content {
            FileContent::Text(text) => (Kind::File(Content::inline(text.as_bytes())), 0o644),
            FileContent::Source(source) => {
                let content = Content::host_file(source).map_err(reading(source))?;
                let executable = is_executable(&fs::metadata(source).map_err(reading(source))?);
                (Kind::File(content), if executable { 0o755 } else { 0o644 })
            }
            FileContent::Link(target) => (Kind::Symlink(target.clone().into_bytes()), 0o777),
            FileContent::Folder => (Kind::Directory, 0o755),
        };
        let entry = Entry {
            uid: file.uid,
            gid: file.gid,
            ..Entry::new(kind, file.mode.unwrap_or(usual_mode), mtime, Origin::Recipe)
        };
        let explicit = file.mode.is_some() || file.uid != 0 || file.gid != 0;
        let path = TreePath::new(file.path.as_bytes())?;
        if explicit {
            let place = layout::placed(tree, &path);
            tree.insert(place, entry);
        } else {
            lay(tree, &path, entry);
        }
    }
    Ok(())
}

/// The digest of everything of `folder` that reaches a tree.
pub fn digest(name: &str, folder: &Path) -> Result<Digest, RootfsError> {
    let mut hasher = Hasher::default();
    for (path, kind, mode) in entries(name, folder)? {
        hasher.field(path.as_bytes()).field(&mode.to_le_bytes());
        match kind {
            Kind::File(content) => hasher.field(b"file").field(content.digest.as_bytes()),
            Kind::Symlink(target) => hasher.field(b"link").field(&target),
            _ => hasher.field(b"folder").field(b""),
        };
    }
    Ok(hasher.finish())
}

/// Puts `entry` where `path` leads through the tree's own links. A folder that is there already
/// stays as it is.
fn lay(tree: &mut Tree, path: &TreePath, entry: Entry) {
    let place = layout::placed(tree, path);
    let is_folder = |path: &TreePath| matches!(tree.get(path), Some(there) if there.kind == Kind::Directory);
    if entry.kind == Kind::Directory && tree.resolve(&place).is_some_and(|real| is_folder(&real)) {
        return;
    }
    tree.insert(place, entry);
}

/// What stands in `folder`, sorted, without the folder itself.
fn entries(name: &str, folder: &Path) -> Result<Vec<(TreePath, Kind, u32)>, RootfsError> {
    let mut found = Vec::new();
    for item in WalkDir::new(folder)
        .min_depth(1)
        .follow_links(false)
        .sort_by_file_name()
    {
        let item = item.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            reading(path)(
                error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("a loop of links")),
            )
        })?;
        let relative = item
            .path()
            .strip_prefix(folder)
            .expect("walked paths are below their root");
        let path = TreePath::new(relative.as_os_str().as_bytes())?;
        let metadata = fs::symlink_metadata(item.path()).map_err(reading(item.path()))?;
        let kind = metadata.file_type();
        found.push(if kind.is_dir() {
            (path, Kind::Directory, 0o755)
        } else if kind.is_symlink() {
            let target = fs::read_link(item.path()).map_err(reading(item.path()))?;
            (path, Kind::Symlink(target.as_os_str().as_bytes().to_vec()), 0o777)
        } else if kind.is_file() {
            let content = Content::host_file(item.path()).map_err(reading(item.path()))?;
            let mode = if is_executable(&metadata) { 0o755 } else { 0o644 };
            (path, Kind::File(content), mode)
        } else {
            return Err(RootfsError::SpecialFile {
                overlay: name.to_owned(),
                path: item.path().to_owned(),
            });
        });
    }
    Ok(found)
}

fn is_executable(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let entry = |kind| Entry::new(kind, 0o1777, 0, Origin::Bootstrap);
        tree.insert(path("usr/bin"), entry(Kind::Directory));
        tree.insert(path("tmp"), entry(Kind::Directory));
        tree.insert(path("bin"), entry(Kind::Symlink(b"usr/bin".to_vec())));
        tree
    }

    fn overlay() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["bin", "tmp", "etc/deep"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("bin/tool"), "#!").unwrap();
        fs::write(root.join("etc/deep/file"), "x").unwrap();
        fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(root.join("etc/deep/file"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("/nonexistent/secret", root.join("etc/link")).unwrap();
        folder
    }

    #[test]
    fn an_overlay_goes_through_the_trees_links() {
        let (mut tree, folder) = (tree(), overlay());
        lay_folder(&mut tree, "site", folder.path(), 9).unwrap();
        assert_eq!(tree.get(&path("usr/bin/tool")).unwrap().mode, 0o755);
        assert_eq!(tree.get(&path("etc/deep/file")).unwrap().mode, 0o644);
        assert_eq!(
            tree.get(&path("tmp")).unwrap().mode,
            0o1777,
            "a folder that is there stays"
        );
        assert_eq!(tree.get(&path("bin")).unwrap().kind, Kind::Symlink(b"usr/bin".to_vec()));
        assert_eq!(
            tree.get(&path("etc/link")).unwrap().kind,
            Kind::Symlink(b"/nonexistent/secret".to_vec())
        );
    }

    #[test]
    fn special_files_are_refused() {
        let folder = overlay();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let error = lay_folder(&mut tree(), "site", folder.path(), 0).unwrap_err();
        assert!(error.to_string().contains("socket"), "{error}");
    }

    #[test]
    fn the_digest_is_of_what_reaches_the_guest() {
        let folder = overlay();
        let before = digest("site", folder.path()).unwrap();
        let file = folder.path().join("etc/deep/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(digest("site", folder.path()).unwrap(), before);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o740)).unwrap();
        assert_ne!(digest("site", folder.path()).unwrap(), before);
    }

    #[test]
    fn recipe_files_have_the_modes_and_owners_said() {
        let mut tree = tree();
        let file = |path: &str, content, mode| FileEntry {
            path: path.into(),
            content,
            mode,
            uid: 5,
            gid: 6,
        };
        let files = [
            file("/bin/hello", FileContent::Text("hi".into()), Some(0o755)),
            file("/tmp", FileContent::Folder, Some(0o700)),
            file("/etc/motd", FileContent::Link("hello".into()), None),
        ];
        lay_files(&mut tree, &files, 3).unwrap();
        let hello = tree.get(&path("usr/bin/hello")).unwrap();
        assert_eq!((hello.mode, hello.uid, hello.gid, hello.length()), (0o755, 5, 6, 2));
        assert_eq!(tree.get(&path("tmp")).unwrap().mode, 0o700);
        assert_eq!(tree.get(&path("etc/motd")).unwrap().mode, 0o777);
    }
}
