//! A recipe file as its author writes it: the one place where its keys are named.
//!
//! Reader, JSON Schema and reference follow from these types. Every key may be left out, because
//! an included file may have it, except the version and the name; those are `Option` here as well,
//! so that the rest of a recipe without them can still be checked. No tagged, untagged or
//! flattened types: with them an error points at the wrong line.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::located::Located;
use super::resolved::{
    Bootstrap, Bootstrapper, Compression, Init, Initrd, LocalLibraries, Pocket, PurgeRule, RootKind, Wrap,
};
use crate::architecture::Architecture;

/// The version of the recipe format.
pub(super) const VERSION: u32 = 1;

/// Text with its place.
pub(super) type Word = Located<String>;
/// A list that may be left out.
pub(super) type List<T> = Option<Vec<Located<T>>>;

/// A recipe of hpcvm: what a guest is made of.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Recipe {
    /// The version of the recipe format: 1.
    #[schemars(required, range(min = 1, max = 1))]
    #[serde(rename = "recipe")]
    pub(super) version: Option<u32>,
    /// The image's name.
    #[schemars(required)]
    pub(super) name: Option<Word>,
    /// What the guest is for, in one line.
    pub(super) description: Option<Word>,
    /// Recipes this one builds on, as paths relative to this file.
    pub(super) include: List<String>,
    /// The Debian release it starts from.
    pub(super) base: Option<Base>,
    /// Debian packages to install; what they depend on comes with them.
    pub(super) packages: List<String>,
    /// Services of the guest.
    pub(super) services: Option<Services>,
    /// Folders of files laid over the tree, in this order.
    pub(super) overlays: List<String>,
    /// Single files laid over the tree after the overlays.
    pub(super) files: List<FileEntry>,
    /// Named rules that remove files no job needs; without this key a moderate set.
    pub(super) purge: List<PurgeRule>,
    /// Globs of absolute paths that no purge rule may remove.
    pub(super) keep: List<String>,
    /// Which libraries the image holds, and which it links from a shared library repository.
    pub(super) libraries: Option<Libraries>,
    /// The kernel and what starts with it.
    pub(super) kernel: Option<Kernel>,
    /// What runs as process 1 of the guest.
    pub(super) init: Option<Located<Init>>,
    /// The shape of the disk image.
    pub(super) image: Option<Image>,
    /// Defaults for launching.
    pub(super) run: Option<Run>,
    /// What templates of warm starts do before they are saved.
    pub(super) warm: Option<Warm>,
    /// Commands that prove the guest valid.
    pub(super) validate: List<Validation>,
    /// What to leave out of the included recipes' lists.
    pub(super) without: Option<Without>,
}

/// The Debian release a guest starts from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Base {
    /// Debian's code name, such as `bookworm`.
    pub(super) debian: Option<Word>,
    /// The guest's architecture.
    pub(super) architecture: Option<Located<Architecture>>,
    /// Archive components; `main` unless said.
    pub(super) components: List<String>,
    /// The archive's URI; without one, the host's own apt configuration is asked.
    pub(super) mirror: Option<Word>,
    /// Further pockets of the release to take packages from.
    pub(super) pockets: List<Pocket>,
    /// Whether maintainer scripts run.
    pub(super) bootstrap: Option<Located<Bootstrap>>,
    /// Which tool bootstraps a configured tree.
    pub(super) bootstrapper: Option<Located<Bootstrapper>>,
}

/// Services of the guest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Services {
    /// Globs of service names to keep; all others are stripped.
    pub(super) keep: List<String>,
}

/// Which libraries the image holds, and which it links from a shared library repository.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Libraries {
    /// Which libraries stay in the image; all others become links.
    pub(super) local: Option<Located<LocalLibraries>>,
    /// The repository's folder, absolute or relative to this file.
    pub(super) repository: Option<Word>,
    /// Debian packages to install whose libraries are always linked.
    pub(super) linked_packages: List<String>,
    /// Globs of absolute paths of libraries that stay in the image.
    pub(super) keep: List<String>,
    /// Folders of the guest that become one link each.
    pub(super) relocate: List<String>,
}

/// One file, folder or link laid over the tree: exactly one of `content`, `source`, `link` and
/// `folder`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Absolute path in the guest.
    pub(super) path: Word,
    /// A file with this text.
    pub(super) content: Option<Word>,
    /// A copy of this host file, relative to the recipe.
    pub(super) source: Option<Word>,
    /// A symbolic link to this target.
    pub(super) link: Option<Word>,
    /// An empty folder.
    pub(super) folder: Option<Located<bool>>,
    /// Permission bits in octal, in quotes: "0755".
    pub(super) mode: Option<Word>,
    /// Numeric owner; 0 unless said.
    pub(super) owner: Option<u32>,
    /// Numeric group; 0 unless said.
    pub(super) group: Option<u32>,
}

/// The kernel and what starts with it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Kernel {
    /// The Debian package; by default the architecture's ordinary kernel.
    pub(super) package: Option<Word>,
    /// Modules loaded besides those of the virtual hardware and the root file system.
    pub(super) modules: List<String>,
    /// How the kernel is packed.
    pub(super) wrap: Option<Located<Wrap>>,
    /// Which initial RAM disk starts it.
    pub(super) initrd: Option<Located<Initrd>>,
    /// Words added to the kernel's command line.
    pub(super) command_line: List<String>,
}

/// The shape of the disk image.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Image {
    /// The kind of root file system.
    pub(super) root: Option<Located<RootKind>>,
    /// How a read-only root is compressed.
    pub(super) compression: Option<Located<Compression>>,
    /// Free space in a writable root, such as `256M`.
    pub(super) free_space: Option<Located<Size>>,
}

/// Defaults for launching; each can be overridden on the command line.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Run {
    /// Guest memory, such as `256M`.
    pub(super) memory: Option<Located<Size>>,
    /// Virtual processors.
    pub(super) cpus: Option<Located<u32>>,
    /// The name the job's user has in the guest.
    pub(super) user: Option<Word>,
    /// Environment of the job.
    pub(super) environment: Option<BTreeMap<Word, Located<Scalar>>>,
}

/// What templates of warm starts do before they are saved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Warm {
    /// Shell commands that are run once, so that what they need is in memory.
    pub(super) touch: List<String>,
    /// Programs that are started and wait for the job.
    pub(super) preload: Option<Preload>,
}

/// Programs that a template starts: interpreters with the modules that they import, others as they are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Preload {
    /// Modules of Python 3.
    pub(super) python3: List<String>,
    /// Paths of programs that are held before their first instruction, as `/bin/sh` always is.
    pub(super) programs: List<String>,
}

/// A command that proves the guest valid.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Validation {
    /// What it proves.
    pub(super) name: Word,
    /// The command and its arguments; no shell reads them.
    pub(super) run: Located<Vec<Scalar>>,
    /// What must come of it; success, unless said.
    pub(super) expect: Option<Expectation>,
}

/// What must come of a validation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Expectation {
    /// Exact standard output.
    pub(super) stdout: Option<String>,
    /// Exit status, 0 unless said.
    pub(super) status: Option<u8>,
}

/// What to leave out of the included recipes' lists.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Without {
    /// Packages, as the included recipe writes them.
    pub(super) packages: List<String>,
    /// Globs of `services: keep`, as the included recipe writes them.
    pub(super) services: List<String>,
    /// Overlays, by name.
    pub(super) overlays: List<String>,
    /// Files, by path.
    pub(super) files: List<String>,
    /// Purge rules.
    pub(super) purge: List<PurgeRule>,
    /// Globs of `keep`, as the included recipe writes them.
    pub(super) keep: List<String>,
    /// Packages of `libraries: linked-packages`.
    pub(super) linked_packages: List<String>,
    /// Globs of `libraries: keep`, as the included recipe writes them.
    pub(super) keep_libraries: List<String>,
    /// Folders of `libraries: relocate`, as the included recipe writes them.
    pub(super) relocate: List<String>,
    /// Kernel modules.
    pub(super) modules: List<String>,
    /// Words of the kernel's command line.
    pub(super) command_line: List<String>,
    /// Environment variables, by name.
    pub(super) environment: List<String>,
    /// Commands of `warm: touch`, as the included recipe writes them.
    pub(super) touch: List<String>,
    /// Modules of `warm: preload: python3`.
    pub(super) python3: List<String>,
    /// Programs of `warm: preload: programs`, as the included recipe writes them.
    pub(super) programs: List<String>,
    /// Validations, by name.
    pub(super) validate: List<String>,
}

/// A size with its unit, such as `256M`; read by [`crate::units::Bytes`].
#[derive(Clone, Debug)]
pub(super) struct Size(pub(super) String);

/// A word or number, taken exactly as it is written: `1.50` stays `1.50`.
#[derive(Clone, Debug)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": "^[0-9]+ *([KkMmGgTt]([Ii]?[Bb])?|[Bb])?$",
        })
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "number", "boolean"] })
    }
}
