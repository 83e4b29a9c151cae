//! The Debian releases a guest can be made from.

use crate::architecture::Architecture;

/// A Debian release.
#[derive(Debug)]
pub(super) struct Suite {
    /// Its code name, which is its name in the archive.
    pub(super) name: &'static str,
    /// Its number, and the moving names that have meant it: not accepted, but explained.
    pub(super) other_names: &'static [&'static str],
    /// Whether the archive has an i386 kernel: Debian 13 dropped it (release notes, section 5.1.1).
    i386_kernel: bool,
    /// Whether it has the pockets `updates` and `security`: sid has neither.
    pub(super) pockets: bool,
}

/// The releases known, oldest first.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "buster",
        other_names: &["10"],
        i386_kernel: true,
        pockets: true,
    },
    Suite {
        name: "bullseye",
        other_names: &["11", "oldoldstable"],
        i386_kernel: true,
        pockets: true,
    },
    Suite {
        name: "bookworm",
        other_names: &["12", "oldstable"],
        i386_kernel: true,
        pockets: true,
    },
    Suite {
        name: "trixie",
        other_names: &["13", "stable"],
        i386_kernel: false,
        pockets: true,
    },
    Suite {
        name: "forky",
        other_names: &["14", "testing"],
        i386_kernel: false,
        pockets: true,
    },
    Suite {
        name: "sid",
        other_names: &["unstable"],
        i386_kernel: false,
        pockets: false,
    },
];

impl Suite {
    /// The release of this code name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.name == name)
    }

    /// Whether its archive has a kernel package for `architecture`.
    pub(super) fn has_kernel(&self, architecture: Architecture) -> bool {
        match architecture {
            Architecture::Amd64 => true,
            Architecture::I386 => self.i386_kernel,
        }
    }
}
