//! A writable root file system.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use super::inodes::{Attributes, InodeTables};
use super::size::{BLOCK, Size};
use super::unpack::{is_unprivileged, unpack};
use super::{FileSystem, RootError, RootImage};
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::exec::{Invocation, Runner};
use crate::image::uuid::Uuid;
use crate::rootfs::tree::{Entry, Kind, Tree, TreePath};
use crate::units::Bytes;

/// What the file system can do, instead of what the host's `mke2fs.conf` says. No journal: a
/// clone is thrown away, not recovered. No metadata checksums: see [`super::inodes`]; and guests
/// as old as Linux 2.6.32 can mount it.
const FEATURES: &str = "none,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,\
                        dir_nlink,extra_isize";

/// The root folder's inode.
const ROOT_INODE: u32 = 2;

/// How an ext4 image is made.
#[derive(Clone, Copy, Debug)]
pub struct Ext4 {
    /// Room for what the job writes.
    pub free_space: Bytes,
    /// The time of the image, in seconds since 1970.
    pub epoch: u64,
}

/// Makes the ext4 image `target` of `tree`: unpacks it into a private folder beside `target`,
/// lets mke2fs make the image of that, and writes owners, modes and times into its inodes.
///
/// The file appears at `target` whole or not at all. Extended attributes are not kept.
pub fn write_ext4(runner: &dyn Runner, tree: &Tree, options: Ext4, target: &Path) -> Result<RootImage, RootError> {
    let scratch = durable::scratch_beside(target)?;
    let (folder, image) = (scratch.path().join("root"), scratch.path().join("root.ext4"));
    durable::create_private_folder(&folder)?;
    // mke2fs and debugfs take a time of 0 for "now".
    let epoch = options.epoch.max(1);
    let marks = Marks::avoiding(epoch, tree.len());
    unpack(tree, &folder, |index| marks.of(index))?;
    runner.run(&mke2fs(tree, options, epoch, &folder, &image))?;
    let tables = InodeTables::locate(&image)?;
    let words = make_devices(runner, tree, &tables, &marks, epoch, &image)?;
    complete(tree, &tables, &marks, &image, words)?;
    durable::adopt(&image, target)?;
    RootImage::of_file(target.to_owned(), FileSystem::Ext4)
}

/// Modification times that name positions in a tree.
#[derive(Debug)]
struct Marks {
    base: u32,
    count: usize,
}

impl Marks {
    /// Marks of which none is `epoch`, the time of the file system's own inodes.
    fn avoiding(epoch: u64, count: usize) -> Self {
        let base = if epoch < 1 << 30 { 1 << 30 } else { 1 };
        Self { base, count }
    }

    fn of(&self, index: usize) -> u32 {
        u32::try_from(index).map_or(u32::MAX, |index| self.base.saturating_add(index))
    }

    fn index(&self, mark: u32) -> Option<usize> {
        let index = usize::try_from(mark.checked_sub(self.base)?).ok()?;
        (index < self.count).then_some(index)
    }
}

fn mke2fs(tree: &Tree, options: Ext4, epoch: u64, folder: &Path, image: &Path) -> Invocation {
    let content = fingerprint(tree);
    let size = Size::of(tree, options.free_space);
    let seed = Uuid::derive("ext4-hash-seed", &content);
    Invocation::new("mke2fs")
        .args(["-q", "-O", FEATURES, "-m", "0", "-I", "256"])
        .args(["-b", &BLOCK.to_string(), "-N", &size.inodes.to_string()])
        .args(["-U", &Uuid::derive("ext4", &content).to_string()])
        .arg("-E")
        .arg(format!(
            "nodiscard,lazy_itable_init=0,no_copy_xattrs,root_owner=0:0,hash_seed={seed}"
        ))
        .arg("-d")
        .arg(folder)
        .arg(image)
        .arg(size.blocks.to_string())
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string())
        .env("MKE2FS_CONFIG", "/dev/null")
        // mke2fs sorts names by the locale's rules: bytes, here.
        .env("LC_ALL", "C")
}

/// A digest of everything in the tree.
fn fingerprint(tree: &Tree) -> Digest {
    let mut hasher = Hasher::default();
    for (path, entry) in tree.iter() {
        hasher.field(path.as_bytes());
        for number in [entry.mode, entry.uid, entry.gid] {
            hasher.field(&number.to_le_bytes());
        }
        hasher.field(&entry.mtime.to_le_bytes());
        let device = |major: u32, minor: u32| [major.to_le_bytes(), minor.to_le_bytes()].concat();
        let (kind, value) = match &entry.kind {
            Kind::Directory => ("directory", Vec::new()),
            Kind::File(content) => ("file", content.digest.as_bytes().to_vec()),
            Kind::Symlink(target) => ("symlink", target.clone()),
            Kind::HardLink(target) => ("link", target.as_bytes().to_vec()),
            Kind::CharDevice(major, minor) => ("character", device(*major, *minor)),
            Kind::BlockDevice(major, minor) => ("block", device(*major, *minor)),
            Kind::Fifo => ("fifo", Vec::new()),
        };
        hasher.field(kind.as_bytes()).field(&value);
    }
    hasher.finish()
}

/// Makes the tree's device nodes, which mke2fs only copies for root; returns what debugfs said.
fn make_devices(
    runner: &dyn Runner,
    tree: &Tree,
    tables: &InodeTables,
    marks: &Marks,
    epoch: u64,
    image: &Path,
) -> Result<String, RootError> {
    let devices: Vec<_> = (0..)
        .zip(tree.iter())
        .filter(|(_, (_, entry))| !is_unprivileged(entry))
        .collect();
    if devices.is_empty() {
        return Ok(String::new());
    }
    let folders = folder_inodes(tree, tables, marks, image)?;
    let mut script = Vec::new();
    for (index, (path, entry)) in devices {
        let inode = path.parent().and_then(|parent| folders.get(&parent).copied());
        let inode = inode.unwrap_or(ROOT_INODE);
        script.extend(device_commands(path, entry, inode, marks.of(index))?);
    }
    let file = image.with_extension("debugfs");
    durable::write(&file, &script)?;
    let debugfs = Invocation::new("debugfs")
        .args(["-w", "-f"])
        .arg(&file)
        .arg(image)
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string());
    let said = runner.run(&debugfs)?.stderr;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// debugfs commands that make one device. The folder goes by its inode; only the device's own
/// name has to be quoted.
fn device_commands(path: &TreePath, entry: &Entry, folder: u32, mark: u32) -> Result<Vec<u8>, RootError> {
    let (letter, major, minor) = match entry.kind {
        Kind::CharDevice(major, minor) => ('c', major, minor),
        Kind::BlockDevice(major, minor) => ('b', major, minor),
        _ => return Ok(Vec::new()),
    };
    if path.name().iter().any(u8::is_ascii_control) {
        return Err(RootError::DeviceName(path.clone()));
    }
    let mut name = vec![b'"'];
    for &byte in path.name() {
        name.extend(if byte == b'"' {
            &b"\"\""[..]
        } else {
            std::slice::from_ref(&byte)
        });
    }
    name.push(b'"');
    let mut commands = format!("cd <{folder}>\nmknod ").into_bytes();
    commands.extend(&name);
    commands.extend(format!(" {letter} {major} {minor}\nset_inode_field ").bytes());
    commands.extend(&name);
    commands.extend(format!(" mtime @{mark}\n").bytes());
    Ok(commands)
}

/// The inodes of the tree's folders, except the root.
fn folder_inodes(
    tree: &Tree,
    tables: &InodeTables,
    marks: &Marks,
    image: &Path,
) -> Result<BTreeMap<TreePath, u32>, RootError> {
    let entries: Vec<_> = tree.iter().collect();
    let mut folders = BTreeMap::new();
    let file = OpenOptions::new().read(true).open(image);
    file.and_then(|file| {
        tables.edit(&file, |number, inode| {
            if let Some(index) = marks.index(inode.mark())
                && matches!(entries[index].1.kind, Kind::Directory)
            {
                folders.insert(entries[index].0.clone(), number);
            }
            false
        })
    })
    .map_err(|source| RootError::Image {
        path: image.to_owned(),
        source,
    })?;
    Ok(folders)
}

/// Gives every inode the attributes its entry has in the tree; all entries must be there.
fn complete(tree: &Tree, tables: &InodeTables, marks: &Marks, image: &Path, words: String) -> Result<(), RootError> {
    let entries: Vec<_> = tree.iter().collect();
    let is_root = |path: &TreePath| path.as_bytes().is_empty();
    let mut missing: Vec<bool> = entries
        .iter()
        .map(|(path, entry)| !is_root(path) && !matches!(entry.kind, Kind::HardLink(_)))
        .collect();
    let file = OpenOptions::new().read(true).write(true).open(image);
    file.and_then(|file| {
        tables.edit(&file, |number, inode| {
            let entry = if number == ROOT_INODE {
                tree.get(&TreePath::root())
            } else {
                marks.index(inode.mark()).map(|index| {
                    missing[index] = false;
                    entries[index].1
                })
            };
            let Some(entry) = entry else { return false };
            inode.set(Attributes {
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                time: entry.mtime,
            });
            true
        })
    })
    .map_err(|source| RootError::Image {
        path: image.to_owned(),
        source,
    })?;
    match missing.iter().position(|&missing| missing) {
        None => Ok(()),
        Some(index) => Err(RootError::Missing {
            path: entries[index].0.clone(),
            words,
        }),
    }
}
