//! What can go wrong between a recipe and its tree.

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::exec::ExecError;
use crate::rootfs::tree::InvalidPath;

/// A root file system could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// The recipe names no mirror and the host's apt has no Debian archive.
    #[error(
        "no archive for Debian {suite}: the recipe names no mirror and this host's apt configuration has no Debian source"
    )]
    NoArchive {
        /// The suite asked for.
        suite: String,
    },
    /// Security updates were asked for and the host knows no security archive.
    #[error("no security archive for Debian {suite}: this host's apt configuration has none")]
    NoSecurityArchive {
        /// The suite asked for.
        suite: String,
    },
    /// The archive's keys are not on this host.
    #[error("the keys of Debian's archive are missing: {}", path.display())]
    NoKeyring {
        /// Where they are looked for.
        path: PathBuf,
    },
    /// The mirror is not a URI apt can use.
    #[error("'{uri}' is not a mirror: an http:, https:, file: or copy: URI without blanks is needed")]
    InvalidMirror {
        /// What was given.
        uri: String,
    },
    /// The archive did not answer, or not with what it should.
    #[error("cannot fetch from {uri}: {said}")]
    Unreachable {
        /// The archive, or the file in it.
        uri: String,
        /// What apt said.
        said: String,
    },
    /// The archive's indices do not match its own signature.
    #[error("the package index of {uri} is not what its release file says: the mirror is being updated")]
    MirrorInTransit {
        /// The archive.
        uri: String,
    },
    /// The archive's signature is missing or not by a known key.
    #[error("the signature of {uri} cannot be verified: {said}")]
    Unsigned {
        /// The archive.
        uri: String,
        /// What apt said.
        said: String,
    },
    /// A package of the recipe is not in the archive.
    #[error("package '{package}' is not in Debian {suite}")]
    PackageNotFound {
        /// The package.
        package: String,
        /// The suite, with its architecture.
        suite: String,
    },
    /// Packages cannot be installed together.
    #[error("these packages cannot be installed together\n{said}")]
    Unsatisfiable {
        /// Apt's explanation.
        said: String,
    },
    /// An index, a control file or a release file is not as Debian's policy says.
    #[error("{what} cannot be understood: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A downloaded package is not the one that was resolved.
    #[error("package {package} has SHA-256 {found}, not {expected} as resolved")]
    WrongPackage {
        /// Package and version.
        package: String,
        /// The digest of what was downloaded.
        found: String,
        /// The digest resolved.
        expected: String,
    },
    /// A tar archive could not be read.
    #[error("cannot read archive {}: {source}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A path in an archive leaves the tree.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// User namespaces cannot be used.
    #[error("packages cannot be configured as an ordinary user here: {why}")]
    NoUserNamespace {
        /// What is missing.
        why: String,
    },
    /// The tool needs root.
    #[error("{tool} needs root")]
    NeedsRoot {
        /// The tool.
        tool: &'static str,
    },
    /// The bootstrap installed other packages than were resolved.
    #[error("the bootstrapped tree is not what was resolved\n{difference}")]
    InstalledSetDiffers {
        /// One line per package.
        difference: String,
    },
    /// An overlay holds something that is no file, folder or link.
    #[error("overlay '{overlay}' holds {}, which is neither file, folder nor symbolic link", path.display())]
    SpecialFile {
        /// The overlay.
        overlay: String,
        /// The file.
        path: PathBuf,
    },
    /// A pattern is not a glob.
    #[error("'{glob}' is not a pattern: {why}")]
    InvalidGlob {
        /// What was given.
        glob: String,
        /// What is wrong.
        why: String,
    },
    /// A host file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for RootfsError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoKeyring { .. } => "HV2040",
            Self::NoUserNamespace { .. } => "HV2041",
            Self::NeedsRoot { .. } => "HV2042",
            Self::Read { .. } => "HV2043",
            Self::NoArchive { .. } => "HV2001",
            Self::NoSecurityArchive { .. } => "HV2002",
            Self::InvalidMirror { .. } => "HV2003",
            Self::Unreachable { .. } => "HV2004",
            Self::MirrorInTransit { .. } => "HV2005",
            Self::Unsigned { .. } => "HV2006",
            Self::PackageNotFound { .. } => "HV2010",
            Self::Unsatisfiable { .. } => "HV2011",
            Self::Malformed { .. } => "HV2012",
            Self::WrongPackage { .. } => "HV2013",
            Self::Archive { .. } => "HV2020",
            Self::Path(_) => "HV2021",
            Self::InstalledSetDiffers { .. } => "HV2022",
            Self::SpecialFile { .. } => "HV2030",
            Self::InvalidGlob { .. } => "HV2031",
            Self::Exec(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::InvalidMirror { .. }
            | Self::PackageNotFound { .. }
            | Self::Unsatisfiable { .. }
            | Self::SpecialFile { .. }
            | Self::InvalidGlob { .. } => Blame::User,
            Self::InstalledSetDiffers { .. } => Blame::Internal,
            Self::Exec(error) => error.blame(),
            Self::Write(error) => error.blame(),
            _ => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::NoArchive { .. } => "name one with base.mirror in the recipe, --mirror or HPCVM_MIRROR",
            Self::NoSecurityArchive { .. } => {
                "add Debian's security archive to this host's apt sources, or remove 'security' from base.pockets"
            }
            Self::NoKeyring { .. } => "install it: apt-get install debian-archive-keyring",
            Self::InvalidMirror { .. } => "correct base.mirror in the recipe, --mirror or HPCVM_MIRROR",
            Self::Unreachable { .. } => {
                "check the network and the mirror, or name another with base.mirror, --mirror or HPCVM_MIRROR; packages that \
                 were locked long ago are in an archive of snapshots"
            }
            Self::MirrorInTransit { .. } => "try again in some minutes, or name another mirror with --mirror",
            Self::Unsigned { .. } => {
                "upgrade debian-archive-keyring on this host, or name another mirror with --mirror"
            }
            Self::PackageNotFound { .. } => {
                "check the name with 'apt-cache policy', and base.debian, base.components and base.architecture"
            }
            Self::Unsatisfiable { .. } => "remove one of the packages that conflict from the recipe",
            Self::WrongPackage { .. } => "the mirror serves another file under this name: name another with --mirror",
            Self::NoUserNamespace { .. } => {
                "install uidmap, have root add you to /etc/subuid and /etc/subgid, build as root, \
                 or write 'bootstrap: extract' in the recipe"
            }
            Self::NeedsRoot { .. } => "use mmdebstrap, which works as an ordinary user, or build as root",
            Self::Archive { .. } => "check the free space of the cache, then remove the file and build again",
            Self::SpecialFile { .. } => "remove it from the overlay",
            Self::Exec(error) => return error.help(),
            Self::Write(error) => return error.help(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Turns an I/O error while reading `path` into a [`RootfsError`].
pub(super) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RootfsError {
    let path = path.into();
    move |source| RootfsError::Read { path, source }
}

/// Turns an I/O error while writing `path` into a [`RootfsError`].
pub(super) fn writing(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RootfsError {
    let path = path.into();
    move |source| WriteError { path, source }.into()
}
