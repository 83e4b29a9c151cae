//! Services of a tree: which there are, and the removal of those that are not wanted.
//!
//! A service is what systemd or a System V init would start by itself: units that are services,
//! sockets, timers or paths, and scripts in `/etc/init.d`. Units of one name belong together: a
//! kept `ssh` keeps `ssh.service` and `ssh.socket`. A unit is also kept by any of its aliases.
//!
//! What stripping means depends on what starts the guest. The job runner starts nothing, so every
//! service not kept goes. A guest with its own init needs that init's units: there only services
//! that other packages bring are stripped (see [`is_part_of_init`]). Targets, mounts, slices and
//! generators always stay: they start nothing of their own.

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobSet;

use super::RootfsError;
use super::purge::globs;
use super::tree::{Entry, Kind, Origin, Tree, TreePath};
use crate::recipe::Init;

/// Who starts a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// A unit of systemd.
    Systemd,
    /// A script of a System V init.
    Sysv,
}

/// A service that a tree has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Service {
    /// Its name, without `.service` and the like, and without `@`.
    pub name: String,
    /// Who starts it.
    pub kind: ServiceKind,
    /// What brought it.
    pub origin: Origin,
}

/// A service that was removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Stripped {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// Its files and links that were removed, absolute.
    pub files: Vec<String>,
}

/// Kinds of units that are started, and start others.
const SUFFIXES: [&str; 4] = [".service", ".socket", ".timer", ".path"];

/// Folders of system units; see systemd.unit(5).
const UNIT_FOLDERS: [&str; 4] = [
    "etc/systemd/system",
    "lib/systemd/system",
    "usr/lib/systemd/system",
    "usr/local/lib/systemd/system",
];

/// All services, sorted by name.
#[must_use]
pub fn available(tree: &Tree) -> Vec<Service> {
    found(tree).into_values().map(|found| found.service).collect()
}

/// Removes the services whose name none of the globs `keep` matches, with everything that enables
/// or changes them; returns them by name.
pub fn strip(tree: &mut Tree, keep: &[String], init: Init) -> Result<Vec<Stripped>, RootfsError> {
    let keep = globs(keep.iter().map(String::as_str))?;
    let mut stripped = Vec::new();
    for service in found(tree).into_values() {
        let needed = init == Init::Services && is_part_of_init(&service.service.origin);
        if needed || service.is_kept(&keep) {
            continue;
        }
        for path in &service.files {
            tree.remove(path);
        }
        stripped.push(Stripped {
            service: service.service,
            files: service.files.iter().map(ToString::to_string).collect(),
        });
    }
    remove_emptied(tree, &stripped);
    Ok(stripped)
}

/// Whether a package is the init system itself or what it cannot do without.
#[must_use]
pub fn is_part_of_init(origin: &Origin) -> bool {
    const EXACT: [&str; 10] = [
        "init",
        "initscripts",
        "insserv",
        "kmod",
        "libpam-systemd",
        "procps",
        "sysv-rc",
        "sysvinit-core",
        "sysvinit-utils",
        "udev",
    ];
    let Origin::Package(name) = origin else { return false };
    EXACT.contains(&&**name) || name.starts_with("systemd") || name.starts_with("dbus")
}

/// A service with all that belongs to it.
struct Found {
    service: Service,
    /// Its name and those of its aliases.
    names: BTreeSet<String>,
    files: Vec<TreePath>,
}

impl Found {
    fn is_kept(&self, keep: &GlobSet) -> bool {
        self.names.iter().any(|name| keep.is_match(name))
    }
}

type Services = BTreeMap<(String, ServiceKind), Found>;

fn found(tree: &Tree) -> Services {
    let mut services = Services::new();
    // Units themselves come first: they say what a service's origin is.
    for links in [false, true] {
        for folder in UNIT_FOLDERS {
            let folder = TreePath::new(folder.as_bytes()).expect("a fixed path is valid");
            for (path, entry) in tree.below(&folder) {
                let is_link = matches!(entry.kind, Kind::Symlink(_));
                if is_link == links && entry.kind != Kind::Directory {
                    add_unit(&mut services, &folder, path, entry);
                }
            }
        }
    }
    add_scripts(&mut services, tree);
    services
}

/// Adds what stands at `path` in a folder of units, if it belongs to a service.
fn add_unit(services: &mut Services, folder: &TreePath, path: &TreePath, entry: &Entry) {
    let relative = String::from_utf8_lossy(&path.as_bytes()[folder.as_bytes().len()..]).into_owned();
    let mut parts = relative.trim_start_matches('/').split('/');
    let (Some(first), second) = (parts.next(), parts.next()) else {
        return;
    };
    let drop_in = first.strip_suffix(".d").and_then(service_name);
    let own = if let Some(name) = drop_in {
        name
    } else if is_enablement(first.as_bytes()) {
        let Some(name) = second.and_then(service_name) else {
            return;
        };
        name
    } else if let Some(name) = service_name(first) {
        name
    } else {
        return;
    };
    let mut name = own.clone();
    if let Kind::Symlink(target) = &entry.kind {
        let target = String::from_utf8_lossy(target).into_owned();
        if target == "/dev/null" {
            return; // A mask: it starts nothing, and says so on purpose.
        }
        if let Some(real) = target.rsplit('/').next().and_then(service_name) {
            name = real;
        }
    }
    let found = add(services, name, ServiceKind::Systemd, entry);
    found.names.insert(own);
    found.files.push(path.clone());
}

/// Adds the scripts of `/etc/init.d` and the links to them in `/etc/rc?.d`.
fn add_scripts(services: &mut Services, tree: &Tree) {
    let etc = TreePath::new(b"etc").expect("a fixed path is valid");
    for (path, entry) in tree.below(&etc) {
        let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
        let parts: Vec<&str> = text.split('/').collect();
        let name = match parts.as_slice() {
            ["etc", "init.d", name] if !matches!(*name, "README" | "skeleton" | "rc" | "rcS") => Some(*name),
            ["etc", folder, link] if is_runlevel(folder) => link.get(3..).filter(|_| link.starts_with(['S', 'K'])),
            _ => None,
        };
        let Some(name) = name.filter(|name| !name.is_empty() && !name.starts_with('.')) else {
            continue;
        };
        let found = add(services, name.to_owned(), ServiceKind::Sysv, entry);
        found.files.push(path.clone());
    }
}

fn is_runlevel(folder: &str) -> bool {
    let level = folder.strip_prefix("rc").and_then(|rest| rest.strip_suffix(".d"));
    level.is_some_and(|level| level.len() == 1 && "0123456S".contains(level))
}

fn add<'a>(services: &'a mut Services, name: String, kind: ServiceKind, entry: &Entry) -> &'a mut Found {
    let found = services.entry((name.clone(), kind)).or_insert_with(|| Found {
        names: BTreeSet::from([name.clone()]),
        service: Service {
            name,
            kind,
            origin: entry.origin.clone(),
        },
        files: Vec::new(),
    });
    // Drop-ins may be met before the unit, whose package is the one that counts.
    if !matches!(found.service.origin, Origin::Package(_)) {
        found.service.origin = entry.origin.clone();
    }
    found
}

/// `getty` for `getty@.service` and `getty@tty1.service`; `None` for what is no service.
fn service_name(file: &str) -> Option<String> {
    let stem = SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix))?;
    let name = stem.split('@').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether links in a folder of this name enable the units they name.
fn is_enablement(folder: &[u8]) -> bool {
    folder.ends_with(b".wants") || folder.ends_with(b".requires")
}

/// Removes the `.wants`, `.requires` and `.d` folders that stripping emptied.
fn remove_emptied(tree: &mut Tree, stripped: &[Stripped]) {
    let files = stripped.iter().flat_map(|stripped| &stripped.files);
    let folders: BTreeSet<TreePath> = files
        .filter_map(|file| TreePath::new(file.as_bytes()).ok()?.parent())
        .filter(|folder| {
            let name = folder.name();
            is_enablement(name) || (name.ends_with(b".d") && !is_etc(folder))
        })
        .collect();
    for folder in folders {
        if tree.below(&folder).count() == 1 {
            tree.remove(&folder);
        }
    }
}

/// Whether a folder stands in `/etc` itself, as `/etc/init.d` and `/etc/rc2.d` do.
fn is_etc(folder: &TreePath) -> bool {
    folder.parent().is_some_and(|parent| parent.as_bytes() == b"etc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::tree::Content;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (path, target, package) in [
            ("usr/lib/systemd/system/ssh.service", "", "openssh-server"),
            ("usr/lib/systemd/system/ssh.socket", "", "openssh-server"),
            ("usr/lib/systemd/system/getty@.service", "", "systemd"),
            ("usr/lib/systemd/system/basic.target", "", "systemd"),
            ("usr/lib/systemd/system/apt-daily.timer", "", "apt"),
            ("etc/systemd/system/sshd.service", "/lib/systemd/system/ssh.service", ""),
            (
                "etc/systemd/system/multi-user.target.wants/ssh.service",
                "/lib/systemd/system/ssh.service",
                "",
            ),
            (
                "etc/systemd/system/timers.target.wants/apt-daily.timer",
                "/lib/systemd/system/apt-daily.timer",
                "",
            ),
            (
                "etc/systemd/system/getty.target.wants/getty@tty1.service",
                "/lib/systemd/system/getty@.service",
                "",
            ),
            ("etc/systemd/system/ssh.service.d/local.conf", "", ""),
            ("etc/systemd/system/udev.service", "/dev/null", ""),
            ("etc/init.d/ssh", "", "openssh-server"),
            ("etc/init.d/README", "", "initscripts"),
            ("etc/rc2.d/S01ssh", "../init.d/ssh", ""),
        ] {
            let kind = if target.is_empty() {
                Kind::File(Content::inline(&b""[..]))
            } else {
                Kind::Symlink(target.into())
            };
            let origin = if package.is_empty() {
                Origin::Bootstrap
            } else {
                Origin::Package(package.into())
            };
            let entry = Entry::new(kind, 0o644, 0, origin);
            tree.insert(TreePath::new(path.as_bytes()).unwrap(), entry);
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<(String, ServiceKind)> {
        available(tree)
            .into_iter()
            .map(|service| (service.name, service.kind))
            .collect()
    }

    #[test]
    fn nothing_is_left_that_would_start() {
        let mut tree = tree();
        let (systemd, sysv) = (ServiceKind::Systemd, ServiceKind::Sysv);
        let expected = [
            ("apt-daily", systemd),
            ("getty", systemd),
            ("ssh", systemd),
            ("ssh", sysv),
        ];
        assert_eq!(names(&tree), expected.map(|(name, kind)| (name.to_owned(), kind)));
        let stripped = strip(&mut tree, &[], Init::JobRunner).unwrap();
        assert_eq!(stripped.len(), 4);
        assert_eq!(stripped[2].service.origin, Origin::Package("openssh-server".into()));
        assert_eq!(stripped[2].files.len(), 5);
        assert_eq!(names(&tree), []);
        let gone = [
            "etc/systemd/system/multi-user.target.wants",
            "etc/systemd/system/ssh.service.d",
            "etc/rc2.d/S01ssh",
        ];
        for path in gone {
            assert!(tree.get(&TreePath::new(path.as_bytes()).unwrap()).is_none(), "{path}");
        }
        let left = [
            "usr/lib/systemd/system/basic.target",
            "etc/systemd/system/udev.service",
            "etc/init.d/README",
        ];
        for path in left {
            assert!(tree.get(&TreePath::new(path.as_bytes()).unwrap()).is_some(), "{path}");
        }
    }

    #[test]
    fn a_service_is_kept_with_its_socket_and_by_its_alias() {
        for keep in ["ssh", "sshd", "s*"] {
            let mut tree = tree();
            strip(&mut tree, &[keep.to_owned()], Init::JobRunner).unwrap();
            let socket = TreePath::new(b"usr/lib/systemd/system/ssh.socket").unwrap();
            assert!(tree.get(&socket).is_some(), "{keep}");
        }
    }

    #[test]
    fn an_init_keeps_its_own() {
        let mut tree = tree();
        let stripped = strip(&mut tree, &[], Init::Services).unwrap();
        assert!(stripped.iter().all(|stripped| stripped.service.name != "getty"));
        assert_eq!(names(&tree), [("getty".to_owned(), ServiceKind::Systemd)]);
        assert!(strip(&mut tree, &["[".to_owned()], Init::Services).is_err());
    }
}
