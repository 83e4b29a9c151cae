//! Libraries and folders of data found in packages, trees and files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::addition::{Addition, NewFolder, NewLibrary, Provenance, object_of};
use super::error::{reading, writing};
use super::{LibraryError, host_tree};
use crate::elf::object::Object;
use crate::exec::{Invocation, Runner};
use crate::rootfs::installed;
use crate::rootfs::layout;
use crate::rootfs::tarball;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

/// `ET_DYN` of elf(5).
const SHARED_OBJECT: u16 = 3;

/// Something on the host that libraries are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Debian package file.
    Package(PathBuf),
    /// A root file system, or part of one, in a folder.
    Folder(PathBuf),
    /// The same in an uncompressed tar archive.
    Archive(PathBuf),
    /// A single library.
    Library(PathBuf),
}

impl Source {
    /// What stands at `path`, by its first bytes.
    pub fn at(path: &Path) -> Result<Self, LibraryError> {
        let found = fs::metadata(path).map_err(reading(path))?;
        let path = path.to_owned();
        if found.is_dir() {
            return Ok(Self::Folder(path));
        }
        let mut start = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(8).read_to_end(&mut start))
            .map_err(reading(&path))?;
        Ok(match start.as_slice() {
            b"!<arch>\n" => Self::Package(path),
            [0x7f, b'E', b'L', b'F', ..] => Self::Library(path),
            _ => Self::Archive(path),
        })
    }

    fn path(&self) -> &Path {
        let (Self::Package(path) | Self::Folder(path) | Self::Archive(path) | Self::Library(path)) = self;
        path
    }
}

/// How additions are gathered from sources.
pub struct Gathering<'a> {
    /// Starts `dpkg-deb`.
    pub runner: &'a dyn Runner,
    /// Where packages are expanded: contents of the additions stay there, so it must outlive them.
    pub scratch: &'a Path,
    /// Folders of data to take as a whole.
    pub folders: &'a [TreePath],
    /// Where trees and single libraries stand in the guest; by default trees at its root, and
    /// libraries where they stand on the host.
    pub at: Option<TreePath>,
    /// The origin of what belongs to no package.
    pub provenance: Provenance,
}

impl std::fmt::Debug for Gathering<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathering")
            .field("folders", &self.folders)
            .field("at", &self.at)
            .field("provenance", &self.provenance)
            .finish_non_exhaustive()
    }
}

impl Gathering<'_> {
    /// Everything that the sources have: all folders asked for, and else at least one library.
    pub fn gather(&self, sources: &[Source]) -> Result<Vec<Addition>, LibraryError> {
        let mut additions = Vec::new();
        let packages: Vec<&Path> = sources
            .iter()
            .filter_map(|source| match source {
                Source::Package(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        self.packages(&packages, &mut additions)?;
        for source in sources {
            match source {
                Source::Package(_) => {}
                Source::Folder(path) => {
                    let tree = host_tree::read(path, |below| self.is_in_folders(&self.placed(below)))?;
                    self.tree(tree, &mut additions)?;
                }
                Source::Archive(path) => {
                    let mut tree = Tree::default();
                    for (path, entry) in tarball::entries(path, &Origin::Bootstrap)? {
                        tree.insert(path, entry);
                    }
                    self.tree(tree, &mut additions)?;
                }
                Source::Library(path) => additions.push(Addition::Library(self.file(path)?)),
            }
        }
        // Packages that others depend on need not have a library each.
        if additions.is_empty() && self.folders.is_empty() {
            let paths: Vec<String> = sources
                .iter()
                .map(|source| source.path().display().to_string())
                .collect();
            let origin = paths.join(", ");
            return Err(LibraryError::Nothing { origin });
        }
        let found = |folder: &TreePath| {
            let is_it = |addition: &Addition| matches!(addition, Addition::Folder(found) if found.path == *folder);
            additions.iter().any(is_it)
        };
        match self.folders.iter().find(|folder| !found(folder)) {
            Some(folder) => Err(LibraryError::Item {
                path: folder.to_string(),
                why: "none of the sources has a folder there".to_owned(),
            }),
            None => Ok(additions),
        }
    }

    /// Package files. What one says of its licence may stand in another: `/usr/share/doc/libgomp1`
    /// is a link to the folder of gcc-12-base.
    fn packages(&self, paths: &[&Path], additions: &mut Vec<Addition>) -> Result<(), LibraryError> {
        let mut versions = BTreeMap::new();
        let mut trees = Vec::new();
        let mut documents = Tree::default();
        for path in paths {
            let tree = self.package(path, &mut versions)?;
            for (path, entry) in tree.iter().filter(|(path, _)| is_document(path)) {
                documents.insert(path.clone(), entry.clone());
            }
            trees.push(tree);
        }
        trees
            .iter()
            .try_for_each(|tree| self.take((tree, &documents), &versions, additions))
    }

    /// A package file as a tree whose `/lib` is `/usr/lib`.
    fn package(&self, path: &Path, versions: &mut BTreeMap<String, String>) -> Result<Tree, LibraryError> {
        let ask = Invocation::new("dpkg-deb").args(["--show", "--showformat", "${Package}\\n${Version}\\n"]);
        let said = self.runner.run(&ask.arg(path))?.text();
        let mut lines = said.lines();
        let (name, version) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        versions.insert(name.to_owned(), version.to_owned());
        let archive = tempfile::Builder::new()
            .prefix("package-")
            .suffix(".tar")
            .tempfile_in(self.scratch)
            .and_then(|file| file.into_temp_path().keep().map_err(|error| error.error))
            .map_err(writing(self.scratch))?;
        let mut file = File::create(&archive).map_err(writing(&archive))?;
        let expand = Invocation::new("dpkg-deb").arg("--fsys-tarfile").arg(path);
        self.runner
            .drain(&expand, &mut |stdout| io::copy(stdout, &mut file).map(|_| ()))?;
        let mut tree = Tree::default();
        for (path, mut entry) in tarball::entries(&archive, &Origin::Package(name.into()))? {
            if let Kind::HardLink(target) = entry.kind {
                entry.kind = Kind::HardLink(layout::merged(target));
            }
            tree.insert(layout::merged(path), entry);
        }
        Ok(tree)
    }

    /// A tree, whose own dpkg database tells the packages where there is one.
    fn tree(&self, mut tree: Tree, additions: &mut Vec<Addition>) -> Result<(), LibraryError> {
        let mut versions = BTreeMap::new();
        let status = tree.get(&TreePath::new(installed::STATUS.as_bytes()).expect("a fixed path"));
        if let Some(Kind::File(content)) = status.map(|entry| &entry.kind) {
            let text = content.read().map_err(|source| LibraryError::Content {
                path: format!("/{}", installed::STATUS),
                source,
            })?;
            for (name, version, _) in installed::installed(&String::from_utf8_lossy(&text))? {
                versions.insert(name, version);
            }
            installed::assign_owners(&mut tree)?;
        }
        if self.at.is_some() {
            let mut moved = Tree::default();
            for (path, entry) in tree.iter() {
                let mut entry = entry.clone();
                if let Kind::HardLink(target) = &entry.kind {
                    entry.kind = Kind::HardLink(self.placed(target));
                }
                moved.insert(self.placed(path), entry);
            }
            tree = moved;
        }
        self.take((&tree, &tree), &versions, additions)
    }

    fn take(
        &self,
        (tree, documents): (&Tree, &Tree),
        versions: &BTreeMap<String, String>,
        additions: &mut Vec<Addition>,
    ) -> Result<(), LibraryError> {
        let provenance = |origin: &Origin| match origin {
            Origin::Package(name) => Provenance {
                package: Some(name.to_string()),
                version: versions.get(&**name).cloned(),
                licence: licence(documents, name),
            },
            _ => self.provenance.clone(),
        };
        let entries: Vec<(&TreePath, &Entry)> = tree.iter().collect();
        let libraries = entries
            .into_par_iter()
            .filter_map(|(path, entry)| self.library(path, entry).transpose())
            .collect::<Result<Vec<_>, LibraryError>>()?;
        for (path, content, origin) in libraries {
            additions.push(Addition::Library(NewLibrary {
                path: path.clone(),
                content: content.clone(),
                provenance: provenance(origin),
            }));
        }
        for folder in self.folders {
            if tree.get(folder).is_some_and(|entry| entry.kind == Kind::Directory) {
                let owners = tree.below(folder).filter(|(_, entry)| entry.kind != Kind::Directory);
                let owners: BTreeSet<&Origin> = owners.map(|(_, entry)| &entry.origin).collect();
                let mut from: Vec<Provenance> = owners.into_iter().map(provenance).collect();
                from.dedup();
                additions.push(Addition::Folder(NewFolder::of_tree(tree, folder, from)?));
            }
        }
        Ok(())
    }

    /// What stands at `path`, if it is a library that is not part of a folder of data.
    fn library<'t>(
        &self,
        path: &'t TreePath,
        entry: &'t Entry,
    ) -> Result<Option<(&'t TreePath, &'t Content, &'t Origin)>, LibraryError> {
        let Kind::File(content) = &entry.kind else {
            return Ok(None);
        };
        if self.is_in_folders(path) || is_debug_file(path) {
            return Ok(None);
        }
        let object = object_of(content).map_err(|source| LibraryError::Content {
            path: path.to_string(),
            source,
        })?;
        let found = object.is_ok_and(|object| is_library(&object));
        Ok(found.then_some((path, content, &entry.origin)))
    }

    fn file(&self, path: &Path) -> Result<NewLibrary, LibraryError> {
        use std::os::unix::ffi::OsStrExt as _;
        let absolute = std::path::absolute(path).map_err(reading(path))?;
        let place = match (&self.at, absolute.file_name()) {
            (Some(folder), Some(name)) => [folder.as_bytes(), b"/", name.as_bytes()].concat(),
            _ => absolute.as_os_str().as_bytes().to_vec(),
        };
        let place = TreePath::new(&place).map_err(|error| LibraryError::Packages(error.into()))?;
        let content = Content::host_file(path).map_err(reading(path))?;
        Ok(NewLibrary {
            path: place,
            content,
            provenance: self.provenance.clone(),
        })
    }

    /// Where an entry of a tree stands in the guest.
    fn placed(&self, path: &TreePath) -> TreePath {
        let Some(folder) = &self.at else { return path.clone() };
        let joined = [folder.as_bytes(), b"/", path.as_bytes()].concat();
        TreePath::new(&joined).expect("two paths make a path")
    }

    fn is_in_folders(&self, path: &TreePath) -> bool {
        self.folders.iter().any(|folder| path.is_within(folder))
    }
}

/// Whether the dynamic loader loads it for others: a program is started, even where it is a
/// shared object, too. libc.so.6 is both.
pub(super) fn is_library(object: &Object) -> bool {
    object.elf_type == SHARED_OBJECT && object.dynamic && (object.soname.is_some() || object.interpreter.is_none())
}

/// Debug symbols look like libraries.
pub(super) fn is_debug_file(path: &TreePath) -> bool {
    path.as_bytes().starts_with(b"usr/lib/debug/")
}

fn is_document(path: &TreePath) -> bool {
    path.as_bytes().starts_with(b"usr/share/doc/")
}

/// The text of a package's licence, where the tree has it.
fn licence(tree: &Tree, package: &str) -> Option<Content> {
    let path = TreePath::new(format!("usr/share/doc/{package}/copyright").as_bytes()).ok()?;
    match &tree.get(&tree.resolve(&path)?)?.kind {
        Kind::File(content) => Some(content.clone()),
        Kind::HardLink(target) => match &tree.get(target)?.kind {
            Kind::File(content) => Some(content.clone()),
            _ => None,
        },
        _ => None,
    }
}
