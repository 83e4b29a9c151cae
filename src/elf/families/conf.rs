//! Configuration files of the scanned tree.

use std::path::Path;

use super::super::loader::Loader;

/// The largest file that is read.
const LARGEST: usize = 1024 * 1024;

/// The text of a file; nothing where there is none, or where it cannot be one.
pub(super) fn text(loader: &Loader<'_>, path: &Path) -> String {
    let source = loader.files().open(path);
    let bytes = source.and_then(|source| source.read_all(LARGEST)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines without comments and white space around them; a line may go on after a backslash.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    let whole = text.replace("\\\n", " ");
    let lines: Vec<String> = whole
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines.into_iter()
}
