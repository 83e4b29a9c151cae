//! Reading a repository whole, and mending what can be mended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::LibraryError;
use super::check::{Depth, Fault, file_fault, folder_fault};
use super::error::{reading, writing};
use super::export::Trailer;
use super::folder::Listed;
use super::gc::names;
use super::index::Index;
use super::objects;
use super::repository::{EXPORTS, INCOMING, QUARANTINE, Repository, make_public, number_of};
use super::session::Session;
use crate::digest::Digest;

/// What reading a repository whole showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Generations read.
    pub generations: u64,
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders compared with their listings.
    pub folders: u64,
    /// Exports read.
    pub exports: u64,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The file or folder, below the repository's.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: String,
    /// What was done about it.
    pub action: Action,
    /// What restores it when it is added again: packages (`NAME=VERSION`), or paths of what
    /// belongs to none; empty where nothing is missing.
    pub restored_by: Vec<String>,
}

/// What was done about a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing.
    None,
    /// It is as it was written again, or was of no use and is gone.
    Mended,
    /// It was taken away, so that nobody uses it and adding it again restores it.
    Quarantined,
}

impl Report {
    /// Whether anything is still to be done.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.action == Action::Mended)
    }
}

/// One reading.
struct Verification<'a> {
    repository: &'a Repository,
    /// The right to mend, where that was asked for.
    session: Option<Session>,
    indexes: Vec<Index>,
    report: Report,
}

impl Repository {
    /// Reads everything and compares it with its digests. With `repair`, what killed writers
    /// left is removed, folders are made again from sound objects, exports that are damaged are
    /// removed, and damaged objects and indexes go to `quarantine/`: an object then is missing
    /// until what it came from is added again.
    pub fn verify(&self, repair: bool) -> Result<Report, LibraryError> {
        let leftovers = self.leftovers()?;
        let session = if repair { Some(Session::begin(self)?) } else { None };
        let mut verification = Verification {
            repository: self,
            session,
            indexes: Vec::new(),
            report: Report::default(),
        };
        for path in leftovers {
            let action = if repair { Action::Mended } else { Action::None };
            verification.tell(
                &path,
                "was left by a writer that was killed".to_owned(),
                action,
                Vec::new(),
            );
        }
        verification.generations()?;
        let damaged = verification.objects()?;
        verification.folders(&damaged)?;
        verification.exports()?;
        Ok(verification.report)
    }

    /// What stands in `incoming/` while nobody writes.
    fn leftovers(&self) -> Result<Vec<PathBuf>, LibraryError> {
        if self.folder().join("lock.holder").exists() {
            // Somebody is at work, or was killed: the next writer finds out.
            return Ok(Vec::new());
        }
        let incoming = self.folder().join(INCOMING);
        match names(&incoming) {
            // Of another owner: none of a reader's business.
            Err(LibraryError::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Vec::new())
            }
            found => Ok(found?.iter().map(|name| incoming.join(name)).collect()),
        }
    }
}

impl Verification<'_> {
    fn tell(&mut self, path: &Path, fault: String, action: Action, restored_by: Vec<String>) {
        let path = path.strip_prefix(self.repository.folder()).unwrap_or(path).to_owned();
        self.report.findings.push(Finding {
            path,
            fault,
            action,
            restored_by,
        });
    }

    fn generations(&mut self) -> Result<(), LibraryError> {
        for number in self.repository.generations()? {
            self.report.generations += 1;
            match self.repository.generation(number) {
                Ok(index) => self.indexes.push(index),
                Err(LibraryError::Damaged { path, why }) => {
                    let action = self.quarantine(&path, &format!("{number}.json"))?;
                    self.tell(&path, format!("is damaged: {why}"), action, Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
        let digests: BTreeMap<u32, Digest> = self.indexes.iter().map(|index| (index.number, index.digest)).collect();
        let previous: Vec<_> = self.indexes.iter().filter_map(|index| index.previous).collect();
        for previous in previous {
            if digests
                .get(&previous.number)
                .is_some_and(|digest| *digest != previous.digest)
            {
                let path = self.repository.generation_path(previous.number);
                let fault = "has changed since the next generation was made".to_owned();
                self.tell(&path, fault, Action::None, Vec::new());
            }
        }
        Ok(())
    }

    /// Reads every object that is named or there; returns those that are not sound any more.
    fn objects(&mut self) -> Result<BTreeSet<Digest>, LibraryError> {
        let named: BTreeSet<Digest> = self.indexes.iter().flat_map(Index::objects).collect();
        let listed = self.indexes.iter().flat_map(|index| &index.folders);
        let listed: BTreeSet<Digest> = listed.map(|folder| folder.digest).collect();
        let mut all: BTreeSet<Digest> = self.repository.objects_there()?.into_iter().collect();
        all.extend(&named);
        for digest in listed {
            if let Ok(items) = self.repository.listing(digest) {
                all.extend(items.iter().filter_map(|(_, item)| object_of(item)));
            }
        }
        let bytes = AtomicU64::new(0);
        let read = |&digest: &Digest| {
            let path = self.repository.object_path(digest);
            let length = fs::metadata(&path).map_or(0, |file| file.len());
            bytes.fetch_add(length, Ordering::Relaxed);
            (digest, file_fault(&path, digest, None, (0o444, Depth::Bytes)))
        };
        let (sound, faults): (Vec<_>, Vec<_>) = all.par_iter().map(read).partition(|(_, fault)| fault.is_none());
        self.report.objects = all.len() as u64;
        self.report.bytes = bytes.into_inner();
        for (digest, _) in sound {
            let path = self.repository.object_path(digest);
            if !objects::is_sealed(&path, 0o444).map_err(reading(&path))? {
                let action = self.seal(&path)?;
                let fault = "has another mode or time than it was written with".to_owned();
                self.tell(&path, fault, action, Vec::new());
            }
        }
        let mut damaged = BTreeSet::new();
        for (digest, fault) in faults.into_iter().filter_map(|(digest, fault)| Some((digest, fault?))) {
            let path = self.repository.object_path(digest);
            let action = match &fault {
                Fault::Missing => Action::None,
                // The right bytes with another mode.
                Fault::Kind { .. } if Digest::of_file(&path).is_ok_and(|found| found == digest) => self.seal(&path)?,
                _ => self.quarantine(&path, &digest.to_string())?,
            };
            if action != Action::Mended {
                damaged.insert(digest);
            }
            let restored_by = self.origins(digest);
            self.tell(&path, fault.to_string(), action, restored_by);
        }
        Ok(damaged)
    }

    /// What brings this object back: what its entries, or the folders that hold it, are from.
    fn origins(&self, object: Digest) -> Vec<String> {
        let mut origins = BTreeSet::new();
        let origin = |package: &Option<String>, version: &Option<String>, path: &str| match (package, version) {
            (Some(package), Some(version)) => format!("{package}={version}"),
            (Some(package), None) => package.clone(),
            (None, _) => path.to_owned(),
        };
        for index in &self.indexes {
            let entries = index.entries.iter();
            let of_it = entries.filter(|entry| entry.object == object || entry.licence == Some(object));
            origins.extend(of_it.map(|entry| origin(&entry.package, &entry.version, &entry.path)));
            for folder in &index.folders {
                let holds = || {
                    let items = self.repository.listing(folder.digest).unwrap_or_default();
                    items.iter().any(|(_, item)| object_of(item) == Some(object))
                };
                let licensed = || folder.packages.iter().any(|package| package.licence == Some(object));
                if folder.digest == object || licensed() || holds() {
                    let packages = folder.packages.iter();
                    origins.extend(packages.map(|of| origin(&Some(of.package.clone()), &of.version, "")));
                    origins.insert(folder.path.clone());
                }
            }
        }
        origins.into_iter().collect()
    }

    fn folders(&mut self, damaged: &BTreeSet<Digest>) -> Result<(), LibraryError> {
        let folders = self.indexes.iter().flat_map(|index| &index.folders);
        let folders: BTreeSet<Digest> = folders.map(|folder| folder.digest).collect();
        self.report.folders = folders.len() as u64;
        for digest in folders {
            let Some((path, fault)) = folder_fault(self.repository, digest, Depth::Bytes) else {
                continue;
            };
            let action = self.mend_folder(digest, damaged)?;
            let restored_by = self.origins(digest);
            self.tell(&path, fault.to_string(), action, restored_by);
        }
        Ok(())
    }

    /// Makes a folder again, if the objects for it are sound; else takes it away.
    fn mend_folder(&self, digest: Digest, damaged: &BTreeSet<Digest>) -> Result<Action, LibraryError> {
        let Some(session) = &self.session else {
            return Ok(Action::None);
        };
        let items = self.repository.listing(digest).unwrap_or_default();
        let lacks = |(_, item): &(_, Listed)| object_of(item).is_some_and(|object| damaged.contains(&object));
        if damaged.contains(&digest) || items.iter().any(lacks) {
            let path = self.repository.folder_path(digest);
            return if path.exists() {
                self.quarantine(&path, &format!("folder-{digest}"))
            } else {
                Ok(Action::None)
            };
        }
        objects::build_folder(self.repository, session, digest, &items)?;
        Ok(Action::Mended)
    }

    fn exports(&mut self) -> Result<(), LibraryError> {
        for name in names(&self.repository.folder().join(EXPORTS))? {
            let Some(number) = number_of(&name.to_string_lossy(), ".squashfs") else {
                continue;
            };
            self.report.exports += 1;
            let path = self.repository.place_of_export(number);
            let index = self.indexes.iter().find(|index| index.number == number);
            let fault = match Trailer::read(&path).map_err(reading(&path))? {
                None => "has no trailer, or is cut",
                Some(trailer) if index.is_none_or(|index| index.digest != trailer.generation) => {
                    "is of a generation that is not here"
                }
                Some(trailer) if content(&path, trailer.length).map_err(reading(&path))? != trailer.content => {
                    "has other bytes than were written"
                }
                Some(_) => continue,
            };
            let action = if self.session.is_some() {
                // `export` makes it again, of the same bytes.
                fs::remove_file(&path).map_err(writing(&path))?;
                Action::Mended
            } else {
                Action::None
            };
            self.tell(&path, fault.to_owned(), action, Vec::new());
        }
        Ok(())
    }

    fn seal(&self, path: &Path) -> Result<Action, LibraryError> {
        if self.session.is_none() {
            return Ok(Action::None);
        }
        let sealed = fs::File::open(path).and_then(|file| objects::seal(&file, 0o444));
        sealed.map_err(writing(path))?;
        Ok(Action::Mended)
    }

    /// Takes a file or folder away, in place of one of the same name that was taken away before.
    fn quarantine(&self, path: &Path, name: &str) -> Result<Action, LibraryError> {
        let Some(session) = &self.session else {
            return Ok(Action::None);
        };
        session.check(self.repository)?;
        let folder = self.repository.folder().join(QUARANTINE);
        make_public(&folder)?;
        let target = folder.join(name);
        if target.exists() {
            let aside = session.scratch().join(name);
            fs::rename(&target, &aside).map_err(writing(&target))?;
        }
        fs::rename(path, &target).map_err(writing(&target))?;
        Ok(Action::Quarantined)
    }
}

fn object_of(item: &Listed) -> Option<Digest> {
    match item {
        Listed::File { object, .. } => Some(*object),
        _ => None,
    }
}

/// The digest of the first `length` bytes of a file.
fn content(path: &Path, length: u64) -> io::Result<Digest> {
    use std::io::Read as _;
    Digest::of_reader(&mut fs::File::open(path)?.take(length))
}
