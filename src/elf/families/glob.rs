//! Files by pattern, in the scanned tree.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::super::file_system::FileSystem;

/// As many files as one pattern finds at most: more than any folder of plug-ins has.
const MOST: usize = 16 * 1024;

/// The files that match `pattern` below `folder`, sorted. `*`, `?` and `[...]` stand for parts of
/// one component, `..` leads up, and `**` for folders of any depth; it must come before the last
/// component.
pub(super) fn files(files: &dyn FileSystem, folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let components: Vec<&str> = pattern.split('/').collect();
    expand(files, folder, &components, &mut found);
    found.sort();
    found.dedup();
    found
}

fn expand(files: &dyn FileSystem, folder: &Path, components: &[&str], found: &mut Vec<PathBuf>) {
    match components {
        [] => {}
        ["..", rest @ ..] => expand(files, folder.parent().unwrap_or(folder), rest, found),
        ["**", last, ..] => {
            let Some(matcher) = matcher(last) else { return };
            let below = files.walk(folder).unwrap_or_default();
            let fits = |path: &PathBuf| path.file_name().is_some_and(|name| matcher.is_match(name));
            let room = MOST.saturating_sub(found.len());
            found.extend(below.into_iter().filter(fits).take(room));
        }
        [one, rest @ ..] if !one.contains(['*', '?', '[']) => next(files, &folder.join(one), rest, found),
        [one, rest @ ..] => {
            let Some(matcher) = matcher(one) else { return };
            let mut names = files.list(folder).unwrap_or_default();
            names.retain(|name| matcher.is_match(name) && !name.as_bytes().starts_with(b"."));
            names.sort();
            for name in names {
                next(files, &folder.join(name), rest, found);
            }
        }
    }
}

fn next(files: &dyn FileSystem, path: &Path, rest: &[&str], found: &mut Vec<PathBuf>) {
    if !rest.is_empty() {
        expand(files, path, rest, found);
    } else if found.len() < MOST {
        found.push(path.to_owned());
    }
}

fn matcher(pattern: &str) -> Option<globset::GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
    Some(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::super::super::test_files;
    use super::*;

    #[test]
    fn components_are_matched_one_by_one() {
        let tree = test_files::files(&[
            ("/lib/x/openmpi3/mca_a.so", ""),
            ("/lib/x/openmpi3/other.so", ""),
            ("/lib/x/openmpix/mca_b.so", ""),
            ("/lib/x/.hidden/mca_c.so", ""),
            ("/lib/y/1/2/z.oct", ""),
        ]);
        for (folder, pattern, expected) in [
            ("/lib/x", "openmpi[0-9]/mca_*.so", &["/lib/x/openmpi3/mca_a.so"][..]),
            (
                "/lib/x",
                "*/mca_*.so",
                &["/lib/x/openmpi3/mca_a.so", "/lib/x/openmpix/mca_b.so"],
            ),
            ("/lib/x", "../y/**/*.oct", &["/lib/y/1/2/z.oct"]),
            ("/lib/x", "none/*.so", &[]),
            ("/none", "**/*.so", &[]),
        ] {
            let found = files(&tree, Path::new(folder), pattern);
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
