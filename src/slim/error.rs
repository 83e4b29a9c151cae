//! Why libraries could not be linked.

use std::io;
use std::path::PathBuf;

use crate::architecture::Architecture;
use crate::diagnostic::{Blame, Problem};
use crate::rootfs::RootfsError;
use crate::sharedlibs::LibraryError;

/// Libraries could not be linked; the tree is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SlimError {
    /// A file of the tree could not be read.
    #[error("cannot read {} of the tree: {source}", path.display())]
    Unreadable {
        /// The file, as the guest sees it.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is to be linked and nobody said from where.
    #[error("{libraries} libraries and {folders} folders are to be linked, but no shared library repository is named")]
    NoRepository {
        /// How many libraries.
        libraries: usize,
        /// How many folders.
        folders: usize,
    },
    /// A folder cannot be a link, for something in it is needed before the link leads anywhere.
    #[error("{folder} cannot become a link: {file} is needed before the repository is mounted ({})", chain.join(" -> "))]
    BootCritical {
        /// The folder.
        folder: String,
        /// What is needed.
        file: String,
        /// What leads to it.
        chain: Vec<String>,
    },
    /// A folder holds something that must not leave the image.
    #[error("{folder} cannot become a link: {file} {why}")]
    Unfit {
        /// The folder.
        folder: String,
        /// What is in the way.
        file: String,
        /// Why it is.
        why: &'static str,
    },
    /// The tree has no such folder.
    #[error("{folder} cannot become a link: the guest has no such folder")]
    NoFolder {
        /// The folder.
        folder: String,
    },
    /// What a program loads would not be the same.
    #[error("linking would change what {program} loads: {why}")]
    Differs {
        /// The program or library.
        program: String,
        /// The library, and how it differs.
        why: String,
    },
    /// A path would not lead where it led.
    #[error("linking would change what stands at {path}: {why}")]
    Moved {
        /// The path.
        path: String,
        /// How it differs.
        why: String,
    },
    /// The repository lacks something and may not be written to.
    #[error("the repository {} lacks {missing} of the {wanted} objects that this image links to, and you may not add to it", folder.display())]
    Denied {
        /// The repository's folder.
        folder: PathBuf,
        /// How many objects it lacks.
        missing: usize,
        /// How many are wanted.
        wanted: usize,
        /// Debian's code name of the release.
        suite: String,
        /// The guest's architecture.
        architecture: Architecture,
        /// The packages they are from, `name=version`, sorted.
        packages: Vec<String>,
        /// Folders that are linked as a whole.
        folders: Vec<String>,
    },
    /// What the repository has is not what was put in.
    #[error("{} of the repository is not what was put there: {why}", path.display())]
    Damaged {
        /// The object on this host.
        path: PathBuf,
        /// How it differs.
        why: String,
    },
    /// The tree could not be changed.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The repository could not be used.
    #[error(transparent)]
    Repository(#[from] LibraryError),
}

impl Problem for SlimError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "HV2601",
            Self::NoRepository { .. } => "HV2602",
            Self::BootCritical { .. } => "HV2603",
            Self::Unfit { .. } => "HV2604",
            Self::NoFolder { .. } => "HV2605",
            Self::Differs { .. } => "HV2606",
            Self::Moved { .. } => "HV2607",
            Self::Denied { .. } => "HV2608",
            Self::Damaged { .. } => "HV2609",
            Self::Rootfs(error) => error.code(),
            Self::Repository(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Unreadable { .. } | Self::Damaged { .. } => Blame::Host,
            Self::Rootfs(error) => error.blame(),
            Self::Repository(error) => error.blame(),
            _ => Blame::User,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "build again: the tree is then made anew".to_owned(),
            Self::NoRepository { .. } => "name its folder with --libs or HPCVM_LIBS, or in the recipe: \
                 'libraries: {repository: FOLDER}'; hpcvm libs create makes one"
                .to_owned(),
            Self::BootCritical { .. } | Self::Unfit { .. } => {
                "take the folder out of 'libraries: relocate', or name folders below it".to_owned()
            }
            Self::NoFolder { .. } => {
                "correct the path; a purge rule may have removed the folder: see 'purge' and 'keep'".to_owned()
            }
            Self::Differs { .. } => {
                "add the path of the library to 'libraries: keep', so that it stays in the image".to_owned()
            }
            Self::Moved { .. } => "take the folder it leads through out of 'libraries: relocate'".to_owned(),
            Self::Denied {
                folder,
                suite,
                architecture,
                packages,
                folders,
                ..
            } => {
                let debian = format!("--debian {suite} --arch {}", architecture.debian());
                denied(&folder.display().to_string(), &debian, packages, folders)
            }
            Self::Damaged { .. } => {
                "see what is sound and what restores the rest: hpcvm libs verify --repair".to_owned()
            }
            Self::Rootfs(error) => return error.help(),
            Self::Repository(error) => return error.help(),
        })
    }
}

/// What the repository's owner has to do. A folder of several packages, from which purge rules
/// removed something, is only made by the build itself.
fn denied(folder: &str, debian: &str, packages: &[String], folders: &[String]) -> String {
    let build = format!("ask its owner to build this recipe once: hpcvm build --libs {folder} RECIPE");
    if packages.is_empty() || !folders.is_empty() {
        return build;
    }
    let packages = packages.join(" ");
    format!("{build}; or to add what it lacks: hpcvm libs add --libs {folder} {debian} {packages}")
}
