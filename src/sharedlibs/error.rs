//! What can go wrong with a repository.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Blame, Problem};
use crate::exec::ExecError;
use crate::image::StoreError;
use crate::image::manifest::ManifestError;
use crate::image::root::RootError;
use crate::rootfs::RootfsError;

/// The repository cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is no repository.
    #[error("there is no shared library repository in {}", folder.display())]
    NoRepository {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// It was made by a newer hpcvm.
    #[error("{} is of version {version} of its format; this hpcvm knows version {known}", path.display())]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The version that this hpcvm reads and writes.
        known: u32,
    },
    /// A file that describes the repository is not as it was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such generation.
    #[error("the repository {repository} has no generation {number}; it has {there}")]
    NoGeneration {
        /// The repository's name.
        repository: String,
        /// What was asked for.
        number: u32,
        /// Those it has, for a reader.
        there: String,
    },
    /// What is to be added cannot be read, or changes while it is.
    #[error("cannot add {path}: {source}")]
    Content {
        /// Where it stands in the guest.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// Objects that a generation names are not as they were added.
    #[error("{count} objects of generation {number} are missing or damaged, the first one {first}")]
    Unsound {
        /// The generation.
        number: u32,
        /// How many they are.
        count: usize,
        /// The first of them and what is wrong with it.
        first: String,
    },
    /// The user may not write here.
    #[error("cannot write to the repository: {}: {source}", path.display())]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something of the repository could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A repository is to be made in a folder that holds something else.
    #[error("{} holds something else: no repository is made in it", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// Not a name for a repository.
    #[error("'{0}' cannot be the name of a repository")]
    Name(String),
    /// A folder of data holds what a repository cannot.
    #[error("{path} cannot be in a folder of a repository: {why}")]
    Item {
        /// Its path in the guest.
        path: String,
        /// Why not.
        why: String,
    },
    /// What was named as a source has nothing for a repository.
    #[error("there is no shared library in {origin}")]
    Nothing {
        /// What was named.
        origin: String,
    },
    /// Nothing in the generation goes by this.
    #[error("nothing in generation {number} of {repository} goes by '{name}'")]
    NotFound {
        /// The repository's name.
        repository: String,
        /// The generation that was searched.
        number: u32,
        /// What was asked for.
        name: String,
        /// What looks like it.
        near: Vec<String>,
    },
    /// What an image links to cannot be told, so that nothing may be removed.
    #[error("what {image} links to cannot be told, so nothing is removed: {why}")]
    Image {
        /// The image.
        image: String,
        /// Why not.
        why: String,
    },
    /// Packages could not be fetched or read.
    #[error(transparent)]
    Packages(#[from] RootfsError),
    /// The image of a generation could not be made.
    #[error(transparent)]
    Export(#[from] RootError),
    /// The image store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image could not be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ExecError),
}

impl Problem for LibraryError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoRepository { .. } => "HV2501",
            Self::Foreign { .. } => "HV2502",
            Self::Damaged { .. } => "HV2503",
            Self::NoGeneration { .. } => "HV2504",
            Self::Content { .. } => "HV2505",
            Self::Unsound { .. } => "HV2506",
            Self::Denied { .. } => "HV2507",
            Self::Write { .. } => "HV2508",
            Self::Read { .. } => "HV2509",
            Self::Occupied { .. } => "HV2510",
            Self::Name(_) => "HV2511",
            Self::Item { .. } => "HV2512",
            Self::Nothing { .. } => "HV2513",
            Self::NotFound { .. } => "HV2514",
            Self::Image { .. } => "HV2515",
            Self::Packages(error) => error.code(),
            Self::Export(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::Program(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NoRepository { .. }
            | Self::NoGeneration { .. }
            | Self::Denied { .. }
            | Self::Occupied { .. }
            | Self::Name(_)
            | Self::Item { .. }
            | Self::Nothing { .. }
            | Self::NotFound { .. } => Blame::User,
            Self::Image { .. } => Blame::Image,
            Self::Packages(error) => error.blame(),
            Self::Export(error) => error.blame(),
            Self::Store(error) => error.blame(),
            Self::Manifest(error) => error.blame(),
            Self::Program(error) => error.blame(),
            _ => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoRepository { folder } => format!(
                "name its folder with --libs or HPCVM_LIBS, or make one: hpcvm libs create --libs {}",
                folder.display()
            ),
            Self::Foreign { .. } => "use the hpcvm that wrote it, or a newer one".into(),
            Self::Damaged { .. } | Self::Unsound { .. } => {
                "see what is sound and what restores the rest: hpcvm libs verify --repair".into()
            }
            Self::NoGeneration { there, .. } if there == "none" => "add something first: hpcvm libs add".into(),
            Self::NoGeneration { there, .. } if there == "none" => "add something first: hpcvm libs add".into(),
            Self::NoGeneration { .. } => "name one of these with --generation, or leave it out for the newest".into(),
            Self::Denied { .. } => {
                "only the owner of a repository adds to it: ask them, or name your own with --libs".into()
            }
            Self::Write { source, .. } if is_full(source) => {
                "free some space there: hpcvm libs gc --dry-run tells what is not needed; nothing was added".into()
            }
            Self::Occupied { .. } => "name an empty folder, or one that does not exist yet".into(),
            Self::Name(_) => {
                "use small letters, digits, '.', '_' and '-', a letter or digit first, 100 characters at most".into()
            }
            Self::Item { .. } => "leave it out of the folder, or keep the folder in the image".into(),
            Self::Nothing { .. } => {
                "name a package, tree or file that has one, or a folder of data with --folder".into()
            }
            Self::NotFound { near, .. } if near.is_empty() => "hpcvm libs ls tells what there is".into(),
            Self::NotFound { near, .. } => format!("there is: {}", near.join(", ")),
            Self::Image { .. } => "build this image again with this hpcvm, or remove it, then repeat".into(),
            Self::Packages(error) => return error.help(),
            Self::Export(error) => return error.help(),
            Self::Store(error) => return error.help(),
            Self::Manifest(error) => return error.help(),
            Self::Program(error) => return error.help(),
            Self::Content { .. } | Self::Write { .. } | Self::Read { .. } => return None,
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Turns what the operating system said while writing `path` into an error.
pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> LibraryError + use<> {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => LibraryError::Denied { path, source },
        _ => LibraryError::Write { path, source },
    }
}

/// Turns what the operating system said while reading `path` into an error.
pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> LibraryError + use<> {
    let path = path.to_owned();
    move |source| LibraryError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CliError, Style};

    #[test]
    fn what_the_operating_system_refuses_is_told_apart() {
        let full = writing(Path::new("/libs/objects"))(io::ErrorKind::StorageFull.into());
        let denied = writing(Path::new("/libs/lock"))(io::ErrorKind::ReadOnlyFilesystem.into());
        let unsound = LibraryError::Unsound {
            number: 3,
            count: 2,
            first: "libz.so.1 is missing".into(),
        };
        let rendered = [full, denied, unsound]
            .map(|error| CliError::from(error).text(Style::Plain))
            .join("--\n");
        insta::assert_snapshot!(rendered, @r"
        error[HV2508]: cannot write /libs/objects: no storage space
          help: free some space there: hpcvm libs gc --dry-run tells what is not needed; nothing was added
        --
        error[HV2507]: cannot write to the repository: /libs/lock: read-only filesystem or storage medium
          help: only the owner of a repository adds to it: ask them, or name your own with --libs
        --
        error[HV2506]: 2 objects of generation 3 are missing or damaged, the first one libz.so.1 is missing
          help: see what is sound and what restores the rest: hpcvm libs verify --repair
        ");
    }
}
