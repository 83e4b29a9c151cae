//! Two bootstraps of the same packages make the same tree: what time, chance or the building host
//! left in it is removed or emptied.

use globset::GlobSet;

use super::RootfsError;
use super::purge::globs;
use super::tree::{Content, Kind, Tree, TreePath};

/// Files that are removed wherever they are found.
const REMOVED: &[&str] = &[
    // Locks, and states of the tools that built the tree.
    "/etc/.pwd.lock",
    "/var/lib/dpkg/lock*",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/apt/lists/**",
    "/var/cache/apt/**",
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    // Copies of what was before.
    "/etc/{passwd,group,shadow,gshadow,subuid,subgid}-",
    "/var/lib/dpkg/*-old",
    "/var/cache/debconf/*-old",
    // Inode numbers and times of the building host.
    "/var/cache/ldconfig/aux-cache",
    // Chance: every guest must have its own.
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/dbus/machine-id",
    "/etc/ssh/ssh_host_*",
    // The building host's name and name servers.
    "/etc/hostname",
    "/etc/resolv.conf",
    // Logs of the bootstrap.
    "/var/log/{bootstrap,dpkg,alternatives,fontconfig}.log",
    "/var/log/apt/*",
    // What is not kept over a start.
    "/dev/**",
    "/run/**",
    "/tmp/**",
    "/var/tmp/**",
];

/// Files that must be there but whose content must not.
const EMPTIED: &[&str] = &[
    "/etc/machine-id",
    "/etc/apt/sources.list",
    "/var/log/{btmp,wtmp,lastlog,faillog}",
];

/// What normalising changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Normalised {
    /// Files removed, absolute.
    pub removed: Vec<String>,
    /// Files emptied, absolute.
    pub emptied: Vec<String>,
}

/// Normalises `tree`; no time in it is after `epoch`.
pub fn normalise(tree: &mut Tree, epoch: u64) -> Result<Normalised, RootfsError> {
    let removed = matching(tree, &globs(REMOVED.iter().copied())?);
    let emptied = matching(tree, &globs(EMPTIED.iter().copied())?);
    for path in &removed {
        tree.remove(path);
    }
    for path in &emptied {
        if let Some(entry) = tree.get_mut(path)
            && matches!(entry.kind, Kind::File(_))
        {
            entry.kind = Kind::File(Content::inline(&b""[..]));
        }
    }
    for (_, entry) in tree.iter_mut() {
        entry.mtime = entry.mtime.min(epoch);
        entry.mode = match entry.kind {
            Kind::Symlink(_) => 0o777,
            _ => entry.mode & 0o7777,
        };
    }
    let shown = |paths: Vec<TreePath>| paths.iter().map(ToString::to_string).collect();
    Ok(Normalised {
        removed: shown(removed),
        emptied: shown(emptied),
    })
}

fn matching(tree: &Tree, set: &GlobSet) -> Vec<TreePath> {
    tree.iter()
        .filter(|(path, _)| set.is_match(path.to_string()))
        .map(|(path, _)| path.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::{Entry, Origin};

    #[test]
    fn traces_of_the_bootstrap_go() {
        let mut tree = Tree::default();
        let names = [
            "etc/machine-id",
            "etc/passwd",
            "etc/passwd-",
            "var/log/dpkg.log",
            "tmp/x/y",
            "dev/null",
            "etc/hostname",
        ];
        for name in names {
            let kind = Kind::File(Content::inline(&b"12"[..]));
            let entry = Entry::new(kind, 0o100_644, 99, Origin::Bootstrap);
            tree.insert(TreePath::new(name.as_bytes()).unwrap(), entry);
        }
        let done = normalise(&mut tree, 50).unwrap();
        assert_eq!(done.emptied, ["/etc/machine-id"]);
        let left: Vec<(String, u64)> = tree
            .iter()
            .map(|(path, entry)| (path.to_string(), entry.length()))
            .collect();
        let files: Vec<&(String, u64)> = left.iter().filter(|(name, _)| name.starts_with("/etc/")).collect();
        assert_eq!(
            files,
            [&("/etc/machine-id".to_owned(), 0), &("/etc/passwd".to_owned(), 2)]
        );
        for folder in ["/tmp", "/dev", "/var/log"] {
            assert!(left.iter().any(|(name, _)| name == folder), "{folder}");
        }
        assert!(tree.iter().all(|(_, entry)| entry.mtime <= 50 && entry.mode <= 0o7777));
    }
}
