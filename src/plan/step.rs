//! The steps of a build.

use serde::Serialize;

use super::Facts;
use crate::recipe::{Bootstrap, Bootstrapper, Initrd, Libraries, LocalLibraries, Recipe, RootKind, Wrap};

/// A step of a build. Each one's result is a function of the recipe and the steps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Names become exact packages.
    Resolve,
    /// Package files come into the pool.
    Fetch,
    /// Packages become a tree.
    Bootstrap,
    /// Services are stripped from it.
    Services,
    /// Purge rules remove what no job needs.
    Purge,
    /// Overlays, the job runner and single files are laid over it.
    Overlays,
    /// Libraries and folders become links into the shared library repository.
    Libraries,
    /// The kernel is packed and its modules are chosen.
    Kernel,
    /// The tree becomes a root file system.
    Root,
    /// Boot partition and root become a disk.
    Disk,
    /// The image becomes part of the store.
    Store,
}

impl StepKind {
    /// The steps of a build of `recipe`, in order.
    pub fn of(recipe: &Recipe) -> impl Iterator<Item = Self> + use<> {
        let linking = recipe.libraries.is_some();
        Self::ALL
            .into_iter()
            .filter(move |step| *step != Self::Libraries || linking)
    }

    /// All steps in order.
    const ALL: [Self; 11] = [
        Self::Resolve,
        Self::Fetch,
        Self::Bootstrap,
        Self::Services,
        Self::Purge,
        Self::Overlays,
        Self::Libraries,
        Self::Kernel,
        Self::Root,
        Self::Disk,
        Self::Store,
    ];

    /// The step's stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Bootstrap => "bootstrap",
            Self::Services => "services",
            Self::Purge => "purge",
            Self::Overlays => "overlays",
            Self::Libraries => "libraries",
            Self::Kernel => "kernel",
            Self::Root => "root",
            Self::Disk => "disk",
            Self::Store => "store",
        }
    }

    /// What the step does for `recipe`.
    #[must_use]
    pub fn describe(self, recipe: &Recipe) -> String {
        let base = &recipe.base;
        match self {
            Self::Resolve => format!(
                "{} and {} packages of Debian {} {}",
                recipe.kernel.package,
                recipe.all_packages().len(),
                base.suite,
                base.architecture
            ),
            Self::Fetch => "package files into the pool, each verified by its SHA-256".to_owned(),
            Self::Bootstrap => match base.bootstrap {
                Bootstrap::Extract => "unpack the packages".to_owned(),
                Bootstrap::Configured => "install and configure the packages".to_owned(),
            },
            Self::Services if recipe.keep_services.is_empty() => "strip all services".to_owned(),
            Self::Services => format!("strip services except {}", recipe.keep_services.join(", ")),
            Self::Purge => format!("{} purge rules", recipe.purge.len()),
            Self::Overlays => {
                let names: Vec<_> = recipe.overlays.iter().map(|overlay| overlay.name.as_str()).collect();
                format!("{}, {} files", names.join(", "), recipe.files.len())
            }
            Self::Libraries => recipe.libraries.as_ref().map_or_else(String::new, libraries),
            Self::Kernel => match recipe.kernel.wrap {
                Wrap::Lz4 => "re-wrap the kernel with LZ4".to_owned(),
                Wrap::Raw => "unpack the kernel".to_owned(),
                Wrap::Stock => "take Debian's kernel as it is".to_owned(),
            },
            Self::Root => match recipe.image.root {
                RootKind::ReadOnly => "compress the tree".to_owned(),
                RootKind::Writable => format!("ext4 with {} free", recipe.image.free_space),
            },
            Self::Disk => "boot partition, root partition and partition table as a VDI".to_owned(),
            Self::Store => "write the manifest and name the image".to_owned(),
        }
    }

    /// Programs the step starts.
    #[must_use]
    pub fn tools(self, recipe: &Recipe) -> Vec<&'static str> {
        match self {
            Self::Resolve | Self::Fetch => vec!["apt-get", "apt-cache"],
            Self::Bootstrap => match (recipe.base.bootstrap, recipe.base.bootstrapper) {
                (Bootstrap::Extract, _) => vec!["dpkg-deb"],
                (Bootstrap::Configured, Bootstrapper::Debootstrap) => vec!["debootstrap"],
                (Bootstrap::Configured, Bootstrapper::Mmdebstrap) => vec!["mmdebstrap", "arch-test"],
                // Either of the two does; the bootstrap itself says what is missing.
                (Bootstrap::Configured, Bootstrapper::Auto) => vec!["arch-test"],
            },
            Self::Kernel if recipe.kernel.initrd == Initrd::Hpcvm => vec!["dpkg-deb"],
            Self::Root => match recipe.image.root {
                RootKind::ReadOnly => vec!["mksquashfs"],
                RootKind::Writable => vec!["mke2fs", "debugfs"],
            },
            Self::Disk => vec!["mkfs.vfat", "mcopy", "syslinux"],
            Self::Services | Self::Purge | Self::Overlays | Self::Libraries | Self::Kernel | Self::Store => Vec::new(),
        }
    }

    pub(super) fn is_cached(self, facts: &Facts) -> bool {
        match self {
            Self::Resolve => facts.resolution.is_some(),
            Self::Fetch => facts.fetched,
            Self::Bootstrap => facts.bootstrapped,
            _ => false,
        }
    }
}

/// What is linked, in a few words.
fn libraries(wishes: &Libraries) -> String {
    let linked = match wishes.local {
        LocalLibraries::BootCritical => "link libraries that are not boot-critical",
        LocalLibraries::Needed => "link libraries that no program needs",
        LocalLibraries::All => "link libraries",
    };
    let counted = |count: usize, what: &str| match count {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        count => format!(", {count} {what}s"),
    };
    let packages = counted(wishes.linked_packages.len(), "linked package");
    [linked, &packages, &counted(wishes.relocate.len(), "folder")].concat()
}
