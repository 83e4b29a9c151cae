//! A Debian kernel package: its kernel, its configuration and its modules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::kernel_archive::read_package;
use super::kernel_error::KernelError;
use super::kernel_pack::Pack;
use super::modules::{Known, MODULE_GROUPS, ModuleGroup, load_order, normal_name};
use crate::digest::Digest;
use crate::durable;
use crate::exec::Runner;

/// How many names are offered in place of one that is not there, and how far they may be off.
const NEAREST: usize = 3;
const FARTHEST: usize = 3;

/// A module as the guest loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Its path in the package, without a leading slash and without `.xz`:
    /// `lib/modules/6.1.0-50-686/kernel/fs/squashfs/squashfs.ko`.
    pub path: String,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

/// A kernel package of which the useful part is in the cache.
///
/// The first use of a package unpacks it, which takes seconds; later uses read one file of some
/// ten megabytes. A module that no earlier use asked for makes the package be unpacked again.
pub struct KernelPackage<'a> {
    runner: &'a dyn Runner,
    deb: PathBuf,
    cache: PathBuf,
    pack: Pack,
}

impl std::fmt::Debug for KernelPackage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelPackage")
            .field("deb", &self.deb)
            .field("pack", &self.pack)
            .finish_non_exhaustive()
    }
}

impl<'a> KernelPackage<'a> {
    /// Opens the package file `deb`, whose SHA-256 is `digest` (the caller has checked that), and
    /// keeps what is useful of it in the folder `cache`, which is made if need be.
    pub fn open(runner: &'a dyn Runner, deb: &Path, digest: Digest, cache: &Path) -> Result<Self, KernelError> {
        let path = pack_path(cache, digest);
        let pack = match Pack::open(&path) {
            Some(pack) => pack,
            None => fill(runner, deb, &path, &BTreeSet::new())?,
        };
        Ok(Self {
            runner,
            deb: deb.to_owned(),
            cache: path,
            pack,
        })
    }

    /// The kernel's release, as `uname -r` says in the guest: `6.1.0-50-686`.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.pack.index.release
    }

    /// The kernel, a bzImage.
    pub fn vmlinuz(&self) -> Result<Vec<u8>, KernelError> {
        self.pack.read(&self.pack.index.vmlinuz)
    }

    /// The value of a configuration option such as `CONFIG_SQUASHFS`: `y`, `m`, a number or a
    /// quoted string; `None` where it is not set.
    pub fn config_value(&self, option: &str) -> Result<Option<String>, KernelError> {
        let config = self.pack.read(&self.pack.index.config)?;
        let value = |line: &str| Some(line.strip_prefix(option)?.strip_prefix('=')?.to_owned());
        Ok(String::from_utf8_lossy(&config).lines().find_map(value))
    }

    /// Whether the kernel has this module, as a file or built in.
    #[must_use]
    pub fn has_module(&self, name: &str) -> bool {
        let name = normal_name(name);
        self.pack.index.builtin.contains(&name) || self.pack.index.paths.contains_key(&name)
    }

    /// Whether the kernel has all modules of `group`. Debian's cloud kernels lack what only real
    /// hardware and `VirtualBox` have.
    #[must_use]
    pub fn has_group(&self, group: &ModuleGroup) -> bool {
        group.wanted.iter().all(|name| self.has_module(name))
    }

    /// One module, without what it needs; `None` if it is built in.
    pub fn module(&self, name: &str) -> Result<Option<ModuleFile>, KernelError> {
        let name = normal_name(name);
        Ok(self.closure(&[&name])?.into_iter().find(|file| file.name == name))
    }

    /// The modules `names` and all they need, in the order they are to be loaded. What is built
    /// in is left out.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<ModuleFile>, KernelError> {
        if let Some(files) = closure(&self.pack, names)? {
            return Ok(files);
        }
        let mut asked: BTreeSet<String> = names.iter().map(|name| normal_name(name)).collect();
        asked.extend(self.pack.index.asked.iter().cloned());
        // Another process may have asked for more since.
        asked.extend(Pack::open(&self.cache).into_iter().flat_map(|pack| pack.index.asked));
        let pack = fill(self.runner, &self.deb, &self.cache, &asked)?;
        Ok(closure(&pack, names)?.unwrap_or_default())
    }
}

fn pack_path(cache: &Path, digest: Digest) -> PathBuf {
    cache.join(format!("kernel-{digest}.pack"))
}

/// Unpacks the package into the cache file `path`, with the modules of all groups and of `asked`.
fn fill(runner: &dyn Runner, deb: &Path, path: &Path, asked: &BTreeSet<String>) -> Result<Pack, KernelError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    durable::create_private_folder(folder)?;
    let grouped = MODULE_GROUPS
        .iter()
        .flat_map(|group| group.wanted)
        .map(|name| normal_name(name));
    let asked: BTreeSet<String> = asked.iter().cloned().chain(grouped).collect();
    let (index, blobs) = read_package(runner, deb, folder, &asked)?;
    tracing::debug!(
        release = index.release,
        modules = index.kept.len(),
        "kernel package unpacked"
    );
    Pack::write(path, &index, &blobs)
}

/// The modules in load order; `None` when the pack does not hold all of them.
fn closure(pack: &Pack, names: &[&str]) -> Result<Option<Vec<ModuleFile>>, KernelError> {
    let index = &pack.index;
    let mut complete = true;
    let mut look_up = |name: &str| {
        Ok(if index.builtin.contains(name) {
            Known::BuiltIn
        } else if let Some(kept) = index.kept.get(name) {
            Known::Loadable(kept.needs.clone())
        } else if index.paths.contains_key(name) {
            complete = false;
            Known::BuiltIn
        } else {
            Known::Unknown
        })
    };
    let order = load_order(names, &mut look_up, &|name| unknown(pack, name))?;
    if !complete {
        return Ok(None);
    }
    let file = |name: String| {
        let path = index.paths[&name].trim_end_matches(".xz").to_owned();
        Ok(ModuleFile {
            bytes: pack.read(&index.kept[&name].blob)?,
            path,
            name,
        })
    };
    order.into_iter().map(file).collect::<Result<_, _>>().map(Some)
}

fn unknown(pack: &Pack, module: &str) -> KernelError {
    let names = pack.index.paths.keys().chain(&pack.index.builtin);
    let mut near: Vec<(usize, &String)> = names
        .map(|name| (distance(module, name), name))
        .filter(|(distance, _)| *distance <= FARTHEST)
        .collect();
    near.sort();
    KernelError::UnknownModule {
        module: module.to_owned(),
        release: pack.index.release.clone(),
        nearest: near.into_iter().take(NEAREST).map(|(_, name)| name.clone()).collect(),
    }
}

/// How many bytes must be inserted, removed or changed to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::modules::tests::module;
    use super::*;
    use crate::exec::{Completed, Scripted};

    const RELEASE: &str = "6.1.0-50-686";

    /// The archive of a kernel package with these modules: path below `kernel`, and content.
    fn archive(modules: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes).unwrap();
        };
        add(format!("./boot/vmlinuz-{RELEASE}"), b"the kernel");
        add(
            format!("./boot/config-{RELEASE}"),
            b"# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_BC=\"x=y\"\n",
        );
        add(
            format!("./lib/modules/{RELEASE}/modules.builtin"),
            b"kernel/lib/crc-16.ko\n",
        );
        for (path, bytes) in modules {
            add(format!("./lib/modules/{RELEASE}/kernel/{path}"), bytes);
        }
        tar.into_inner().unwrap()
    }

    fn package() -> Vec<u8> {
        let packed = |entries: &[&str]| {
            let mut encoder = liblzma::read::XzEncoder::new(std::io::Cursor::new(module(entries)), 1);
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut encoder, &mut bytes).unwrap();
            bytes
        };
        archive(&[
            ("fs/squashfs/squashfs.ko", module(&["depends="])),
            (
                "fs/ext4/ext4.ko.xz",
                packed(&["depends=jbd2,crc-16", "softdep=pre: crypto-crc32c"]),
            ),
            ("fs/jbd2/jbd2.ko.xz", packed(&["depends="])),
            ("crypto/crc32c_generic.ko", module(&["depends="])),
            ("fs/btrfs/btrfs.ko", module(&["depends=xor"])),
            ("lib/xor.ko", module(&["depends="])),
            ("lib/new.ko.zst", b"whatever".to_vec()),
            ("lib/odd.ko", b"no ELF file".to_vec()),
            ("lib/lost.ko", module(&["depends=nowhere"])),
        ])
    }

    /// A runner from which the package can be read `times` times.
    fn host(tar: &[u8], times: usize) -> Scripted {
        Scripted::answering((0..times).map(|_| {
            Ok(Completed {
                stdout: tar.to_vec(),
                stderr: Vec::new(),
            })
        }))
    }

    fn names(files: &[ModuleFile]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_package_is_unpacked_once_and_again_only_for_other_modules() {
        let cache = tempfile::tempdir().unwrap();
        let host = host(&package(), 2);
        let open = || KernelPackage::open(&host, Path::new("linux.deb"), Digest::of(b"deb"), cache.path()).unwrap();
        for unpacked in [1, 1] {
            let kernel = open();
            assert_eq!(
                (kernel.release(), &kernel.vmlinuz().unwrap()[..]),
                (RELEASE, &b"the kernel"[..])
            );
            assert_eq!(
                names(&kernel.closure(&["ext4"]).unwrap()),
                ["crc32c_generic", "jbd2", "ext4"]
            );
            assert_eq!(host.seen().len(), unpacked);
        }
        for _ in 0..2 {
            let btrfs = open().closure(&["btrfs"]).unwrap();
            assert_eq!(names(&btrfs), ["xor", "btrfs"]);
            assert_eq!(btrfs[0].path, format!("lib/modules/{RELEASE}/kernel/lib/xor.ko"));
            assert_eq!(host.seen(), ["dpkg-deb --fsys-tarfile linux.deb"; 2]);
        }
        let ext4 = open().module("ext4").unwrap().unwrap();
        assert_eq!(ext4.path, format!("lib/modules/{RELEASE}/kernel/fs/ext4/ext4.ko"));
        assert_eq!(
            ext4.bytes,
            module(&["depends=jbd2,crc-16", "softdep=pre: crypto-crc32c"])
        );
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_kernel_tells_what_it_has() {
        let cache = tempfile::tempdir().unwrap();
        let host = host(&package(), 9);
        let kernel = KernelPackage::open(&host, Path::new("linux.deb"), Digest::of(b"deb"), cache.path()).unwrap();
        for (option, value) in [
            ("CONFIG_A", None),
            ("CONFIG_B", Some("m")),
            ("CONFIG_BC", Some("\"x=y\"")),
        ] {
            assert_eq!(kernel.config_value(option).unwrap().as_deref(), value);
        }
        assert!(kernel.has_module("crc-16") && kernel.module("crc-16").unwrap().is_none());
        let has = |name| kernel.has_group(super::super::modules::module_group(name).unwrap());
        assert!(has("squashfs") && !has("ahci"));
        for (name, message) in [
            (
                "squashf",
                "kernel 6.1.0-50-686 has no module 'squashf' (there is squashfs)",
            ),
            ("something_else", "kernel 6.1.0-50-686 has no module 'something_else'"),
            (
                "new",
                "module 'new' of kernel 6.1.0-50-686 cannot be read: it is compressed, and not with XZ",
            ),
            (
                "odd",
                "module 'odd' of kernel 6.1.0-50-686 cannot be read: it has no .modinfo section",
            ),
            (
                "lost",
                "module 'nowhere' of kernel 6.1.0-50-686 cannot be read: another module needs it, and the package has none",
            ),
        ] {
            assert_eq!(kernel.closure(&[name]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn another_package_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        for (tar, message) in [
            (
                tar::Builder::new(Vec::new()).into_inner().unwrap(),
                "linux.deb holds no boot/vmlinuz-*",
            ),
            (archive(&[]), "linux.deb holds no lib/modules/*/kernel"),
            (package()[..1500].to_vec(), "failed to read entire block"),
        ] {
            let host = host(&tar, 1);
            let error =
                KernelPackage::open(&host, Path::new("linux.deb"), Digest::of(b"deb"), cache.path()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
        }
    }
}
