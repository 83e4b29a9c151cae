//! Templates that a site has made for all its users ([`Templates::for_site`](super::Templates::for_site)).
//!
//! Whoever can write to a machine's memory commands the machine, and what it may see of its user's files: a folder of
//! templates is used only if nobody but root, the user and the owner whom the site names can change anything of it or of the way to it.
//! Launches read it and do nothing else to it; what fails is noted in a folder of the user's own.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::TemplateError;
use super::notes::is_fresh;
use super::store::{Kept, Scope, Template, is_sound, list_in};
use crate::digest::Digest;
use crate::durable;

/// Those who are not the owner may not write.
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit, only an entry's owner renames or removes it (inode(7)).
const STICKY: u32 = 0o1000;

/// A folder of templates that is only read.
#[derive(Clone, Debug)]
pub struct SiteTemplates {
    folder: PathBuf,
    owners: [u32; 3],
    notes: PathBuf,
}

impl SiteTemplates {
    /// Those in `folder`; `None` where there is no such folder. Besides root and this user, `owner` is trusted.
    /// Failures are noted in the folder `notes`.
    pub fn open(folder: &Path, owner: Option<u32>, notes: &Path) -> Result<Option<Self>, TemplateError> {
        let failed = |source| TemplateError::Keep {
            path: folder.to_owned(),
            source,
        };
        // Links on the way lead to a place that has to be trusted by itself.
        let folder = match fs::canonicalize(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed)?,
        };
        let us = rustix::process::getuid().as_raw();
        let templates = Self {
            owners: [0, us, owner.unwrap_or(us)],
            notes: notes.to_owned(),
            folder,
        };
        for part in templates.folder.ancestors().skip(1) {
            let found = fs::symlink_metadata(part).map_err(failed)?;
            if found.mode() & STICKY == 0 {
                templates.trust(part, &found)?;
            }
        }
        for part in [templates.folder.clone(), templates.folder.join("templates")] {
            match fs::symlink_metadata(&part) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                found => templates.trust(&part, &found.map_err(failed)?)?,
            }
        }
        Ok(Some(templates))
    }

    /// Refuses what somebody else can change.
    fn trust(&self, path: &Path, found: &Metadata) -> Result<(), TemplateError> {
        let why = if !self.owners.contains(&found.uid()) {
            format!("it belongs to user {}", found.uid())
        } else if !found.is_symlink() && found.mode() & OTHERS_WRITE != 0 {
            format!(
                "others than its owner can write to it (mode {:04o})",
                found.mode() & 0o7777
            )
        } else {
            return Ok(());
        };
        Err(TemplateError::Untrusted {
            path: path.to_owned(),
            why,
        })
    }

    /// The template `key`, if it is there, sound, and trusted as a whole.
    pub(super) fn find(&self, key: Digest) -> Result<Option<Template>, TemplateError> {
        let folder = self.folder.join("templates").join(key.to_string());
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(None);
        };
        let files = entries.flatten().map(|entry| entry.path());
        for path in std::iter::once(folder.clone()).chain(files) {
            let found = fs::symlink_metadata(&path).map_err(|source| TemplateError::Keep {
                path: path.clone(),
                source,
            })?;
            self.trust(&path, &found)?;
        }
        Ok(is_sound(&folder).then_some(Template {
            folder,
            key,
            scope: Scope::Site,
            _in_use: None,
        }))
    }

    /// Whether this user could not restore `key` less than an hour ago, and nobody has made it anew since.
    pub(super) fn failed_lately(&self, key: Digest) -> bool {
        let note = self.note(key);
        let noted = fs::metadata(&note).and_then(|found| found.modified());
        let made = fs::metadata(self.folder.join("templates").join(key.to_string())).map(|found| changed(&found));
        is_fresh(&note) && matches!((noted, made), (Ok(noted), Ok(made)) if made <= noted)
    }

    /// Notes that `key` could not be restored. That it cannot be noted costs the next launch time, no more.
    pub(super) fn note_failure(&self, key: Digest) {
        let noted = durable::create_private_folder(&self.notes)
            .map_err(|error| error.source)
            .and_then(|()| File::create(self.note(key))?.set_modified(SystemTime::now()));
        if let Err(error) = noted {
            tracing::info!(%error, "a failure is not remembered");
        }
    }

    fn note(&self, key: Digest) -> PathBuf {
        self.notes.join(format!("{key}.failed"))
    }

    /// All that are there, by their names. Of who uses them nothing is known; their time is that of their making.
    #[must_use]
    pub fn list(&self) -> Vec<Kept> {
        list_in(&self.folder, |_, folder| {
            Some((changed(&fs::metadata(folder).ok()?), false))
        })
    }
}

/// When a folder got its name or entries.
fn changed(found: &Metadata) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(found.ctime()).unwrap_or_default())
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
