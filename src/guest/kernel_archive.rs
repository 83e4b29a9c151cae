//! Reads a kernel package: one pass over its archive, modules set aside in a scratch file, and of
//! these only what is wanted is looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use super::kernel_error::KernelError;
use super::kernel_pack::{Blobs, Index, Kept};
use super::modules::{Known, Needs, load_order, normal_name};
use crate::exec::{Invocation, Runner};

/// The largest kernel image or configuration that is read.
const FILE_LIMIT: u64 = 256 << 20;

/// The largest module, unpacked; Debian's largest has 13 MB.
const MODULE_LIMIT: u64 = 64 << 20;

/// Memory that unpacking a module may use: the kernel's build compresses them with 2 MiB of
/// dictionary.
const XZ_MEMORY: u64 = 64 << 20;

/// A module's bytes in the scratch file.
struct Aside {
    offset: u64,
    length: u64,
}

/// What one pass over the package's archive found.
struct Archive {
    index: Index,
    vmlinuz: Option<Vec<u8>>,
    config: Option<Vec<u8>>,
    aside: BTreeMap<String, Aside>,
    scratch: File,
    end: u64,
}

/// Reads the package at `deb`; keeps the kernel, and of its modules those of `asked` that it has
/// with all they need. The scratch file, as large as all modules, is in `scratch`.
pub(super) fn read_package(
    runner: &dyn Runner,
    deb: &Path,
    scratch: &Path,
    asked: &BTreeSet<String>,
) -> Result<(Index, Blobs), KernelError> {
    let failed = |source| KernelError::Read {
        path: deb.to_owned(),
        source,
    };
    let mut archive = Archive {
        index: Index::default(),
        vmlinuz: None,
        config: None,
        aside: BTreeMap::new(),
        scratch: tempfile::tempfile_in(scratch).map_err(failed)?,
        end: 0,
    };
    let list = Invocation::new("dpkg-deb").arg("--fsys-tarfile").arg(deb);
    runner.drain(&list, &mut |stream| archive.read(stream))?;
    let missing = |what| KernelError::NotAKernelPackage {
        package: deb.to_owned(),
        what,
    };
    let vmlinuz = archive.vmlinuz.take().ok_or_else(|| missing("boot/vmlinuz-*"))?;
    let config = archive.config.take().ok_or_else(|| missing("boot/config-*"))?;
    if archive.aside.is_empty() {
        return Err(missing("lib/modules/*/kernel"));
    }
    let mut blobs = Blobs::default();
    archive.index.vmlinuz = blobs.add(&vmlinuz);
    archive.index.config = blobs.add(&config);
    archive.keep(asked, &mut blobs)?;
    archive.index.asked.clone_from(asked);
    Ok((archive.index, blobs))
}

impl Archive {
    fn read(&mut self, stream: &mut dyn Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./");
            if let Some(release) = path.strip_prefix("boot/vmlinuz-") {
                release.clone_into(&mut self.index.release);
                self.vmlinuz = Some(bounded(&mut entry, FILE_LIMIT)?);
            } else if path.starts_with("boot/config-") {
                self.config = Some(bounded(&mut entry, FILE_LIMIT)?);
            } else if path.contains("lib/modules/") && path.ends_with("/modules.builtin") {
                let list = bounded(&mut entry, FILE_LIMIT)?;
                self.index.builtin = String::from_utf8_lossy(&list).lines().filter_map(module_name).collect();
            } else if let Some(name) = module_name(path).filter(|_| path.contains("lib/modules/")) {
                self.set_aside(name, path, &mut entry)?;
            }
        }
        // What follows the end mark must be read too: dpkg-deb fails when its pipe breaks.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map(|_| ())
    }

    fn set_aside(&mut self, name: String, path: &str, module: &mut dyn Read) -> io::Result<()> {
        let length = io::copy(module, &mut self.scratch)?;
        self.index.paths.insert(name.clone(), path.to_owned());
        self.aside.insert(
            name,
            Aside {
                offset: self.end,
                length,
            },
        );
        self.end += length;
        Ok(())
    }

    /// Adds to the index and to `blobs` those of `asked` that the package has, with their needs.
    fn keep(&mut self, asked: &BTreeSet<String>, blobs: &mut Blobs) -> Result<(), KernelError> {
        self.scratch.flush().map_err(|error| self.module_error("", &error))?;
        let present: Vec<&str> = asked
            .iter()
            .map(String::as_str)
            .filter(|name| self.aside.contains_key(*name))
            .collect();
        let mut read: BTreeMap<String, (Needs, Vec<u8>)> = BTreeMap::new();
        let mut look_up = |name: &str| {
            if !read.contains_key(name) {
                if self.index.builtin.contains(name) {
                    return Ok(Known::BuiltIn);
                }
                let Some(module) = self.module(name)? else {
                    return Ok(Known::Unknown);
                };
                let needs = Needs::of(&module).ok_or_else(|| self.module_error(name, &"it has no .modinfo section"))?;
                read.insert(name.to_owned(), (needs, module));
            }
            Ok(Known::Loadable(read[name].0.clone()))
        };
        load_order(&present, &mut look_up, &|name| {
            self.module_error(name, &"another module needs it, and the package has none")
        })?;
        for (name, (needs, module)) in read {
            self.index.kept.insert(
                name,
                Kept {
                    needs,
                    blob: blobs.add(&module),
                },
            );
        }
        Ok(())
    }

    /// The module `name`, unpacked.
    fn module(&self, name: &str) -> Result<Option<Vec<u8>>, KernelError> {
        let Some(aside) = self.aside.get(name) else {
            return Ok(None);
        };
        let failed = |error: io::Error| self.module_error(name, &error);
        let mut scratch = &self.scratch;
        scratch.seek(SeekFrom::Start(aside.offset)).map_err(failed)?;
        let stored = scratch.take(aside.length);
        let bytes = match self.index.paths[name].rsplit_once(".ko").map(|(_, suffix)| suffix) {
            Some("") => bounded(&mut { stored }, MODULE_LIMIT),
            Some(".xz") => Stream::new_stream_decoder(XZ_MEMORY, 0)
                .map_err(io::Error::from)
                .and_then(|decoder| bounded(&mut XzDecoder::new_stream(stored, decoder), MODULE_LIMIT)),
            _ => return Err(self.module_error(name, &"it is compressed, and not with XZ")),
        };
        bytes.map(Some).map_err(failed)
    }

    fn module_error(&self, name: &str, reason: &dyn std::fmt::Display) -> KernelError {
        KernelError::Module {
            module: name.to_owned(),
            release: self.index.release.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The normal name of the module at `path`, if it is one.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, suffix) = file.rsplit_once(".ko")?;
    matches!(suffix, "" | ".xz" | ".zst" | ".gz").then(|| normal_name(name))
}

/// Everything `reader` yields, which must not be more than `limit` bytes.
fn bounded(reader: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a file in it is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
