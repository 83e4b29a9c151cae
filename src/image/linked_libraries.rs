//! What a manifest tells of the guest's libraries.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::library_list::{Reason, Verdict};
use crate::digest::Digest;

/// What became of the guest's libraries. Each one is told of in the artefact `libraries.json`
/// ([`super::library_list`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Libraries {
    /// The generation of the shared library repository that the links lead to.
    pub generation: Generation,
    /// Libraries and bytes that stayed in the image.
    pub local: Count,
    /// Libraries and bytes that are linked from the repository.
    pub linked: Count,
    /// Folders of data, and bytes, that are linked from the repository.
    pub relocated: Count,
    /// Regular files of the root file system before anything was linked.
    #[serde(default)]
    pub before: Count,
    /// Regular files of the root file system after.
    #[serde(default)]
    pub after: Count,
    /// Libraries by what became of them and why.
    #[serde(default)]
    pub by_reason: Vec<ReasonCount>,
    /// Libraries and relocated files by package.
    #[serde(default)]
    pub by_package: Vec<PackageLibraries>,
}

/// Libraries with the same verdict for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReasonCount {
    /// What became of them.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// How many, and their bytes.
    pub count: Count,
}

/// What became of the libraries of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageLibraries {
    /// The package's name; `(none)` for what no package brought.
    pub package: String,
    /// Those that stayed in the image.
    pub local: Count,
    /// Those that are linked one by one.
    pub linked: Count,
    /// Those that a purge rule removed.
    pub purged: Count,
    /// Files of all kinds in folders that are linked as a whole.
    pub relocated: Count,
}

/// A generation of a shared library repository, by what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Generation {
    /// The repository's name.
    pub repository: String,
    /// The generation's number.
    pub number: u32,
    /// SHA-256 of the generation's index.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
    /// The repository's folder as the recipe names it, where it names an absolute one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// A number of things and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Their bytes, not compressed.
    pub bytes: u64,
}
