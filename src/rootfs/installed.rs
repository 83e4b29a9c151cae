//! dpkg's database inside a tree: what is installed, and which package a file is from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::RootfsError;
use super::layout;
use super::resolve::Package;
use super::tree::{Kind, Origin, Tree, TreePath};

/// dpkg's list of packages and their state.
pub const STATUS: &str = "var/lib/dpkg/status";

/// dpkg's lists of files per package.
pub const INFO: &str = "var/lib/dpkg/info";

/// Name, version and architecture of a package.
pub type Installed = (String, String, String);

/// The packages that a status file calls installed.
pub fn installed(status: &str) -> Result<BTreeSet<Installed>, RootfsError> {
    let malformed = |why: String| RootfsError::Malformed {
        what: format!("/{STATUS}"),
        why,
    };
    let parsed: deb822_fast::Deb822 = status
        .parse()
        .map_err(|error: deb822_fast::Error| malformed(error.to_string()))?;
    let mut found = BTreeSet::new();
    for stanza in parsed.iter() {
        let field = |name| stanza.get(name).map(str::to_owned);
        let (Some(name), Some(version), Some(architecture)) =
            (field("Package"), field("Version"), field("Architecture"))
        else {
            return Err(malformed(
                "a stanza without Package, Version or Architecture".to_owned(),
            ));
        };
        if stanza.get("Status").is_some_and(|state| state.ends_with(" installed")) {
            found.insert((name, version, architecture));
        }
    }
    Ok(found)
}

/// Fails unless exactly `packages` are installed; tells each that is missing or too many.
pub fn check(tree: &Tree, packages: &[Package]) -> Result<(), RootfsError> {
    let found = installed(&text(tree, STATUS)?)?;
    let wanted: BTreeSet<Installed> = packages
        .iter()
        .map(|p| (p.name.clone(), p.version.clone(), p.architecture.clone()))
        .collect();
    let line =
        |sign: &str, (name, version, architecture): &Installed| format!("  {sign} {name} {version} {architecture}\n");
    let missing = wanted.difference(&found).map(|item| line("missing", item));
    let extra = found.difference(&wanted).map(|item| line("not resolved", item));
    let difference: String = missing.chain(extra).collect();
    if difference.is_empty() {
        Ok(())
    } else {
        Err(RootfsError::InstalledSetDiffers {
            difference: difference.trim_end().to_owned(),
        })
    }
}

/// A status stanza for a package with this control file, as if dpkg had installed it.
#[must_use]
pub fn status_stanza(control: &str) -> String {
    let mut text = String::new();
    for line in control.trim_end().lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("Package:") {
            text.push_str("Status: install ok installed\n");
        }
    }
    text + "\n"
}

/// Gives every entry that a package's file list names that package as its origin. Folders that
/// several packages share go to the first by name.
pub fn assign_owners(tree: &mut Tree) -> Result<(), RootfsError> {
    let folder = TreePath::new(INFO.as_bytes())?;
    let mut owners: BTreeMap<TreePath, Arc<str>> = BTreeMap::new();
    let lists: Vec<(TreePath, String)> = tree
        .below(&folder)
        .filter_map(|(path, _)| {
            let name = std::str::from_utf8(path.name()).ok()?.strip_suffix(".list")?;
            Some((path.clone(), name.to_owned()))
        })
        .collect();
    for (path, name) in lists {
        let package: Arc<str> = name.split(':').next().unwrap_or(&name).into();
        let bytes = bytes(tree, &path)?;
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let listed = TreePath::new(line)?;
            // The tree tells whether it is merged: then a list's /bin/x stands at /usr/bin/x.
            let place = if tree.get(&listed).is_some() {
                listed
            } else {
                layout::merged(listed)
            };
            owners.entry(place).or_insert_with(|| package.clone());
        }
    }
    for (path, entry) in tree.iter_mut() {
        if let Some(package) = owners.get(path) {
            entry.origin = Origin::Package(package.clone());
        }
    }
    Ok(())
}

/// The text of the regular file at `path`.
fn text(tree: &Tree, path: &str) -> Result<String, RootfsError> {
    let read = bytes(tree, &TreePath::new(path.as_bytes())?)?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn bytes(tree: &Tree, path: &TreePath) -> Result<Vec<u8>, RootfsError> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let read = match tree.get(path).map(|entry| &entry.kind) {
        Some(Kind::File(content)) => content.read(),
        _ => Err(missing()),
    };
    read.map_err(|error| RootfsError::Malformed {
        what: path.to_string(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::rootfs::tree::{Content, Entry};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let kind = Kind::File(Content::inline(text.as_bytes()));
            let entry = Entry::new(kind, 0o644, 0, Origin::Bootstrap);
            tree.insert(TreePath::new(path.as_bytes()).unwrap(), entry);
        }
        tree
    }

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            version: "1".into(),
            architecture: "i386".into(),
            sha256: Digest::of(b""),
            size: 0,
            filename: String::new(),
            essential: false,
            pocket: None,
        }
    }

    #[test]
    fn a_set_that_differs_is_told() {
        let stanza = |name: &str| status_stanza(&format!("Package: {name}\nVersion: 1\nArchitecture: i386\n"));
        let tree = tree(&[(STATUS, &(stanza("a") + &stanza("b")))]);
        check(&tree, &[package("a"), package("b")]).unwrap();
        let error = check(&tree, &[package("a"), package("c")]).unwrap_err().to_string();
        assert!(
            error.contains("missing c 1 i386") && error.contains("not resolved b 1 i386"),
            "{error}"
        );
    }

    #[test]
    fn owners_are_found_through_aliases() {
        let mut tree = tree(&[
            ("usr/bin/sh", ""),
            ("etc/made", ""),
            ("var/lib/dpkg/info/dash.list", "/.\n/bin\n/bin/sh\n"),
            ("var/lib/dpkg/info/libc6:i386.list", "/etc\n"),
        ]);
        assign_owners(&mut tree).unwrap();
        let origin = |path: &str| {
            tree.get(&TreePath::new(path.as_bytes()).unwrap())
                .unwrap()
                .origin
                .clone()
        };
        assert_eq!(origin("usr/bin/sh"), Origin::Package("dash".into()));
        assert_eq!(origin("etc"), Origin::Package("libc6".into()));
        assert_eq!(origin("etc/made"), Origin::Bootstrap);
    }
}
