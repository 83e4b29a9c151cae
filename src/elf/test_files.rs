//! A small root in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::bytes::{FileId, Source};
use super::file_system::FileSystem;

#[derive(Debug)]
pub(super) struct MemoryFiles(BTreeMap<PathBuf, Vec<u8>>);

/// A root with these files, without links.
pub(super) fn files(files: &[(&str, &str)]) -> MemoryFiles {
    MemoryFiles(
        files
            .iter()
            .map(|(path, text)| (path.into(), text.as_bytes().to_vec()))
            .collect(),
    )
}

impl FileSystem for MemoryFiles {
    fn open(&self, path: &Path) -> io::Result<Source> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Source::memory(FileId::Path(path.into()), bytes.as_slice().into()))
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file.starts_with(path) && file != path)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let below = self.0.keys().filter_map(|file| file.strip_prefix(path).ok());
        let names = below.filter_map(|rest| Some(rest.components().next()?.as_os_str().to_owned()));
        Ok(names.collect::<BTreeSet<_>>().into_iter().rev().collect())
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.keys().filter(|file| file.starts_with(path)).cloned().collect())
    }
}
