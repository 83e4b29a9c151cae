//! Leaving things out of the next generation.

use super::error::LibraryError;
use super::index::{Index, IndexEntry, IndexFolder};
use super::repository::Repository;
use super::session::Session;

/// The shortest start of a digest that is taken for one.
const FEWEST_DIGITS: usize = 8;

/// The part of a generation that goes by some name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its libraries.
    pub entries: Vec<&'a IndexEntry>,
    /// Its folders of data.
    pub folders: Vec<&'a IndexFolder>,
}

impl Found<'_> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.folders.is_empty()
    }
}

impl Index {
    /// Everything that goes by `name`: a soname, a package, an absolute path, a build id, or the
    /// first digits (at least eight) of a digest. What is not there is an error that tells what
    /// looks like it.
    pub fn find(&self, name: &str) -> Result<Found<'_>, LibraryError> {
        let found = Found {
            entries: self.entries.iter().filter(|entry| is_library(entry, name)).collect(),
            folders: self.folders.iter().filter(|folder| is_folder(folder, name)).collect(),
        };
        if found.is_empty() {
            return Err(LibraryError::NotFound {
                repository: self.repository.clone(),
                number: self.number,
                name: name.to_owned(),
                near: self.near(name),
            });
        }
        Ok(found)
    }

    /// At most five sonames and packages that look like `name`, the most alike first.
    fn near(&self, name: &str) -> Vec<String> {
        let entries = self.entries.iter().flat_map(|entry| [&entry.soname, &entry.package]);
        let packages = self.folders.iter().flat_map(|folder| &folder.packages);
        let names = entries.flatten().chain(packages.map(|package| &package.package));
        let alike = names.map(|known| (strsim::jaro_winkler(known, name), known.as_str()));
        let mut alike: Vec<(f64, &str)> = alike.filter(|(likeness, _)| *likeness > 0.8).collect();
        alike.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
        alike.dedup();
        alike.into_iter().take(5).map(|(_, known)| known.to_owned()).collect()
    }
}

fn is_digits(name: &str) -> bool {
    name.len() >= FEWEST_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_library(entry: &IndexEntry, name: &str) -> bool {
    let digits = || is_digits(name) && entry.object.to_string().starts_with(name);
    let names = [&entry.soname, &entry.package, &entry.build_id];
    names.iter().any(|known| known.as_deref() == Some(name)) || entry.path == name || digits()
}

fn is_folder(folder: &IndexFolder, name: &str) -> bool {
    let digits = || is_digits(name) && folder.digest.to_string().starts_with(name);
    folder.packages.iter().any(|package| package.package == name) || folder.path == name || digits()
}

impl Repository {
    /// Makes a generation without what goes by `names` (as [`Index::find`] finds it). Objects
    /// and older generations stay until [`gc`](Self::gc) removes what nothing names.
    pub fn remove(&self, names: &[String]) -> Result<Index, LibraryError> {
        let session = Session::begin(self)?;
        // Under the lock, so that what is found is what is left out.
        let newest = self.newest()?;
        for name in names {
            newest.find(name)?;
        }
        let (index, ()) = self.append(&session, |_, entries, folders| {
            entries.retain(|entry| !names.iter().any(|name| is_library(entry, name)));
            folders.retain(|folder| !names.iter().any(|name| is_folder(folder, name)));
        })?;
        Ok(index)
    }
}
