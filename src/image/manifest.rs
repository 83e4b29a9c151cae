//! What is known of an image: its manifest, `manifest.json`.
//!
//! A manifest says what the image was made from, with which tools, and what came out, down to
//! the digest of every artefact. It holds no wall-clock time and no host name, so that two
//! builds from the same inputs have the same manifest. The image's own digest is the SHA-256 of
//! this file's bytes, and with it vouches for everything the manifest lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::linked_libraries::{Count, Generation, Libraries, PackageLibraries, ReasonCount};
use crate::architecture::Architecture;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::recipe::{Compression, Init, Initrd, PurgeRule, RootKind, Warm, Wrap};

/// The version of the format that this hpcvm writes.
pub const MANIFEST_VERSION: u32 = 1;

/// The manifest's file name in an image's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What is known of an image. All lists are sorted by their first field unless said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub manifest: u32,
    /// Version of the hpcvm that built the image.
    pub hpcvm: String,
    /// The image's name, as the recipe gives it.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// Debian's code name of the release, such as `bookworm`.
    pub suite: String,
    /// What it was built from.
    pub recipe: RecipeIdentity,
    /// Every package that was installed, by exact version.
    pub resolution: Vec<Package>,
    /// The kernel and what starts with it.
    pub kernel: Kernel,
    /// What runs as process 1.
    pub init: Init,
    /// The root file system.
    pub root: Root,
    /// Where things are on the disk.
    pub disk: DiskLayout,
    /// The files beside the manifest.
    pub artefacts: Vec<Artefact>,
    /// Name of the artefact that lists every file of the root file system.
    pub file_list: String,
    /// What each package contributes to the root file system.
    pub packages: Vec<PackageSize>,
    /// Services that were stripped.
    pub services_removed: Vec<Service>,
    /// What each purge rule saved.
    pub purge: Vec<PurgeSaving>,
    /// The host's tools that had a hand in it.
    pub tools: Vec<Tool>,
    /// How the root file system shrank and grew, in the order of the build.
    pub steps: Vec<StepSize>,
    /// Defaults for launching.
    pub run: RunDefaults,
    /// Commands that prove the guest valid, in the recipe's order.
    pub validation: Vec<Validation>,
    /// What templates do before they are saved; absent where the recipe says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Warm>,
    /// What became of the guest's libraries; absent where none is linked from a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libraries: Option<Libraries>,
}

/// The recipe an image was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecipeIdentity {
    /// SHA-256 of the recipe as it was understood, includes merged and defaults filled in.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
    /// The recipe file and every file it includes, the recipe first.
    pub sources: Vec<Source>,
}

/// One file of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// Its name, without folders: those belong to the host.
    pub file: String,
    /// SHA-256 of its bytes.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
}

/// A Debian package by its exact version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: the guest's, or `all`.
    pub architecture: String,
    /// SHA-256 of the package file.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
}

/// The kernel of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Kernel {
    /// The Debian package that has it, no meta package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// What `uname -r` says in the guest.
    pub release: String,
    /// How it is packed.
    pub wrap: Wrap,
    /// Which initial RAM disk starts it.
    pub initrd: Initrd,
    /// The kernel's command line, for a boot from the disk and for a direct one alike.
    pub command_line: String,
}

/// The root file system of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Root {
    /// Its kind.
    pub kind: RootKind,
    /// How it is compressed; absent for a writable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
}

/// Where things are in the file `image.vdi`, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskLayout {
    /// Where the disk's first sector is.
    pub data_offset: u64,
    /// The boot partition.
    pub boot: Extent,
    /// The root partition.
    pub root: Extent,
    /// The disk signature in the master boot record, by which the guest finds its disk.
    pub signature: u32,
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Extent {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A file beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Artefact {
    /// Its file name: `image.vdi`, `kernel`, `initrd`, `files.json`, ...
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
}

/// What a package contributes to the root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageSize {
    /// Its name; what no package owns goes under `(overlays)`, `(recipe)` or `(bootstrap)`.
    pub package: String,
    /// Number of regular files, links and devices.
    pub files: u64,
    /// Bytes of its regular files, not compressed.
    pub bytes: u64,
}

/// A service that was stripped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Service {
    /// Its name, such as `ssh`.
    pub name: String,
    /// What it was: `init-script`, `unit`, `cron`, ...
    pub kind: String,
    /// The package it came with, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// What a purge rule saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PurgeSaving {
    /// The rule.
    pub rule: PurgeRule,
    /// Number of entries removed.
    pub files: u64,
    /// Bytes of the regular files among them.
    pub bytes: u64,
}

/// A tool of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tool {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The root file system after a step of the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepSize {
    /// The step's name.
    pub name: String,
    /// Number of entries after it.
    pub entries: u64,
    /// Bytes of all regular files after it.
    pub bytes: u64,
}

/// Defaults for launching; each can be overridden on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunDefaults {
    /// Guest memory in bytes.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// The name the job's user has in the guest.
    pub user: String,
    /// Environment of the job.
    pub environment: BTreeMap<String, String>,
}

impl From<&crate::recipe::RunDefaults> for RunDefaults {
    fn from(run: &crate::recipe::RunDefaults) -> Self {
        Self {
            memory: run.memory.0,
            cpus: run.cpus,
            user: run.user.clone(),
            environment: run.environment.clone(),
        }
    }
}

/// A command that proves the guest valid, and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Validation {
    /// What it proves.
    pub name: String,
    /// The command and its arguments.
    pub run: Vec<String>,
    /// Its exact standard output, if it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Its exit status.
    pub status: u8,
}

impl From<&crate::recipe::Validation> for Validation {
    fn from(validation: &crate::recipe::Validation) -> Self {
        Self {
            name: validation.name.clone(),
            run: validation.run.clone(),
            stdout: validation.expect.stdout.clone(),
            status: validation.expect.status,
        }
    }
}

/// A manifest or a file list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another hpcvm wrote it.
    #[error("{} has version {version} of its format, this hpcvm knows version {MANIFEST_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it says it has.
        version: u64,
    },
    /// Its digest is not the one it is known by.
    #[error("{} is not the manifest it should be: its digest is {found}, not {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest its folder is named by.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
}

impl Problem for ManifestError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "HV1201",
            Self::Damaged { .. } => "HV1202",
            Self::Version { .. } => "HV1203",
            Self::Digest { .. } => "HV1204",
        }
    }

    fn blame(&self) -> Blame {
        Blame::Image
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => return None,
            Self::Damaged { .. } | Self::Digest { .. } => "build the image again, or fetch it again".to_owned(),
            Self::Version { .. } => {
                "use the hpcvm that built the image, or build the image again with this one".to_owned()
            }
        })
    }
}

impl Manifest {
    /// The file's bytes: indented JSON, the same for the same manifest.
    ///
    /// # Panics
    /// Never: the keys are strings.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest has string keys only");
        bytes.push(b'\n');
        bytes
    }

    /// The image's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Reads what [`Manifest::to_bytes`] wrote; `path` is only for messages.
    pub fn from_bytes(bytes: &[u8], path: &std::path::Path) -> Result<Self, ManifestError> {
        let damaged = |why: String| ManifestError::Damaged {
            path: path.to_owned(),
            why,
        };
        let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        match json.get("manifest").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(MANIFEST_VERSION) => {}
            Some(version) => {
                return Err(ManifestError::Version {
                    path: path.to_owned(),
                    version,
                });
            }
            None => return Err(damaged("it does not say which version of the format it has".to_owned())),
        }
        // From the text again: only then do errors tell the line.
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }

    /// The artefact of this name.
    #[must_use]
    pub fn artefact(&self, name: &str) -> Option<&Artefact> {
        self.artefacts.iter().find(|artefact| artefact.name == name)
    }

    /// Bytes of all artefacts.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.artefacts
            .iter()
            .fold(0, |sum, artefact| sum.saturating_add(artefact.length))
    }

    /// What no reader can do without. A manifest may come from anywhere: its names become paths.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for Artefact { name, .. } in &self.artefacts {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name == MANIFEST_FILE {
                return Err(format!("'{name}' cannot be the name of an artefact"));
            }
            if !names.insert(name) {
                return Err(format!("the artefact '{name}' is listed twice"));
            }
        }
        if !names.contains(&self.file_list) {
            return Err(format!("the file list '{}' is not among the artefacts", self.file_list));
        }
        let disk = self.artefact(super::store::DISK_FILE).map_or(0, |disk| disk.length);
        for (what, extent) in [("boot", self.disk.boot), ("root", self.disk.root)] {
            let end = extent.offset.checked_add(extent.length);
            if extent.offset < self.disk.data_offset || end.is_none_or(|end| end > disk) {
                return Err(format!("the {what} partition does not lie within the disk"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(crate) mod tests;
