//! gconv: the character set converters of the C library's `iconv`.

use std::path::{Path, PathBuf};

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::table::Candidate;
use super::uses::home;
use super::{conf, glob};

/// The modules that the configuration beside the C library names: `gconv-modules.cache` if it is
/// there, since the C library then reads nothing else, else `gconv-modules` and
/// `gconv-modules.d/*.conf`.
pub(super) fn modules(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    let folder = home(loader, &libc.path).join("gconv");
    let cache = folder.join("gconv-modules.cache");
    let (mut paths, why) = match cached(loader, &cache) {
        Some(paths) => (paths, cache),
        None => (configured(loader, &folder), folder.join("gconv-modules")),
    };
    paths.sort();
    paths.dedup();
    let why = why.display().to_string();
    let candidate = |path: PathBuf| Candidate {
        name: path.into(),
        why: why.clone(),
    };
    paths.into_iter().map(candidate).collect()
}

/// Lines `module FROM TO FILE COST`.
fn configured(loader: &Loader<'_>, folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![folder.join("gconv-modules")];
    files.extend(glob::files(loader.files(), folder, "gconv-modules.d/*.conf"));
    let texts = files.iter().map(|file| conf::text(loader, file));
    let names = texts.flat_map(|text| {
        let names = conf::lines(&text).filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("module")).then(|| words.nth(2).map(str::to_owned))?
        });
        names.collect::<Vec<_>>()
    });
    names.map(|name| file_of(folder, &name)).collect()
}

/// The file of a module; its suffix may be left out.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    let has_suffix = Path::new(name).extension().is_some_and(|suffix| suffix == "so");
    folder.join(if has_suffix {
        name.to_owned()
    } else {
        format!("{name}.so")
    })
}

/// `GCONVCACHE_MAGIC` of glibc iconv/iconvconfig.h.
const MAGIC: u32 = 0x2001_0324;
/// Debian's has 27 KiB; offsets have 16 bits.
const LARGEST: usize = 1024 * 1024;
/// Bytes of a `module_entry`: the places of its name, of the folder and the file that convert to
/// UCS-4, of those that convert from it, and of more; 16 bits each.
const ENTRY: usize = 12;

/// The files of a cache; `None` where there is none that can be read.
fn cached(loader: &Loader<'_>, path: &Path) -> Option<Vec<PathBuf>> {
    let cache = loader.files().open(path).ok()?.read_all(LARGEST).ok()?;
    parse(&cache)
}

/// A cache (glibc iconv/iconvconfig.h): a header of a magic number and the places of strings,
/// hash table, modules and other conversions; then these.
fn parse(cache: &[u8]) -> Option<Vec<PathBuf>> {
    let word = |at: usize| Some(usize::from(u16::from_le_bytes(cache.get(at..at + 2)?.try_into().ok()?)));
    if cache.get(..4)? != MAGIC.to_le_bytes() {
        return None;
    }
    let (strings, modules, others) = (word(4)?, word(10)?, word(12)?);
    let string = |offset: usize| {
        let rest = cache.get(strings + offset..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    };
    let table = cache.get(modules..others.min(cache.len()))?;
    let mut paths = Vec::new();
    for place in 0..table.len() / ENTRY {
        let at = modules + place * ENTRY;
        for (folder, name) in [(at + 2, at + 4), (at + 6, at + 8)] {
            let (folder, name) = (string(word(folder)?)?, string(word(name)?)?);
            // Conversions inside the C library have no file.
            if folder.starts_with('/') && !name.is_empty() {
                paths.push(file_of(Path::new(folder), name));
            }
        }
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::super::super::loader::Settings;
    use super::super::super::test_files::files;
    use super::*;

    /// A cache of one module that is a file and one that is not.
    fn cache() -> Vec<u8> {
        let strings = b"\0/g/\0A.so\0=b\0";
        let mut cache = MAGIC.to_le_bytes().to_vec();
        let modules = 16 + 14;
        for word in [16, 0, 0, modules, modules + 24, 0_u16] {
            cache.extend(word.to_le_bytes());
        }
        cache.extend(strings);
        cache.resize(usize::from(modules), 0);
        for word in [0, 1, 5, 1, 5, 0, 0, 0, 10, 0, 10, 0_u16] {
            cache.extend(word.to_le_bytes());
        }
        cache
    }

    #[test]
    fn a_cache_names_files() {
        let cache = cache();
        let file = PathBuf::from("/g/A.so");
        assert_eq!(parse(&cache), Some(vec![file.clone(), file]));
        assert_eq!(parse(b"text"), None);
        for length in 0..cache.len() {
            parse(&cache[..length]);
        }
        for place in 0..cache.len() {
            let mut broken = cache.clone();
            broken[place] ^= 0xff;
            parse(&broken);
        }
    }

    #[test]
    fn a_configuration_names_files() {
        let tree = files(&[
            (
                "/l/gconv/gconv-modules",
                "# x\nalias A// B//\nmodule A// INTERNAL A 1\n",
            ),
            (
                "/l/gconv/gconv-modules.d/more.conf",
                "module INTERNAL C// C.so 1\nmodule short\n",
            ),
        ]);
        let loader = Loader::new(&tree, Settings::default());
        let found = configured(&loader, Path::new("/l/gconv"));
        assert_eq!(found, ["/l/gconv/A.so", "/l/gconv/C.so"].map(PathBuf::from));
    }
}
