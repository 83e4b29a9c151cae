//! One generation as one file system image.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::LibraryError;
use super::check::{Depth, Fault, file_fault};
use super::error::writing;
use super::folder::Listed;
use super::index::Index;
use super::objects::TIME;
use super::repository::{EXPORTS, Repository};
use super::session::Session;
use crate::digest::Digest;
use crate::durable;
use crate::exec::Runner;
use crate::image::root::{Squashfs, write_squashfs};
use crate::recipe::Compression;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Place, Tree, TreePath};

/// Bytes of the block behind the file system.
pub const TRAILER_LENGTH: u64 = 4096;

/// How a trailer begins.
pub const TRAILER_MAGIC: [u8; 8] = *b"HPCVMLIB";

/// The version of the trailer that this hpcvm writes.
pub const TRAILER_VERSION: u32 = 1;

/// The last block of an export, by which a guest and a launch tell which generation it is.
///
/// | offset | bytes | |
/// | --- | --- | --- |
/// | 0 | 8 | `HPCVMLIB` |
/// | 8 | 4 | version of the trailer: 1 |
/// | 12 | 4 | number of the generation |
/// | 16 | 32 | digest of the generation |
/// | 48 | 32 | SHA-256 of everything before the trailer |
/// | 80 | 8 | bytes before the trailer |
/// | 88 | 4008 | zeros |
///
/// Numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Number of the generation.
    pub number: u32,
    /// Digest of the generation.
    pub generation: Digest,
    /// SHA-256 of everything before the trailer.
    pub content: Digest,
    /// Bytes before the trailer, a multiple of 4096.
    pub length: u64,
}

impl Trailer {
    /// The block.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut block = Vec::new();
        block.extend(TRAILER_MAGIC);
        block.extend(TRAILER_VERSION.to_le_bytes());
        block.extend(self.number.to_le_bytes());
        block.extend(self.generation.as_bytes());
        block.extend(self.content.as_bytes());
        block.extend(self.length.to_le_bytes());
        block.resize(usize::try_from(TRAILER_LENGTH).expect("a block fits memory"), 0);
        block
    }

    /// Reads a block; `None` where it is no trailer of this version.
    #[must_use]
    pub fn from_bytes(block: &[u8]) -> Option<Self> {
        let rest = block.strip_prefix(&TRAILER_MAGIC)?;
        let (version, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk::<32>()?;
        let (content, rest) = rest.split_first_chunk::<32>()?;
        let (length, _) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*version) == TRAILER_VERSION).then(|| Self {
            number: u32::from_le_bytes(*number),
            generation: Digest::from_bytes(*generation),
            content: Digest::from_bytes(*content),
            length: u64::from_le_bytes(*length),
        })
    }

    /// Reads the trailer of the file at `path`; `None` where it has none, or is not as long as
    /// its trailer says.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let Some(start) = file.metadata()?.len().checked_sub(TRAILER_LENGTH) else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(TRAILER_LENGTH).read_to_end(&mut block)?;
        Ok(Self::from_bytes(&block).filter(|trailer| trailer.length == start))
    }
}

impl Repository {
    /// Where the export of this generation is, if there is one and its trailer names the
    /// generation as it is in the repository.
    #[must_use]
    pub fn export_path(&self, number: u32) -> Option<PathBuf> {
        let path = self.place_of_export(number);
        let trailer = Trailer::read(&path).ok()??;
        let generation = Digest::of(&fs::read(self.generation_path(number)).ok()?);
        (trailer.number == number && trailer.generation == generation).then_some(path)
    }

    /// Writes this generation as one squashfs image with a [`Trailer`], unless it is there: its
    /// libraries, licences and folders, as they stand in the repository. Every byte is compared
    /// with its digest first. The same generation gives the same bytes.
    ///
    /// It is packed with LZ4, which an emulated guest unpacks fastest.
    pub fn export(&self, runner: &dyn Runner, number: u32) -> Result<PathBuf, LibraryError> {
        let index = self.generation(number)?;
        if let Some(path) = self.export_path(number) {
            return Ok(path);
        }
        let session = Session::begin(self)?;
        let tree = Exported::of(self, &index)?.tree;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Squashfs {
            compression: Compression::Lz4,
            epoch: TIME.as_secs(),
            processors,
        };
        let made = session.scratch().join("export.squashfs");
        let image = write_squashfs(runner, &tree, options, &made)?;
        let trailer = Trailer {
            number,
            generation: index.digest,
            content: image.digest,
            length: image.length,
        };
        let path = self.place_of_export(number);
        session.check(self)?;
        finish(&made, &trailer, &path).map_err(writing(&path))?;
        Ok(path)
    }

    pub(super) fn place_of_export(&self, number: u32) -> PathBuf {
        self.folder().join(EXPORTS).join(format!("{number}.squashfs"))
    }
}

/// Appends the trailer to the image `made` and puts it at `target`.
fn finish(made: &Path, trailer: &Trailer, target: &Path) -> io::Result<()> {
    let mut file = File::options().append(true).open(made)?;
    file.write_all(&trailer.to_bytes())?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.sync_all()?;
    fs::rename(made, target)?;
    target.parent().map_or(Ok(()), durable::sync_folder)
}

/// The tree of an export while it is gathered.
struct Exported<'a> {
    repository: &'a Repository,
    tree: Tree,
    /// The objects in it, with their lengths where they are known.
    objects: BTreeMap<Digest, Option<u64>>,
}

impl<'a> Exported<'a> {
    fn of(repository: &'a Repository, index: &Index) -> Result<Self, LibraryError> {
        let mut exported = Self {
            repository,
            tree: Tree::default(),
            objects: BTreeMap::new(),
        };
        exported.put("", Kind::Directory, 0o755);
        for part in ["objects", "folders"] {
            exported.put(part, Kind::Directory, 0o755);
        }
        let mut unsound = Vec::new();
        let mut folders = BTreeMap::new();
        for folder in &index.folders {
            match repository.listing(folder.digest) {
                Ok(items) => {
                    folders.insert(folder.digest, items);
                }
                Err((path, fault)) => unsound.push((path, fault)),
            }
            let licences = folder.packages.iter().filter_map(|package| package.licence);
            exported.objects.extend(licences.map(|licence| (licence, None)));
        }
        for entry in &index.entries {
            exported.objects.extend(entry.licence.map(|licence| (licence, None)));
            exported.objects.insert(entry.object, Some(entry.length));
        }
        let mut all = exported.objects.clone();
        for (_, item) in folders.values().flatten() {
            if let Listed::File { length, object, .. } = item {
                all.insert(*object, Some(*length));
            }
        }
        unsound.extend(damaged(repository, &all));
        refuse(index.number, &unsound)?;
        exported.put_objects()?;
        for (digest, items) in &folders {
            exported.put_folder(*digest, items);
        }
        Ok(exported)
    }

    fn put(&mut self, path: &str, kind: Kind, mode: u32) {
        let path = TreePath::new(path.as_bytes()).expect("digests are names");
        self.insert(path, kind, mode);
    }

    fn insert(&mut self, path: TreePath, kind: Kind, mode: u32) {
        let entry = Entry::new(kind, mode, TIME.as_secs(), Origin::Bootstrap);
        self.tree.insert(path, entry);
    }

    fn put_objects(&mut self) -> Result<(), LibraryError> {
        for (digest, length) in self.objects.clone() {
            let path = self.repository.object_path(digest);
            let length = match length {
                Some(length) => length,
                None => fs::metadata(&path).map_err(super::error::reading(&path))?.len(),
            };
            let name = digest.to_string();
            let kind = self.file(digest, length);
            self.put(&format!("objects/{}", &name[..2]), Kind::Directory, 0o755);
            self.put(&format!("objects/{}/{}", &name[..2], &name[2..]), kind, 0o444);
        }
        Ok(())
    }

    fn put_folder(&mut self, digest: Digest, items: &[(TreePath, Listed)]) {
        let base = format!("folders/{digest}");
        self.put(&base, Kind::Directory, 0o755);
        for (path, item) in items {
            let joined = [base.as_bytes(), b"/", path.as_bytes()].concat();
            let joined = TreePath::new(&joined).expect("two paths make a path");
            match item {
                Listed::Folder => self.insert(joined, Kind::Directory, 0o755),
                Listed::Link(target) => self.insert(joined, Kind::Symlink(target.clone()), 0o777),
                Listed::File {
                    length,
                    object,
                    executable,
                } => {
                    let kind = self.file(*object, *length);
                    self.insert(joined, kind, if *executable { 0o555 } else { 0o444 });
                }
            }
        }
    }

    fn file(&self, digest: Digest, length: u64) -> Kind {
        let place = Place::HostFile(self.repository.object_path(digest));
        Kind::File(Content { length, digest, place })
    }
}

/// Which of these objects do not have the bytes that they are named by.
fn damaged(repository: &Repository, objects: &BTreeMap<Digest, Option<u64>>) -> Vec<(PathBuf, Fault)> {
    let checked = objects.par_iter().filter_map(|(&digest, &length)| {
        let path = repository.object_path(digest);
        file_fault(&path, digest, length, (0o444, Depth::Bytes)).map(|fault| (path, fault))
    });
    checked.collect()
}

fn refuse(number: u32, unsound: &[(PathBuf, Fault)]) -> Result<(), LibraryError> {
    match unsound.first() {
        None => Ok(()),
        Some((path, fault)) => Err(LibraryError::Unsound {
            number,
            count: unsound.len(),
            first: format!("{} {fault}", path.display()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_read_as_it_was_written() {
        let trailer = Trailer {
            number: 7,
            generation: Digest::of(b"g"),
            content: Digest::of(b"c"),
            length: 8192,
        };
        let block = trailer.to_bytes();
        assert_eq!(block.len(), 4096);
        assert_eq!(&block[..16], b"HPCVMLIB\x01\0\0\0\x07\0\0\0");
        assert_eq!(block[16..48], *Digest::of(b"g").as_bytes());
        assert_eq!(Trailer::from_bytes(&block), Some(trailer));
        assert_eq!(Trailer::from_bytes(&block[..87]), None);
        for place in [0, 8] {
            let mut other = block.clone();
            other[place] ^= 1;
            assert_eq!(Trailer::from_bytes(&other), None, "byte {place}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.squashfs");
        for (length, expected) in [(8192, Some(trailer)), (4096, None)] {
            fs::write(&path, [vec![0; length], block.clone()].concat()).unwrap();
            assert_eq!(Trailer::read(&path).unwrap(), expected, "{length}");
        }
        fs::write(&path, b"short").unwrap();
        assert_eq!(Trailer::read(&path).unwrap(), None);
    }
}
