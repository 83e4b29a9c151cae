//! `/etc/ld.so.conf`: the folders that `ldconfig` looks into.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::file_system::FileSystem;

/// The largest file that is read.
const LARGEST: usize = 1024 * 1024;

/// The folders of `file` and of what it includes, in order, each once (ldconfig(8)). A missing
/// file has none.
#[must_use]
pub fn folders(files: &dyn FileSystem, file: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    read(files, file, &mut HashSet::new(), &mut found);
    let mut seen = HashSet::new();
    found.retain(|folder| seen.insert(folder.clone()));
    found
}

/// Reads `file` unless it was `begun` before: files may include one another in a circle.
fn read(files: &dyn FileSystem, file: &Path, begun: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) {
    if !begun.insert(file.to_owned()) {
        return;
    }
    let text = files.open(file).and_then(|source| source.read_all(LARGEST));
    for line in text.unwrap_or_default().split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let line = line.trim_ascii();
        if let Some(patterns) = after_word(line, b"include") {
            let words = patterns.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            for pattern in words {
                for included in matching(files, file, OsStr::from_bytes(pattern)) {
                    read(files, &included, begun, found);
                }
            }
        } else if after_word(line, b"hwcap").is_none() && line.starts_with(b"/") {
            // `/usr/lib=libc5` is how folders of libc5 were marked.
            let folder = line.split(|&byte| byte == b'=').next().unwrap_or_default();
            let end = folder.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
            found.push(OsString::from_vec(folder[..end].to_vec()).into());
        }
    }
}

/// What stands behind a keyword and white space.
fn after_word<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(word)
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
}

/// The files that an `include` means, sorted; relative to the including file's folder. Wildcards
/// are understood in the last component, where all distributions have them.
fn matching(files: &dyn FileSystem, file: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let Some(glob) = name
        .to_str()
        .and_then(|name| GlobBuilder::new(name).literal_separator(true).build().ok())
    else {
        return vec![pattern];
    };
    let matcher = glob.compile_matcher();
    let mut names = files.list(folder).unwrap_or_default();
    names.retain(|name| matcher.is_match(name) && !name.as_bytes().starts_with(b"."));
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::test_files::files;
    use super::*;

    #[test]
    fn includes_are_read_in_place_and_in_order() {
        let files = files(&[
            (
                "/etc/ld.so.conf",
                "/first\ninclude ld.so.conf.d/*.conf # all\nhwcap 1 nosegneg\n/last/=libc6\n",
            ),
            ("/etc/ld.so.conf.d/b.conf", "/b\n/first\nrelative\n"),
            ("/etc/ld.so.conf.d/a.conf", "# libc\n  /a//  \n"),
            ("/etc/ld.so.conf.d/.c.conf", "/hidden\n"),
            (
                "/etc/ld.so.conf.d/loop.conf",
                "include /etc/ld.so.conf.d/loop.conf\n/loop\n",
            ),
        ]);
        let found = folders(&files, Path::new("/etc/ld.so.conf"));
        let expected = ["/first", "/a", "/b", "/loop", "/last"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(folders(&files, Path::new("/etc/none")).is_empty());
    }
}
