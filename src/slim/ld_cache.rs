//! `/etc/ld.so.cache` as `ldconfig` would write it for a tree, byte for byte but for the name of
//! who wrote it: glibc elf/ldconfig.c, elf/cache.c and elf/stringtable.c, releases 2.32 to 2.36.
//! Every glibc since 2.2 reads this form.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use goblin::elf::header::ET_DYN;

use super::SlimError;
use super::census::{absolute, file_at};
use super::strings::StringTable;
use crate::elf::abi::Abi;
use crate::elf::file_system::FileSystem as _;
use crate::elf::ld_cache::{ANY_LIBC, LEGACY_FOLDERS, LIBC6};
use crate::elf::ld_conf;
use crate::elf::loader::{Loader, Settings};
use crate::elf::object::Object;
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};
use crate::sharedlibs::MOUNT_POINT;

/// Where the cache stands.
pub const PATH: &str = "/etc/ld.so.cache";
/// What it is made from.
pub const CONFIGURATION: &str = "/etc/ld.so.conf";

/// The folders that Debian's `ldconfig` looks into whatever the configuration says; of those for
/// an architecture, a tree has its own.
const SYSTEM: [&str; 6] = [
    "/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib",
    "/usr/lib",
];

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Little-endian.
const FLAGS: u32 = 2;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// The extension that names who wrote the file.
const EXTENSION_GENERATOR: u32 = 0;
/// The extension that lists the names of `glibc-hwcaps` folders.
const EXTENSION_HWCAPS: u32 = 1;
/// Set in an entry's `hwcap` where its low half numbers a `glibc-hwcaps` folder.
const HWCAP_EXTENSION: u64 = 1 << 62;
const GENERATOR: &[u8] = b"hpcvm";

/// One line of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    soname: Vec<u8>,
    path: Vec<u8>,
    flags: u32,
    /// The `glibc-hwcaps` folder it is for.
    level: Option<String>,
    /// What a processor of 32-bit x86 must have for it: the bits of older folders such as `sse2`.
    capabilities: u64,
}

/// The cache of `tree`, in which linked libraries must be found: with the repository mounted.
pub fn cache(tree: &Tree) -> Result<Vec<u8>, SlimError> {
    let (lines, levels) = lines(tree)?;
    Ok(encode(&lines, &levels))
}

/// Puts a cache into `tree`.
pub(super) fn put(tree: &mut Tree, cache: Vec<u8>, epoch: u64) {
    let path = TreePath::new(PATH.as_bytes()).expect("it is a path");
    let entry = Entry::new(Kind::File(Content::inline(cache)), 0o644, epoch, Origin::Bootstrap);
    tree.insert(path, entry);
}

/// Writes the cache of a tree without links where the loader would miss a library without it: of
/// a package that was only extracted, or one that an overlay brought. Tells whether it did.
pub fn write_where_needed(tree: &mut Tree, epoch: u64) -> Result<bool, SlimError> {
    let needed = is_needed(tree)?;
    if needed {
        let cache = cache(tree)?;
        put(tree, cache, epoch);
    }
    Ok(needed)
}

/// Whether the loader would miss a library of `tree` without a new cache: one that stands in a
/// folder which is configured but not searched by itself, and that the present cache does not lead
/// to. Costs little where no such folder exists.
fn is_needed(tree: &Tree) -> Result<bool, SlimError> {
    let loader = Loader::new(tree, Settings::default());
    for (name, real) in folders(tree) {
        let lines = || folder_lines(tree, &name, &real, &Variant::Plain);
        let by_itself = |object: &Object| {
            let folders = &loader.search(object.abi).default;
            folders
                .iter()
                .any(|folder| tree.real_path(folder).is_ok_and(|path| path == absolute(&real)))
        };
        if SYSTEM.iter().any(|system| system.as_bytes() == name) {
            continue;
        }
        for line in lines()? {
            let place = absolute(&TreePath::new(&line.path).expect("it was found there"));
            let Some(object) = loader.read(&place).and_then(|read| read.object.ok()) else {
                continue;
            };
            let soname = OsStr::from_bytes(&line.soname);
            let known = loader
                .cached(soname, object.abi, &[], capabilities(object.abi))
                .and_then(|path| file_at(tree, &path));
            if !by_itself(&object) && known.is_none() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The bits of the older folders that every guest's processor has.
fn capabilities(abi: Abi) -> u64 {
    let known = LEGACY_FOLDERS.iter().fold(0, |bits, (_, bit)| bits | bit);
    if abi.is_i386() { known } else { 0 }
}

/// The folders that count, in order, each file of them once: name as configured, and real place.
fn folders(tree: &Tree) -> Vec<(Vec<u8>, TreePath)> {
    let configured = ld_conf::folders(tree, Path::new(CONFIGURATION));
    let mut seen = BTreeSet::new();
    let named = configured
        .iter()
        .map(|path| path.as_os_str().as_encoded_bytes().to_vec());
    let mut found = Vec::new();
    for name in named.chain(SYSTEM.iter().map(|name| name.as_bytes().to_vec())) {
        let real = TreePath::new(&name).ok().and_then(|path| tree.resolve(&path));
        let real = real.filter(|real| matches!(tree.get(real).map(|entry| &entry.kind), Some(Kind::Directory)));
        if let Some(real) = real.filter(|real| seen.insert(real.clone())) {
            found.push((name, real));
        }
    }
    found
}

/// What the cache holds, in its order, and the names of all `glibc-hwcaps` folders, also of those
/// without a library.
fn lines(tree: &Tree) -> Result<(Vec<Line>, BTreeSet<String>), SlimError> {
    let (mut lines, mut names) = (Vec::new(), BTreeSet::new());
    for (name, real) in folders(tree) {
        lines.extend(folder_lines(tree, &name, &real, &Variant::Plain)?);
        for (folders, capabilities) in older(tree, &real) {
            let name = [&name, b"/".as_slice(), folders.as_bytes()].concat();
            let path = TreePath::new(&[real.as_bytes(), b"/", folders.as_bytes()].concat()).expect("it is in the tree");
            lines.extend(folder_lines(tree, &name, &path, &Variant::Older(capabilities))?);
        }
        for (level, path) in levels(tree, &real) {
            let name = [&name, b"/glibc-hwcaps/".as_slice(), level.as_bytes()].concat();
            lines.extend(folder_lines(tree, &name, &path, &Variant::Level(&level))?);
            names.insert(level);
        }
    }
    // Stable: of two equal lines, the folder that comes first wins.
    lines.sort_by(order);
    Ok((lines, names))
}

/// The sub-folders of `glibc-hwcaps` in `folder`.
fn levels(tree: &Tree, folder: &TreePath) -> Vec<(String, TreePath)> {
    let Ok(parent) = TreePath::new(&[folder.as_bytes(), b"/glibc-hwcaps"].concat()) else {
        return Vec::new();
    };
    let folders = tree
        .below(&parent)
        .filter(|(path, entry)| path.parent().as_ref() == Some(&parent) && matches!(entry.kind, Kind::Directory));
    folders
        .map(|(path, _)| (String::from_utf8_lossy(path.name()).into_owned(), path.clone()))
        .collect()
}

/// Which processors the libraries of a folder are for.
enum Variant<'a> {
    /// All.
    Plain,
    /// Those of a `glibc-hwcaps` level.
    Level(&'a str),
    /// Those with these bits of [`LEGACY_FOLDERS`].
    Older(u64),
}

/// The sub-folders of `folder` that glibc searched before `glibc-hwcaps`, by their path in it, and
/// their bits.
fn older(tree: &Tree, folder: &TreePath) -> Vec<(String, u64)> {
    let is_folder = |names: &str| {
        let path = TreePath::new(&[folder.as_bytes(), b"/", names.as_bytes()].concat());
        path.is_ok_and(|path| matches!(tree.get(&path).map(|entry| &entry.kind), Some(Kind::Directory)))
    };
    let mut found: Vec<(String, u64)> = Vec::new();
    let mut begun = vec![(String::new(), 0)];
    while let Some((parent, bits)) = begun.pop() {
        let unused = LEGACY_FOLDERS.iter().filter(|(_, bit)| bits & bit == 0);
        let inner = unused.map(|(name, bit)| (format!("{parent}{name}"), bits | bit));
        for (names, bits) in inner.filter(|(names, _)| is_folder(names)) {
            begun.push((format!("{names}/"), bits));
            found.push((names, bits));
        }
    }
    found.sort();
    found
}

/// A library of a folder, while those of one soname compete.
struct Candidate {
    name: Vec<u8>,
    is_link: bool,
    flags: u32,
}

/// The libraries of one folder, one for each soname (`search_dir`).
fn folder_lines(tree: &Tree, named: &[u8], real: &TreePath, variant: &Variant<'_>) -> Result<Vec<Line>, SlimError> {
    let (level, capabilities) = match variant {
        Variant::Plain => (None, 0),
        Variant::Level(level) => (Some(*level), 0),
        Variant::Older(capabilities) => (None, *capabilities),
    };
    let mut found: BTreeMap<Vec<u8>, Candidate> = BTreeMap::new();
    for (path, _) in tree
        .below(real)
        .filter(|(path, _)| path.parent().as_ref() == Some(real))
    {
        let Some((soname, candidate)) = candidate(tree, path)? else {
            continue;
        };
        let better = found.get(&soname).is_none_or(|known| {
            (!candidate.is_link && known.is_link)
                || (candidate.is_link == known.is_link && compare(&known.name, &candidate.name).is_lt())
        });
        if better {
            found.insert(soname, candidate);
        }
    }
    let line = |(soname, candidate): (Vec<u8>, Candidate)| {
        let place = |name: &[u8]| [named, b"/", name].concat();
        // `ldconfig` makes the link that a soname needs; a tree that lacks it is left as it is.
        let linked =
            TreePath::new(&[real.as_bytes(), b"/", &soname].concat()).is_ok_and(|path| tree.resolve(&path).is_some());
        let file = if level.is_none() && linked {
            &soname
        } else {
            &candidate.name
        };
        Line {
            path: place(file),
            soname,
            flags: candidate.flags,
            level: level.map(str::to_owned),
            capabilities,
        }
    };
    // Older folders count for 32-bit x86 alone: no other guest has a glibc that searches them.
    let counts = |line: &Line| capabilities == 0 || [LIBC6, ANY_LIBC].contains(&line.flags);
    Ok(found.into_iter().map(line).filter(counts).collect())
}

/// The soname of the library at `path` if it is one, and how it stands there.
fn candidate(tree: &Tree, path: &TreePath) -> Result<Option<(Vec<u8>, Candidate)>, SlimError> {
    let name = path.name();
    if !is_library_name(name) {
        return Ok(None);
    }
    let mut is_link = match tree.get(path).map(|entry| &entry.kind) {
        // The link that stands for a file of the repository is as good as the file.
        Some(Kind::Symlink(target)) => !target.starts_with(MOUNT_POINT.as_bytes()),
        Some(Kind::File(_) | Kind::HardLink(_)) => false,
        _ => return Ok(None),
    };
    let Some(object) = object(tree, path)? else {
        return Ok(None);
    };
    let Some(flags) = flags(&object).filter(|_| object.elf_type == ET_DYN && object.dynamic) else {
        return Ok(None);
    };
    let mut soname = object
        .soname
        .as_ref()
        .map_or(name, |soname| soname.as_encoded_bytes())
        .to_vec();
    // `libfoo.so` -> `libfoo.so.1` is for the linker; other links under another name are libraries.
    if is_link && name != soname && !(name.ends_with(b".so") && soname.starts_with(name)) {
        is_link = false;
    }
    if is_link {
        soname = name.to_vec();
    }
    let candidate = Candidate {
        name: name.to_vec(),
        is_link,
        flags,
    };
    Ok(Some((soname, candidate)))
}

fn object(tree: &Tree, path: &TreePath) -> Result<Option<Object>, SlimError> {
    let place = absolute(path);
    match tree.open(&place) {
        Ok(source) => Ok(Object::read(&source).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SlimError::Unreadable { path: place, source }),
    }
}

/// `lib*.so*`, `ld-*.so*`: names that `ldconfig` looks at.
fn is_library_name(name: &[u8]) -> bool {
    let begins = name.starts_with(b"lib") || name.starts_with(b"ld-");
    begins && name.windows(3).any(|part| part == b".so") && !name.ends_with(b"-gdb.py")
}

/// The flags of a line: the ABI, and for 32-bit x86 whether it needs glibc.
fn flags(object: &Object) -> Option<u32> {
    let all = Abi::cache_flags(object.abi)?;
    let is_32 = object.abi.is_i386();
    let glibc = |name: &std::ffi::OsString| name == "libc.so.6" || name == "libm.so.6";
    let needs = object.needed.iter().any(glibc) || object.interpreter.is_some();
    Some(if is_32 && !needs { ANY_LIBC } else { all })
}

/// glibc's order of library names: numbers by their value (`_dl_cache_libcmp`).
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    while let Some(&first) = a.first() {
        let second = b.first().copied().unwrap_or(0);
        match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => {
                let ((left, rest_a), (right, rest_b)) = (number(a), number(b));
                if left != right {
                    return left.cmp(&right);
                }
                (a, b) = (rest_a, rest_b);
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if first != second => return first.cmp(&second),
            (false, false) => (a, b) = (&a[1..], &b[1..]),
        }
    }
    0.cmp(&b.first().copied().unwrap_or(0))
}

/// The number that `text` begins with, and the rest.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let value = text[..end].iter().fold(0_u64, |sum, digit| {
        sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    (value, &text[end..])
}

/// The order of lines: the loader searches them by halves, from the greatest name down.
fn order(a: &Line, b: &Line) -> Ordering {
    compare(&b.soname, &a.soname)
        .then_with(|| b.flags.cmp(&a.flags))
        .then_with(|| a.level.is_none().cmp(&b.level.is_none()))
        .then_with(|| a.level.cmp(&b.level))
        .then_with(|| b.capabilities.count_ones().cmp(&a.capabilities.count_ones()))
        .then_with(|| b.capabilities.cmp(&a.capabilities))
}

/// The file of these lines (dl-cache.h, `struct cache_file_new` and `struct cache_extension`).
fn encode(lines: &[Line], names: &BTreeSet<String>) -> Vec<u8> {
    let levels: BTreeSet<&str> = lines.iter().filter_map(|line| line.level.as_deref()).collect();
    let levels: Vec<&str> = levels.into_iter().collect();
    let texts = lines.iter().flat_map(|line| [line.soname.as_slice(), &line.path]);
    let strings = StringTable::new(texts.chain(names.iter().map(String::as_bytes)));
    let start = HEADER + lines.len() * ENTRY;
    let offset = |text: &[u8]| word(start) + strings.offset(text);
    let extension = (start + strings.bytes().len()).next_multiple_of(4);

    let mut file = MAGIC.to_vec();
    for field in [
        word(lines.len()),
        word(strings.bytes().len()),
        FLAGS,
        word(extension),
        0,
        0,
        0,
    ] {
        file.extend(field.to_le_bytes());
    }
    for line in lines {
        for field in [line.flags, offset(&line.soname), offset(&line.path), 0] {
            file.extend(field.to_le_bytes());
        }
        let place = line
            .level
            .as_deref()
            .and_then(|level| levels.binary_search(&level).ok());
        let hwcap = place.map_or(line.capabilities, |place| HWCAP_EXTENSION | place as u64);
        file.extend(hwcap.to_le_bytes());
    }
    file.extend(strings.bytes());
    file.resize(extension, 0);
    let names: Vec<u32> = levels.iter().map(|level| offset(level.as_bytes())).collect();
    extend(&mut file, &names);
    file
}

/// Adds the extensions: who wrote the file, and the names of levels where there are any.
fn extend(file: &mut Vec<u8>, levels: &[u32]) {
    let sections: usize = if levels.is_empty() { 1 } else { 2 };
    let lists = file.len() + 8 + sections * 16;
    let generator = lists + levels.len() * 4;
    let mut fields = vec![EXTENSION_MAGIC, word(sections)];
    fields.extend([EXTENSION_GENERATOR, 0, word(generator), word(GENERATOR.len())]);
    if !levels.is_empty() {
        fields.extend([EXTENSION_HWCAPS, 0, word(lists), word(levels.len() * 4)]);
    }
    fields.extend(levels);
    file.extend(fields.into_iter().flat_map(u32::to_le_bytes));
    file.extend(GENERATOR);
}

fn word(length: usize) -> u32 {
    u32::try_from(length).expect("a tree has fewer libraries than fill 4 GiB with their names")
}

#[cfg(test)]
#[path = "ld_cache_tests.rs"]
mod tests;
