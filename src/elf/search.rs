//! Where `ld.so` looks for a library: ld.so(8), and glibc's elf/dl-load.c where that is silent.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::abi::{Abi, Class};
use super::bytes::FileId;
use super::ld_conf;
use super::loader::Loader;
use super::object::{Fault, Object};
use super::tokens::Tokens;

/// The rule by which a file came to be loaded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It is what was asked for.
    Root,
    /// The program names it as its loader (`PT_INTERP`).
    Interpreter,
    /// It is needed by a name with a slash, which is a path.
    Path,
    /// `DT_RPATH` of this file: the one that needs it, or one that loaded that one.
    Rpath(PathBuf),
    /// `LD_LIBRARY_PATH`.
    LibraryPath,
    /// `DT_RUNPATH` of the file that needs it.
    Runpath,
    /// `/etc/ld.so.cache`.
    Cache,
    /// A folder of `/etc/ld.so.conf`, where there is no cache: what `ldconfig` would put there.
    Configured,
    /// A folder that the loader always searches.
    Default,
}

/// A file that the search ended with.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) object: Arc<Object>,
    pub(super) rule: Rule,
}

/// Why the search ended without a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Miss {
    /// No folder has a file of this name and ABI.
    NotFound,
    /// The first file of this name cannot be loaded; the loader does not search on.
    Unusable(PathBuf, Fault),
}

/// One file of those that lead from a program to who needs a library: that file first, the
/// program last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requester<'a> {
    pub(super) path: &'a Path,
    pub(super) origin: &'a OsStr,
    pub(super) object: &'a Object,
}

/// How the loader of one ABI searches, as far as it does not depend on the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Of which ABI.
    pub abi: Abi,
    /// Folders of `/etc/ld.so.conf`, for roots without `ld.so.cache`.
    pub configured: Vec<PathBuf>,
    /// Folders that are always searched.
    pub default: Vec<PathBuf>,
    /// Sub-folders that are tried in each folder before it, in order.
    pub variants: Vec<String>,
    /// The levels of `glibc-hwcaps` among them, in order.
    levels: Vec<&'static str>,
    /// Older capabilities, as bits of entries in the cache.
    hwcaps: u64,
    lib: String,
    platform: &'static str,
}

/// The x86-64 levels of glibc 2.33 and later, best first.
const LEVELS: [&str; 3] = ["x86-64-v4", "x86-64-v3", "x86-64-v2"];

impl Search {
    /// How the loader of `abi` searches in the root of `loader`.
    #[must_use]
    pub fn new(loader: &Loader<'_>, abi: Abi) -> Self {
        let triplet = abi.multiarch().filter(|triplet| {
            let folder = |parent: &str| loader.is_folder(&Path::new(parent).join(triplet));
            folder("/lib") || folder("/usr/lib")
        });
        let plain = if abi.class == Class::Elf64 { "lib64" } else { "lib" };
        let lib = triplet.map_or_else(|| plain.to_owned(), |triplet| format!("lib/{triplet}"));
        // Debian's patch to glibc: the multiarch folders, then the plain ones; elsewhere one name.
        let names = match triplet {
            Some(_) => vec![lib.as_str(), "lib"],
            None => vec![plain],
        };
        let default = names
            .iter()
            .flat_map(|name| [format!("/{name}"), format!("/usr/{name}")]);
        let default: Vec<PathBuf> = default.map(PathBuf::from).collect();
        let levels = if abi.is_x86_64() {
            loader.settings().cpu_level.min(4)
        } else {
            1
        };
        let levels = LEVELS[LEVELS.len() - usize::from(levels.saturating_sub(1))..].to_vec();
        let configured = if loader.has_cache() {
            Vec::new()
        } else {
            ld_conf::folders(loader.files(), Path::new("/etc/ld.so.conf"))
        };
        let mut variants: Vec<String> = levels.iter().map(|level| format!("glibc-hwcaps/{level}")).collect();
        let glibc = glibc(loader, &default, abi);
        variants.extend(legacy_variants(abi, glibc));
        Self {
            abi,
            configured,
            default,
            variants,
            levels,
            hwcaps: legacy_capabilities(abi, glibc),
            lib,
            platform: abi.platform().unwrap_or_default(),
        }
    }

    /// Searches a library for the first of `requesters`.
    pub(super) fn find(&self, loader: &Loader<'_>, name: &OsStr, requesters: &[Requester<'_>]) -> Result<Hit, Miss> {
        let (Some(requester), Some(program)) = (requesters.first(), requesters.last()) else {
            return Err(Miss::NotFound);
        };
        let tokens = self.tokens(requester.origin);
        let name = tokens.expand(name).ok_or(Miss::NotFound)?;
        if name.as_bytes().contains(&b'/') {
            let path = loader.settings().working_folder.join(&name);
            return self.verify(loader, path, Rule::Path)?.ok_or(Miss::NotFound);
        }
        if requester.object.runpath.is_none() {
            for ancestor in requesters {
                let Some(rpath) = &ancestor.object.rpath else {
                    continue;
                };
                let folders = self.folders(loader, rpath, b":", ancestor.origin);
                if let Some(hit) = self.try_folders(loader, &name, &folders, &Rule::Rpath(ancestor.path.into()))? {
                    return Ok(hit);
                }
            }
        }
        let library_path = &loader.settings().library_path;
        let folders = self.folders(loader, library_path, b":;", program.origin);
        if let Some(hit) = self.try_folders(loader, &name, &folders, &Rule::LibraryPath)? {
            return Ok(hit);
        }
        if let Some(runpath) = &requester.object.runpath {
            let folders = self.folders(loader, runpath, b":", requester.origin);
            if let Some(hit) = self.try_folders(loader, &name, &folders, &Rule::Runpath)? {
                return Ok(hit);
            }
        }
        let no_default = requester.object.no_default_folders;
        self.try_system(loader, &name, no_default)?.ok_or(Miss::NotFound)
    }

    /// The cache, or what would be in it, then the default folders.
    fn try_system(&self, loader: &Loader<'_>, name: &OsStr, no_default: bool) -> Result<Option<Hit>, Miss> {
        let in_default = |path: &Path| self.default.iter().any(|folder| path.starts_with(folder));
        if let Some(path) = loader.cached(name, self.abi, &self.levels, self.hwcaps)
            && !(no_default && in_default(&path))
            && let Some(hit) = self.verify(loader, path, Rule::Cache)?
        {
            return Ok(Some(hit));
        }
        let configured = self
            .configured
            .iter()
            .filter(|folder| !(no_default && in_default(folder)));
        let configured: Vec<PathBuf> = configured.cloned().collect();
        if let Some(hit) = self.try_folders(loader, name, &configured, &Rule::Configured)? {
            return Ok(Some(hit));
        }
        if no_default {
            return Ok(None);
        }
        self.try_folders(loader, name, &self.default, &Rule::Default)
    }

    fn tokens<'o>(&'o self, origin: &'o OsStr) -> Tokens<'o> {
        Tokens {
            origin,
            lib: &self.lib,
            platform: self.platform,
        }
    }

    /// The folders of a search path that are there, each once. An empty one is the working folder.
    fn folders(&self, loader: &Loader<'_>, path: &OsStr, separators: &[u8], origin: &OsStr) -> Arc<[PathBuf]> {
        if path.is_empty() {
            return [].into();
        }
        let key = (self.abi, path.to_owned(), origin.to_owned());
        loader.search_path(&key, || {
            let mut seen = HashSet::new();
            let parts = path.as_bytes().split(|byte| separators.contains(byte));
            let folders = parts.filter_map(|part| {
                let folder = self.tokens(origin).expand(OsStr::from_bytes(part))?;
                let folder = folder.as_bytes();
                let end = folder.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
                let folder = OsString::from_vec(folder[..end.min(folder.len())].to_vec());
                Some(loader.settings().working_folder.join(folder))
            });
            folders
                .filter(|folder| loader.is_folder(folder) && seen.insert(folder.clone()))
                .collect()
        })
    }

    fn try_folders(
        &self,
        loader: &Loader<'_>,
        name: &OsStr,
        folders: &[PathBuf],
        rule: &Rule,
    ) -> Result<Option<Hit>, Miss> {
        for folder in folders.iter().filter(|folder| loader.is_folder(folder)) {
            let variants = self.variants.iter().map(|variant| folder.join(variant));
            let variants = variants.filter(|variant| loader.is_folder(variant));
            for place in variants.chain([folder.clone()]) {
                if let Some(hit) = self.verify(loader, place.join(name), rule.clone())? {
                    return Ok(Some(hit));
                }
            }
        }
        Ok(None)
    }

    /// The file at `path` if it fits; one of another ABI is passed over, a broken one is fatal.
    fn verify(&self, loader: &Loader<'_>, path: PathBuf, rule: Rule) -> Result<Option<Hit>, Miss> {
        let Some(read) = loader.read(&path) else {
            return Ok(None);
        };
        match read.object {
            Ok(object) if object.abi == self.abi => Ok(Some(Hit {
                path,
                id: read.id,
                object,
                rule,
            })),
            Ok(_) => Ok(None),
            Err(fault) => Err(Miss::Unusable(path, fault)),
        }
    }
}

/// The minor version of the root's glibc 2.x.
fn glibc(loader: &Loader<'_>, folders: &[PathBuf], abi: Abi) -> Option<u32> {
    let objects = folders.iter().filter_map(|folder| {
        let object = loader.read(&folder.join("libc.so.6"))?.object.ok()?;
        (object.abi == abi).then_some(object)
    });
    objects.filter_map(|object| glibc_minor(&object)).max()
}

/// The minor version of a glibc 2.x, from the versions that its libc defines.
pub(super) fn glibc_minor(libc: &Object) -> Option<u32> {
    let minor = |version: &str| version.strip_prefix("GLIBC_2.")?.split('.').next()?.parse().ok();
    libc.provides
        .iter()
        .flatten()
        .filter_map(|version| minor(version))
        .max()
}

/// The sub-folders for hardware capabilities that glibc searched until 2.36, for the processors
/// that hpcvm's guests have: every combination of `tls`, platform and capability, in the order
/// that `LD_DEBUG=libs` shows. The set of capabilities for i386 shrank in 2.26.
fn legacy_variants(abi: Abi, glibc: Option<u32>) -> Vec<String> {
    let parts: &[&str] = match glibc {
        None | Some(37..) => &[],
        Some(0..26) if abi.is_i386() => &["tls", "i686", "sse2", "cmov"],
        Some(_) if abi.is_i386() => &["tls", "i686", "sse2"],
        Some(_) if abi.is_x86_64() => &["tls", "x86_64"],
        Some(_) => &["tls"],
    };
    let subsets = (1..1_u32 << parts.len()).rev();
    subsets
        .map(|subset| {
            let bit = |place: &usize| subset & (1 << (parts.len() - 1 - place)) != 0;
            let chosen = (0..parts.len()).filter(bit).map(|place| parts[place]);
            chosen.collect::<Vec<_>>().join("/")
        })
        .collect()
}

/// The same as bits of `ld.so.cache` (glibc sysdeps/x86/dl-hwcap.h; before 2.26,
/// sysdeps/i386/dl-procinfo.h).
fn legacy_capabilities(abi: Abi, glibc: Option<u32>) -> u64 {
    const TLS: u64 = 1 << 63;
    match glibc {
        None | Some(37..) => 0,
        // cmov, sse2, platform i686.
        Some(0..26) if abi.is_i386() => TLS | 1 << 15 | 1 << 26 | 1 << 51,
        // sse2, platform i686.
        Some(_) if abi.is_i386() => TLS | 1 | 1 << 49,
        // x86_64.
        Some(26..) if abi.is_x86_64() => TLS | 1 << 1,
        Some(_) => TLS,
    }
}

#[cfg(test)]
mod tests {
    use goblin::elf::header::{EM_386, EM_X86_64};

    use super::*;

    #[test]
    fn legacy_folders_are_those_of_the_glibc() {
        let abi = |machine, class| Abi {
            machine,
            class,
            little_endian: true,
        };
        let i386 = abi(EM_386, Class::Elf32);
        // As `LD_DEBUG=libs ld-linux.so.2 --list` of glibc 2.36 prints them.
        assert_eq!(
            legacy_variants(i386, Some(36)),
            [
                "tls/i686/sse2",
                "tls/i686",
                "tls/sse2",
                "tls",
                "i686/sse2",
                "i686",
                "sse2"
            ]
        );
        assert_eq!(legacy_variants(i386, Some(24))[0], "tls/i686/sse2/cmov");
        assert_eq!(
            legacy_variants(abi(EM_X86_64, Class::Elf64), Some(36)),
            ["tls/x86_64", "tls", "x86_64"]
        );
        assert!(legacy_variants(i386, Some(37)).is_empty());
        assert!(legacy_variants(i386, None).is_empty());
    }
}
