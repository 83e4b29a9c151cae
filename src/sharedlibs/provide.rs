//! Adding: objects first, then the generation that names them.

use std::collections::BTreeSet;
use std::fs;

use super::addition::{Addition, NewFolder, Provenance};
use super::check::Wanted;
use super::error::{reading, writing};
use super::folder::{Listed, listing};
use super::index::{FolderPackage, Index, IndexEntry, IndexFolder};
use super::objects::{self, Written};
use super::repository::{Repository, publish};
use super::session::Session;
use super::{FolderItem, LibraryError};
use crate::digest::Digest;
use crate::rootfs::tree::{Content, TreePath};

/// What came of an addition.
#[derive(Clone, Debug)]
pub struct Added {
    /// The generation that has everything.
    pub index: Index,
    /// Whether it was made for it.
    pub new: bool,
    /// Entries that the generation before did not have.
    pub entries: u64,
    /// What was written, or written anew because it was damaged.
    pub written: Written,
}

impl Repository {
    /// The oldest generation that holds every object wanted, so that rebuilding names the same
    /// one; else a new one, made by adding. Objects that are damaged are written anew. Where
    /// nothing is missing, nothing is written: a repository that is read-only will do.
    pub fn provide(&self, additions: &[Addition]) -> Result<Index, LibraryError> {
        let prepared = Prepared::of(additions)?;
        let missing = |index: &Index| prepared.object_missing_from(index);
        Ok(self.store(&prepared, &missing)?.index)
    }

    /// Adds, with what is known of each path and package: a generation that has the same bytes
    /// from elsewhere is not enough.
    pub fn add(&self, additions: &[Addition]) -> Result<Added, LibraryError> {
        let prepared = Prepared::of(additions)?;
        let missing = |index: &Index| prepared.entry_missing_from(index);
        self.store(&prepared, &missing)
    }

    fn store(&self, prepared: &Prepared, missing: Missing<'_>) -> Result<Added, LibraryError> {
        let old = |index, written| Added {
            index,
            new: false,
            entries: 0,
            written,
        };
        if let Some(index) = self.oldest(missing)?
            && self.check(&prepared.wanted()).is_empty()
        {
            return Ok(old(index, Written::default()));
        }
        let session = Session::begin(self)?;
        let mut written = objects::put(self, &session, &prepared.contents)?;
        for (folder, items) in &prepared.folders {
            if !self.check(&[Wanted::folder(folder.digest)]).is_empty() {
                objects::build_folder(self, &session, folder.digest, items)?;
                written.folders += 1;
            }
        }
        if let Some(index) = self.oldest(missing)? {
            return Ok(old(index, written));
        }
        let (index, entries) = self.append(&session, |_, entries, folders| {
            let before = entries.len() + folders.len();
            entries.extend(prepared.entries.iter().cloned());
            folders.extend(prepared.folders.iter().map(|(folder, _)| folder.clone()));
            before
        })?;
        Ok(Added {
            entries: (index.entries.len() + index.folders.len() - entries) as u64,
            index,
            new: true,
            written,
        })
    }

    /// The oldest generation from which nothing is `missing`. Only those are parsed that name
    /// what the newest one lacks.
    fn oldest(&self, missing: Missing<'_>) -> Result<Option<Index>, LibraryError> {
        let numbers = self.generations()?;
        let Some((&newest, older)) = numbers.split_last() else {
            return Ok(None);
        };
        let newest = self.generation(newest)?;
        let lacks = missing(&newest).map(|digest| digest.to_string());
        for &number in older {
            if let Some(digest) = &lacks {
                let path = self.generation_path(number);
                let text = fs::read(&path).map_err(reading(&path))?;
                if !String::from_utf8_lossy(&text).contains(digest) {
                    continue;
                }
            }
            let index = self.generation(number)?;
            if missing(&index).is_none() {
                return Ok(Some(index));
            }
        }
        Ok(lacks.is_none().then_some(newest))
    }

    /// Makes the next generation: the newest one's entries, changed by `change`, whose answer is
    /// passed on. Should another host make one at the same time, it is taken into account.
    pub(super) fn append<T>(
        &self,
        session: &Session,
        change: impl Fn(Option<&Index>, &mut Vec<IndexEntry>, &mut Vec<IndexFolder>) -> T,
    ) -> Result<(Index, T), LibraryError> {
        loop {
            let newest = self.latest()?;
            let number = self.next_number()?;
            let (mut entries, mut folders) = newest
                .as_ref()
                .map(|index| (index.entries.clone(), index.folders.clone()))
                .unwrap_or_default();
            let answer = change(newest.as_ref(), &mut entries, &mut folders);
            let index = Index::new(number, self.name(), newest.as_ref(), (entries, folders));
            let path = self.generation_path(number);
            session.check(self)?;
            if publish(session.scratch(), &index.to_bytes(), &path).map_err(writing(&path))? {
                return Ok((index, answer));
            }
        }
    }
}

/// Tells something that a generation lacks of what is wanted.
type Missing<'a> = &'a dyn Fn(&Index) -> Option<Digest>;

/// Additions, with what an index says of them.
struct Prepared {
    entries: Vec<IndexEntry>,
    folders: Vec<(IndexFolder, Vec<(TreePath, Listed)>)>,
    /// Everything that becomes an object, with its path in the guest.
    contents: Vec<(String, Content)>,
}

impl Prepared {
    fn of(additions: &[Addition]) -> Result<Self, LibraryError> {
        let mut prepared = Self {
            entries: Vec::new(),
            folders: Vec::new(),
            contents: Vec::new(),
        };
        for addition in additions {
            match addition {
                Addition::Library(library) => {
                    prepared.entries.push(library.entry()?);
                    let path = library.path.to_string();
                    prepared.contents.push((path, library.content.clone()));
                    prepared.take_licence(&library.provenance);
                }
                Addition::Folder(folder) => prepared.take_folder(folder)?,
            }
        }
        Ok(prepared)
    }

    fn take_licence(&mut self, provenance: &Provenance) {
        let package = provenance.package.as_deref().unwrap_or("?");
        let content = provenance.licence.clone();
        let named = content.map(|content| (format!("the licence of {package}"), content));
        self.contents.extend(named);
    }

    fn take_folder(&mut self, folder: &NewFolder) -> Result<(), LibraryError> {
        let text = listing(&folder.items);
        let items = super::folder::parse(&text).ok_or_else(|| LibraryError::Item {
            path: folder.path.to_string(),
            why: "its entries stand twice, or in folders that are not listed".to_owned(),
        })?;
        let listing = Content::inline(text.into_bytes());
        let mut packages: Vec<FolderPackage> = Vec::new();
        for provenance in &folder.provenance {
            self.take_licence(provenance);
            packages.extend(provenance.package.clone().map(|package| FolderPackage {
                package,
                version: provenance.version.clone(),
                licence: provenance.licence.as_ref().map(|licence| licence.digest),
            }));
        }
        packages.sort();
        packages.dedup();
        self.contents.extend(objects::contents_of(folder));
        let entry = IndexFolder {
            path: folder.path.to_string(),
            digest: listing.digest,
            files: folder.items.len() as u64,
            bytes: folder.items.iter().map(|(_, item)| length(item)).sum(),
            packages,
        };
        self.contents.push((folder.path.to_string(), listing));
        self.folders.push((entry, items));
        Ok(())
    }

    fn object_missing_from(&self, index: &Index) -> Option<Digest> {
        let there: BTreeSet<Digest> = index.entries.iter().map(|entry| entry.object).collect();
        let folders: BTreeSet<Digest> = index.folders.iter().map(|folder| folder.digest).collect();
        let mut objects = self.entries.iter().map(|entry| entry.object);
        let missing = objects.find(|object| !there.contains(object));
        missing.or_else(|| self.digests_of_folders().find(|digest| !folders.contains(digest)))
    }

    fn entry_missing_from(&self, index: &Index) -> Option<Digest> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| index.entries.binary_search(entry).is_err());
        let mut folders = self.folders.iter().map(|(folder, _)| folder);
        entry.map(|entry| entry.object).or_else(|| {
            Some(
                folders
                    .find(|folder| index.folders.binary_search(folder).is_err())?
                    .digest,
            )
        })
    }

    fn digests_of_folders(&self) -> impl Iterator<Item = Digest> + '_ {
        self.folders.iter().map(|(folder, _)| folder.digest)
    }

    fn wanted(&self) -> Vec<Wanted> {
        let objects = self
            .contents
            .iter()
            .map(|(_, content)| Wanted::object(content.digest, Some(content.length)));
        let folders = self.digests_of_folders().map(Wanted::folder);
        let mut wanted: Vec<Wanted> = objects.chain(folders).collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }
}

fn length(item: &FolderItem) -> u64 {
    match item {
        FolderItem::File { content, .. } => content.length,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharedlibs::NewLibrary;

    fn library(bytes: &[u8]) -> Addition {
        Addition::Library(NewLibrary {
            path: TreePath::new(b"usr/lib/l").unwrap(),
            content: Content::inline(bytes),
            provenance: Provenance::default(),
        })
    }

    #[test]
    fn a_number_that_another_host_took_meanwhile_is_not_written_over() {
        let home = tempfile::tempdir().unwrap();
        let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
        repository.provide(&[library(b"first")]).unwrap();
        let entry = |bytes: &[u8]| match library(bytes) {
            Addition::Library(library) => library.entry().unwrap(),
            Addition::Folder(_) => unreachable!("it is a library"),
        };
        let session = Session::begin(&repository).unwrap();
        let tries = std::cell::Cell::new(0);
        let (index, ()) = repository
            .append(&session, |newest, entries, _| {
                if tries.replace(tries.get() + 1) == 0 {
                    // A host that does not see our lock is quicker.
                    let both = vec![entries[0].clone(), entry(b"theirs")];
                    let theirs = Index::new(2, "site", newest, (both, Vec::new()));
                    std::fs::write(repository.generation_path(2), theirs.to_bytes()).unwrap();
                }
                entries.push(entry(b"ours"));
            })
            .unwrap();
        assert_eq!((tries.get(), index.number, index.entries.len()), (2, 3, 3));
        assert_eq!(repository.generation(2).unwrap().entries.len(), 2);
    }

    #[test]
    fn a_writer_whose_lock_was_broken_makes_nothing_visible() {
        let home = tempfile::tempdir().unwrap();
        let repository = Repository::create(&home.path().join("libs"), "site").unwrap();
        let session = Session::begin(&repository).unwrap();
        let holder = repository.folder().join("lock.holder");
        std::fs::remove_file(&holder).unwrap();
        std::fs::write(&holder, "another host").unwrap();
        let content = ("/usr/lib/l".to_owned(), Content::inline(&b"abc"[..]));
        let error = objects::put(&repository, &session, &[content]).unwrap_err();
        assert!(matches!(error, LibraryError::Write { .. }), "{error}");
        assert!(!repository.object_path(Digest::of(b"abc")).exists());
        drop(session);
        assert!(holder.exists(), "the other host's is left alone");
    }
}
