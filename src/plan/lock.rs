//! Lock files: the exact packages of a recipe, kept beside it, so that another host or another year
//! builds the same bytes.
//!
//! A lock is JSON with one package a line, so that a change of one shows as one. It fails closed:
//! one that is damaged, of a newer hpcvm or of other wishes than the recipe's stops a build, and a
//! package file whose digest is not the lock's never enters the pool ([`crate::rootfs::pool`]).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pinned::question;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::durable::{self, WriteError};
use crate::recipe::Recipe;
use crate::rootfs::resolve::{self, Archive, Package, Resolution};

/// The version written, and the newest read.
const VERSION: u32 = 1;

/// The exact packages of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// The format's version.
    #[serde(rename = "lock")]
    version: u32,
    /// The recipe's name.
    name: String,
    /// The digest of all in the recipe that decides which packages it means.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    wishes: Digest,
    /// What the packages were resolved from; any mirror will do.
    archive: Archive,
    /// The time of all files that no package dates, in seconds since 1970.
    epoch: u64,
    /// The kernel's package.
    kernel: Package,
    /// The tree's packages in an order apt would unpack them in.
    packages: Vec<Package>,
}

/// A lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It could not be read.
    #[error("cannot read the lock file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no lock file.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is of a newer hpcvm.
    #[error("{} has version {version}; this hpcvm reads {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The recipe asks for something else by now.
    #[error("{} is not of the packages that {recipe} asks for", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// The recipe's name.
        recipe: String,
    },
    /// There is none.
    #[error("there is no lock file {}", .0.display())]
    Missing(PathBuf),
    /// A build was to ask the archive anew.
    #[error("the packages are those of {}", .0.display())]
    Locked(PathBuf),
}

impl Problem for LockError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "HV1601",
            Self::Damaged { .. } => "HV1602",
            Self::Newer { .. } => "HV1603",
            Self::Other { .. } => "HV1604",
            Self::Missing(_) => "HV1605",
            Self::Locked(_) => "HV1606",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } => Blame::Host,
            _ => Blame::User,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => return None,
            Self::Damaged { .. } => {
                "take it from your version control again, or write a new one: hpcvm lock --update RECIPE".to_owned()
            }
            Self::Newer { .. } => "use the hpcvm that wrote it, or a later one".to_owned(),
            Self::Other { .. } => "lock what the recipe asks for now: hpcvm lock RECIPE".to_owned(),
            Self::Missing(_) => "write one: hpcvm lock RECIPE".to_owned(),
            Self::Locked(_) => {
                "lock newer packages with `hpcvm lock --update RECIPE`, or remove the lock file to build without one"
                    .to_owned()
            }
        })
    }
}

/// What a lock has that another had not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// The package.
    pub name: String,
    /// Its version before; `None`: it is new.
    pub before: Option<String>,
    /// Its version now; `None`: it is gone.
    pub now: Option<String>,
}

/// The lock file of the recipe at `recipe`: `NAME.lock.json` beside `NAME.yaml`.
#[must_use]
pub fn path_of(recipe: &Path) -> PathBuf {
    recipe.with_extension("lock.json")
}

impl Lock {
    /// A lock of `recipe` to `resolution`.
    #[must_use]
    pub fn new(recipe: &Recipe, resolution: Resolution) -> Self {
        Self {
            version: VERSION,
            name: recipe.name.clone(),
            wishes: question(recipe),
            archive: resolution.archive,
            epoch: resolution.epoch,
            kernel: resolution.kernel,
            packages: resolution.packages,
        }
    }

    /// The lock at `path`; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(LockError::Read { path, source });
            }
        };
        let damaged = |why: String| LockError::Damaged {
            path: path.to_owned(),
            why,
        };
        let header: Header = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if header.lock > VERSION {
            return Err(LockError::Newer {
                path: path.to_owned(),
                version: header.lock,
            });
        }
        let lock: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let strange = lock.all_packages().find(|package| !is_sound(package));
        match strange {
            Some(package) => Err(damaged(format!("{:?} is no package", package.name))),
            None => Ok(Some(lock)),
        }
    }

    /// The exact packages, if they are those that `recipe` asks for; `path` is told in the error.
    pub fn resolution(self, recipe: &Recipe, path: &Path) -> Result<Resolution, LockError> {
        if self.fits(recipe) {
            Ok(Resolution {
                version: resolve::FORMAT,
                archive: self.archive,
                epoch: self.epoch,
                packages: self.packages,
                kernel: self.kernel,
            })
        } else {
            Err(LockError::Other {
                path: path.to_owned(),
                recipe: recipe.name.clone(),
            })
        }
    }

    /// Whether its packages are those that `recipe` asks for.
    #[must_use]
    pub fn fits(&self, recipe: &Recipe) -> bool {
        self.wishes == question(recipe)
    }

    /// Writes it to `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        durable::write(path, self.text().as_bytes())
    }

    /// How many packages it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.packages.len()
    }

    /// What is other than in `before`, by name.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let versions = |lock: &Self| -> BTreeMap<String, String> {
            let packages = lock.all_packages();
            packages
                .map(|package| (package.name.clone(), package.version.clone()))
                .collect()
        };
        let (mut old, now) = (versions(before), versions(self));
        let mut changes: Vec<Change> = now
            .into_iter()
            .map(|(name, now)| Change {
                before: old.remove(&name),
                now: Some(now),
                name,
            })
            .collect();
        changes.extend(old.into_iter().map(|(name, before)| Change {
            name,
            before: Some(before),
            now: None,
        }));
        changes.retain(|change| change.before != change.now);
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes
    }

    fn all_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().chain([&self.kernel])
    }

    /// JSON with a package a line.
    fn text(&self) -> String {
        let line = |value: serde_json::Result<String>| value.expect("locks have string keys only");
        let packages: Vec<String> = self
            .packages
            .iter()
            .map(|package| format!("    {}", line(serde_json::to_string(package))))
            .collect();
        format!(
            "{{\n  \"lock\": {},\n  \"name\": {},\n  \"wishes\": \"{}\",\n  \"archive\": {},\n  \"epoch\": {},\n  \
             \"kernel\": {},\n  \"packages\": [\n{}\n  ]\n}}\n",
            self.version,
            line(serde_json::to_string(&self.name)),
            self.wishes,
            line(serde_json::to_string(&self.archive)),
            self.epoch,
            line(serde_json::to_string(&self.kernel)),
            packages.join(",\n"),
        )
    }
}

/// What every version of the format has.
#[derive(Deserialize)]
struct Header {
    lock: u32,
}

/// Whether names and paths can be those of a Debian package (Debian Policy 5.6), and lead nowhere else.
fn is_sound(package: &Package) -> bool {
    let plain = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    plain(&package.name, "+-.")
        && plain(&package.version, "+-.~:")
        && plain(&package.architecture, "-")
        && plain(&package.filename, "+-.~:_/%")
        && !package.filename.split('/').any(|part| part == "..")
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
