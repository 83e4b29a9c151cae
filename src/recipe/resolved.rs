//! A recipe with its includes merged, its defaults filled in and every check passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::diagnostic::{SourceFile, Span};
use crate::digest::Digest;
use crate::units::Bytes;

/// What a guest is made of.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recipe {
    /// The image's name.
    pub name: String,
    /// One line for `hpcvm image ls`.
    pub description: String,
    /// The Debian release it starts from.
    pub base: Base,
    /// Debian packages to install, besides what the kernel needs; sorted, without duplicates.
    pub packages: Vec<String>,
    /// Globs of service names to keep, such as `ssh` or `*`; all others are stripped.
    pub keep_services: Vec<String>,
    /// Purge rules in force; sorted, without duplicates.
    pub purge: Vec<PurgeRule>,
    /// Globs of absolute paths that no purge rule may remove.
    pub keep: Vec<String>,
    /// Overlays in the order they are laid over the tree; later ones win.
    pub overlays: Vec<Overlay>,
    /// Single files laid over the tree after the overlays.
    pub files: Vec<FileEntry>,
    /// Which libraries are linked; `None` where all stay in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libraries: Option<Libraries>,
    /// The kernel and what starts with it.
    pub kernel: Kernel,
    /// What runs as process 1 of the guest.
    pub init: Init,
    /// The shape of the disk image.
    pub image: ImageOptions,
    /// Defaults for launching.
    pub run: RunDefaults,
    /// What templates of warm starts do before they are saved.
    #[serde(skip_serializing_if = "is_default")]
    pub warm: Warm,
    /// Commands that prove the guest valid.
    pub validate: Vec<Validation>,
    /// The recipe file and every file it includes, with their digests, the recipe first.
    pub sources: Vec<(PathBuf, Digest)>,
    /// Where values stand that can only be checked once the tree is there.
    #[serde(skip)]
    pub origins: Origins,
}

impl Recipe {
    /// Every package to install: `packages` and the linked ones; sorted, without duplicates.
    #[must_use]
    pub fn all_packages(&self) -> Vec<String> {
        let linked = self.libraries.iter().flat_map(|libraries| &libraries.linked_packages);
        let mut all: Vec<String> = self.packages.iter().chain(linked).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Which libraries the image holds, and which it links from a shared library repository.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Libraries {
    /// Which libraries stay in the image.
    pub local: LocalLibraries,
    /// The repository's folder as the recipe names it.
    pub repository: Option<PathBuf>,
    /// The same folder on this host: a relative one is found from the recipe that names it.
    #[serde(skip)]
    pub repository_folder: Option<PathBuf>,
    /// Packages whose libraries are always linked; sorted, without duplicates.
    pub linked_packages: Vec<String>,
    /// Globs of absolute paths of libraries that stay in the image.
    pub keep: Vec<String>,
    /// Folders that become one link each: absolute paths, none inside another; sorted.
    pub relocate: Vec<String>,
}

/// Which libraries stay in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LocalLibraries {
    /// Those that run before the repository is mounted.
    #[default]
    BootCritical,
    /// Those too that a program of the image loads when it starts.
    Needed,
    /// All but those of linked packages and relocated folders.
    All,
}

/// Where values stand that can only be checked once the tree is there.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// One for each of [`Recipe::keep_services`], in its order.
    pub keep_services: Vec<Origin>,
}

/// The place of one value of a recipe.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// Where in the file.
    pub span: Span,
}

/// The Debian release a guest starts from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Base {
    /// Debian's code name, such as `bookworm`.
    pub suite: String,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// Archive components, by default `main`.
    pub components: Vec<String>,
    /// Further pockets of the suite to take packages from.
    pub pockets: Vec<Pocket>,
    /// The archive's URI; without one, the host's own apt configuration is asked.
    pub mirror: Option<String>,
    /// Whether maintainer scripts run.
    pub bootstrap: Bootstrap,
    /// Which tool bootstraps a configured tree.
    pub bootstrapper: Bootstrapper,
}

/// A pocket of a Debian suite beside its main archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pocket {
    /// `SUITE-updates`.
    Updates,
    /// `SUITE-security`.
    Security,
}

/// Whether maintainer scripts run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bootstrap {
    /// Packages are installed and configured, as on any Debian.
    #[default]
    Configured,
    /// Packages are only unpacked: quicker, smaller, and needs no user namespace.
    Extract,
}

/// Which tool bootstraps a configured tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bootstrapper {
    /// mmdebstrap, or debootstrap where the other is missing.
    #[default]
    Auto,
    /// Always mmdebstrap.
    Mmdebstrap,
    /// Always debootstrap.
    Debootstrap,
}

/// A named rule that removes files no job needs. Licences are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PurgeRule {
    /// `/usr/share/doc` without the copyright files, `/usr/share/doc-base`, ...
    Documentation,
    /// `/usr/share/man`, `/usr/share/info`, ...
    Manuals,
    /// Message catalogues, locale archives and their sources, except C and POSIX.
    Locales,
    /// Character set converters of the C library (`gconv`), except those in `keep`.
    CharsetConverters,
    /// Package lists and caches of apt and debconf.
    PackageCaches,
    /// dpkg's database, except `status`, kept for the manifest's sake elsewhere.
    PackageDatabase,
    /// The tools that install packages: apt, dpkg, debconf and their data.
    PackageManager,
    /// Kernel images, modules, headers and initrds in the tree (the image carries its own).
    Kernels,
    /// Log files.
    Logs,
    /// Bug reporting, lintian overrides, linda, menu and desktop files, icons.
    DesktopData,
    /// Shell completions.
    Completions,
    /// Compiled terminal descriptions except the common ones.
    Terminfo,
    /// Time zone data, except UTC.
    TimeZones,
    /// Static libraries and header files.
    Development,
    /// Tools of the C library that only installing packages needs: `ldconfig`, `localedef`, ...
    LibraryTools,
    /// Compilers, assemblers and linkers of GCC and binutils; the libraries that compiled programs use stay.
    Compilers,
    /// Python byte code and test suites.
    PythonExtras,
}

/// One folder of files laid over the tree.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overlay {
    /// The name the recipe used.
    pub name: String,
    /// The folder; `None` for the built-in `job-runner`.
    pub folder: Option<PathBuf>,
}

/// One file, folder or link laid over the tree.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// Absolute path in the guest, normalised.
    pub path: String,
    /// What stands there.
    pub content: FileContent,
    /// Permission bits; `None` is 0644 for files, 0755 for folders and programs copied from the host.
    pub mode: Option<u32>,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// What a [`FileEntry`] is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileContent {
    /// A file with this text.
    Text(String),
    /// A copy of this host file.
    Source(PathBuf),
    /// A symbolic link to this target.
    Link(String),
    /// An empty folder.
    Folder,
}

/// The kernel and what starts with it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kernel {
    /// The Debian package; a meta package such as `linux-image-686` is followed to the real one.
    pub package: String,
    /// Modules loaded besides those of the virtual hardware and the root file system.
    pub modules: Vec<String>,
    /// How the kernel is packed.
    pub wrap: Wrap,
    /// Which initial RAM disk starts it.
    pub initrd: Initrd,
    /// Words added to the kernel's command line.
    pub command_line: Vec<String>,
}

/// How the kernel is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wrap {
    /// LZ4 instead of Debian's XZ: 1.5 s sooner under emulation.
    #[default]
    Lz4,
    /// Not compressed at all.
    Raw,
    /// As Debian ships it.
    Stock,
}

/// Which initial RAM disk starts the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Initrd {
    /// hpcvm's own: one small program and the modules that are needed.
    #[default]
    Hpcvm,
    /// Debian's, made by the guest's own `update-initramfs` during the bootstrap.
    Debian,
}

/// What runs as process 1 of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// hpcvm's job runner: no service is ever started.
    #[default]
    JobRunner,
    /// The guest's own `/sbin/init`, which starts the services kept and, as one of them, the job.
    Services,
}

/// The shape of the disk image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageOptions {
    /// The kind of root file system.
    pub root: RootKind,
    /// How a read-only root is compressed.
    pub compression: Compression,
    /// Free space in a writable root.
    pub free_space: Bytes,
}

/// The kind of root file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// Compressed and shared by all clones; writes go to memory and are gone with the job.
    #[default]
    ReadOnly,
    /// ext4; each clone is a differencing image.
    Writable,
}

/// How a read-only root is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Small, and quick to read.
    #[default]
    Zstd,
    /// Larger, quickest to read.
    Lz4,
    /// Smallest, slow to read.
    Xz,
}

/// Defaults for launching; each can be overridden on the command line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunDefaults {
    /// Guest memory.
    pub memory: Bytes,
    /// Virtual processors.
    pub cpus: u32,
    /// The name the job's user has in the guest.
    pub user: String,
    /// Environment of the job.
    pub environment: BTreeMap<String, String>,
}

/// What templates of warm starts do before they are saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Warm {
    /// Shell commands that are run once, so that what they need is in memory.
    #[serde(default)]
    pub touch: Vec<String>,
    /// Programs that are started and wait for the job.
    #[serde(default)]
    pub preload: Preload,
}

/// Programs that a template starts: interpreters with the modules that they import, others as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Preload {
    /// Modules of Python 3; without any, it is not started.
    #[serde(default)]
    pub python3: Vec<String>,
    /// Paths of programs that are held before their first instruction, besides `/bin/sh`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A command that proves the guest valid.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Validation {
    /// What it proves.
    pub name: String,
    /// The command and its arguments.
    pub run: Vec<String>,
    /// What must come of it.
    pub expect: Expectation,
}

/// What must come of a validation.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expectation {
    /// Exact standard output, if it matters.
    pub stdout: Option<String>,
    /// Exit status, 0 unless said.
    pub status: u8,
}
