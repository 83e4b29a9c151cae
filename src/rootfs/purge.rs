//! Purge rules: files that no job needs, removed by name of the rule.
//!
//! A rule is a table of globs. What the recipe keeps, a rule's own exceptions and licences win
//! over it. Folders are removed when a rule emptied them and they belong to what it purges.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::RootfsError;
use super::purge_tables::{Table, table};
use super::tree::{Entry, Kind, Origin, Tree, TreePath};
use crate::recipe::PurgeRule;
use crate::units::Bytes;

/// Licences, which go wherever the software goes.
const LICENCES: [&str; 3] = [
    "/usr/share/doc/*/copyright",
    "/usr/share/doc/*/NOTICE*",
    "/usr/share/common-licenses/**",
];

/// What a rule removed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Purged {
    /// The rule.
    pub rule: PurgeRule,
    /// Files, links and the like, without folders.
    pub files: usize,
    /// The bytes of those that were regular files.
    pub bytes: Bytes,
}

/// Applies `rules` in order; none removes what one of the globs `keep` matches.
pub fn purge(tree: &mut Tree, rules: &[PurgeRule], keep: &[String]) -> Result<Vec<Purged>, RootfsError> {
    let keep = globs(keep.iter().map(String::as_str).chain(LICENCES))?;
    rules.iter().map(|&rule| apply(tree, rule, &keep)).collect()
}

/// Compiles globs in which `*` stops at a slash and `**` does not.
pub(crate) fn globs<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, RootfsError> {
    let invalid = |glob: &str, error: &globset::Error| RootfsError::InvalidGlob {
        glob: glob.to_owned(),
        why: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| invalid(pattern, &error))?);
    }
    set.build().map_err(|error| invalid("", &error))
}

/// A rule's table, compiled.
struct Matcher {
    files: GlobSet,
    /// Folders that go with their last file.
    folders: GlobSet,
    keep: GlobSet,
    packages: GlobSet,
}

impl Matcher {
    fn new(table: &Table) -> Result<Self, RootfsError> {
        let whole = || table.remove.iter().filter_map(|glob| glob.strip_suffix('/'));
        let below: Vec<String> = whole().map(|folder| format!("{folder}/**")).collect();
        let others = || table.remove.iter().copied().filter(|glob| !glob.ends_with('/'));
        Ok(Self {
            files: globs(others().chain(below.iter().map(String::as_str)))?,
            folders: globs(whole().chain(below.iter().map(String::as_str)))?,
            keep: globs(table.keep.iter().copied())?,
            packages: globs(table.packages.iter().copied())?,
        })
    }

    fn takes(&self, path: &Path, entry: &Entry) -> bool {
        (self.is_of_package(entry) || self.files.is_match(path)) && !self.keep.is_match(path)
    }

    fn is_of_package(&self, entry: &Entry) -> bool {
        matches!(&entry.origin, Origin::Package(name) if self.packages.is_match(&**name))
    }
}

fn apply(tree: &mut Tree, rule: PurgeRule, keep: &GlobSet) -> Result<Purged, RootfsError> {
    let matcher = Matcher::new(&table(rule))?;
    let doomed: Vec<TreePath> = tree
        .iter()
        .filter(|(_, entry)| !matches!(entry.kind, Kind::Directory))
        .filter(|(path, entry)| {
            let absolute = absolute(path);
            let absolute = Path::new(OsStr::from_bytes(&absolute));
            matcher.takes(absolute, entry) && !keep.is_match(absolute) && !is_licence_link(path, entry)
        })
        .map(|(path, _)| path.clone())
        .collect();
    let mut bytes = 0;
    for path in &doomed {
        bytes += tree.get(path).map_or(0, Entry::length);
        tree.remove(path);
    }
    remove_emptied(tree, &doomed, &matcher, keep);
    Ok(Purged {
        rule,
        files: doomed.len(),
        bytes: Bytes(bytes),
    })
}

/// `/usr/share/doc/PACKAGE` as a link to another package's folder: the way to its licence.
fn is_licence_link(path: &TreePath, entry: &Entry) -> bool {
    let in_doc = path
        .parent()
        .is_some_and(|parent| parent.as_bytes() == b"usr/share/doc");
    in_doc && matches!(entry.kind, Kind::Symlink(_))
}

/// Removes folders of the rule, or of a package it removes, that lost their last entry by it.
fn remove_emptied(tree: &mut Tree, doomed: &[TreePath], matcher: &Matcher, keep: &GlobSet) {
    let mut children: BTreeMap<TreePath, usize> = BTreeMap::new();
    for (path, _) in tree.iter() {
        if let Some(parent) = path.parent() {
            *children.entry(parent).or_default() += 1;
        }
    }
    let mut candidates: BTreeSet<TreePath> = doomed.iter().filter_map(TreePath::parent).collect();
    while let Some(folder) = candidates.pop_last() {
        if children.get(&folder).is_some_and(|&count| count > 0) {
            continue;
        }
        let path = absolute(&folder);
        let path = Path::new(OsStr::from_bytes(&path));
        let of_package = tree.get(&folder).is_some_and(|entry| matcher.is_of_package(entry));
        if !(matcher.folders.is_match(path) || of_package) || keep.is_match(path) {
            continue;
        }
        tree.remove(&folder);
        if let Some(parent) = folder.parent() {
            children.entry(parent.clone()).and_modify(|count| *count -= 1);
            candidates.insert(parent);
        }
    }
}

fn absolute(path: &TreePath) -> Vec<u8> {
    [b"/", path.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::Content;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (name, package) in files {
            let origin = if package.is_empty() {
                Origin::Bootstrap
            } else {
                Origin::Package((*package).into())
            };
            let kind = Kind::File(Content::inline(&b"12"[..]));
            tree.insert(path(name), Entry::new(kind, 0o644, 0, origin));
        }
        tree
    }

    #[test]
    fn licences_and_what_is_kept_stay() {
        let mut tree = tree(&[
            ("usr/share/doc/a/copyright", ""),
            ("usr/share/doc/a/changelog.gz", ""),
            ("usr/share/doc/b/README", ""),
            ("usr/share/doc/c/d/README", ""),
        ]);
        let link = Kind::Symlink(b"a".to_vec());
        tree.insert(path("usr/share/doc/z"), Entry::new(link, 0o777, 0, Origin::Bootstrap));
        let done = purge(&mut tree, &[PurgeRule::Documentation], &["/usr/share/doc/b/**".into()]).unwrap();
        assert_eq!((done[0].files, done[0].bytes), (2, Bytes(4)));
        for (name, stays) in [
            ("usr/share/doc/a/copyright", true),
            ("usr/share/doc/a/changelog.gz", false),
            ("usr/share/doc/b/README", true),
            ("usr/share/doc/c", false),
            ("usr/share/doc/z", true),
        ] {
            assert_eq!(tree.get(&path(name)).is_some(), stays, "{name}");
        }
    }

    #[test]
    fn folders_that_programs_expect_stay() {
        let mut tree = tree(&[("var/log/apt/term.log", ""), ("var/cache/apt/pkgcache.bin", "")]);
        purge(&mut tree, &[PurgeRule::Logs, PurgeRule::PackageCaches], &[]).unwrap();
        for name in ["var/log/apt", "var/cache/apt"] {
            assert!(tree.get(&path(name)).is_some(), "{name}");
        }
        assert!(tree.get(&path("var/log/apt/term.log")).is_none());
    }

    #[test]
    fn a_package_manager_goes_by_package() {
        let mut tree = tree(&[
            ("usr/bin/dpkg", "dpkg"),
            ("usr/sbin/start-stop-daemon", "dpkg"),
            ("usr/lib/apt/methods/http", "apt"),
            ("usr/bin/tar", "tar"),
        ]);
        purge(&mut tree, &[PurgeRule::PackageManager], &[]).unwrap();
        let left: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
        assert!(left.contains(&"/usr/sbin/start-stop-daemon".to_owned()) && left.contains(&"/usr/bin/tar".to_owned()));
        assert!(
            !left.iter().any(|name| name.contains("apt") || name.ends_with("dpkg")),
            "{left:?}"
        );
    }

    #[test]
    fn every_table_compiles() {
        let rules: Vec<PurgeRule> = super::super::purge_tables::ALL.to_vec();
        assert_eq!(purge(&mut Tree::default(), &rules, &[]).unwrap().len(), rules.len());
        assert!(purge(&mut Tree::default(), &rules, &["{".into()]).is_err());
    }
}
