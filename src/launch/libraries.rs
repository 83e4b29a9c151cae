//! The shared library repository that an image links to: found and checked before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::request::Start;
use crate::diagnostic::{Blame, Problem};
use crate::digest::Digest;
use crate::image::StoredImage;
use crate::image::library_list::{LIBRARY_LIST_FILE, LibraryList, ListedLibrary, Verdict};
use crate::image::manifest::{Manifest, ManifestError};
use crate::recipe::{Init, RootKind};
use crate::sharedlibs::{Damage, Index, LibraryError, Repository, Wanted};

/// Things that an error lists before it only counts.
const SHOWN: usize = 8;

/// The generation that a guest gets, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libraries {
    /// The repository's folder.
    pub folder: PathBuf,
    /// The generation's export, where the guest gets it as a disk.
    pub export: Option<PathBuf>,
    /// The generation's number.
    pub generation: u32,
    /// SHA-256 of the generation's index.
    pub digest: Digest,
}

/// How a guest gets the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// As a disk where the generation was exported, else as a folder.
    #[default]
    Auto,
    /// The generation's export as a disk.
    Disk,
    /// The host's folder over 9p.
    Folder,
}

/// Where a repository may be.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// What the user names: it counts before everything else.
    pub named: Option<PathBuf>,
    /// What this site has: it counts where the image names none that is here.
    pub site: Option<PathBuf>,
}

impl Places {
    /// Where the repository of an image is looked for: what the user names, the one that the
    /// image was built with if it is there, or the site's.
    #[must_use]
    pub fn for_image(&self, manifest: &Manifest) -> Option<PathBuf> {
        let generation = manifest.libraries.as_ref().map(|libraries| &libraries.generation);
        let built_with = generation.and_then(|generation| generation.folder.as_deref());
        let here = built_with.filter(|folder| folder.is_dir());
        let found = self.named.as_deref().or(here).or(self.site.as_deref());
        // One that is not there makes a better message than none.
        found.or(built_with).map(Path::to_owned)
    }
}

/// The repository that an image links to cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LibrariesError {
    /// Nobody says where it is.
    #[error("{image} links to libraries of the repository {repository}, and nothing says where that is")]
    Nowhere {
        /// The image's name.
        image: String,
        /// The repository's name.
        repository: String,
    },
    /// The repository or its generation cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The image's list of libraries cannot be read.
    #[error(transparent)]
    List(#[from] ManifestError),
    /// The generation of this number has another index.
    #[error(
        "generation {number} in {} is not the one that {image} was built with: its index has the digest {found}, not {expected}",
        folder.display()
    )]
    OtherGeneration {
        /// The image's name.
        image: String,
        /// The repository's folder.
        folder: PathBuf,
        /// The generation's number.
        number: u32,
        /// The digest of its index.
        found: Digest,
        /// The digest that the manifest names.
        expected: Digest,
    },
    /// Objects are missing or changed.
    #[error("{image} cannot run with the repository {}:{}", folder.display(), listed(damaged))]
    Damaged {
        /// The image's name.
        image: String,
        /// The repository's folder.
        folder: PathBuf,
        /// What is wrong with each, with the library and the programs that need it.
        damaged: Vec<String>,
    },
    /// The generation is wanted as a disk, and cannot be.
    #[error("generation {number} of {} cannot be a disk: {why}", folder.display())]
    NoDisk {
        /// The repository's folder.
        folder: PathBuf,
        /// The generation's number.
        number: u32,
        /// Why not.
        why: &'static str,
    },
}

fn listed(lines: &[String]) -> String {
    let mut text: String = lines.iter().take(SHOWN).flat_map(|line| ["\n  ", line]).collect();
    if lines.len() > SHOWN {
        text += "\n  and ";
        text += &(lines.len() - SHOWN).to_string();
        text += " more";
    }
    text
}

impl Problem for LibrariesError {
    fn code(&self) -> &'static str {
        match self {
            Self::Nowhere { .. } => "HV4401",
            Self::Library(error) => error.code(),
            Self::List(error) => error.code(),
            Self::OtherGeneration { .. } => "HV4402",
            Self::Damaged { .. } => "HV4403",
            Self::NoDisk { .. } => "HV4404",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Nowhere { .. } | Self::NoDisk { .. } => Blame::User,
            Self::Library(error) => error.blame(),
            Self::List(error) => error.blame(),
            Self::OtherGeneration { .. } | Self::Damaged { .. } => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Library(error) => return error.help(),
            Self::List(error) => return error.help(),
            Self::Nowhere { .. } => {
                "name its folder with --libs or HPCVM_LIBS, or as `libraries:` in /etc/hpcvm/site.yaml"
            }
            Self::OtherGeneration { .. } => "name the repository it was built with, or build the image again",
            Self::Damaged { .. } => {
                "see all that is wrong with `hpcvm libs verify`; building the image again writes damaged objects anew"
            }
            Self::NoDisk { .. } => "export it with `hpcvm libs export`, or leave --libs-by out",
        };
        Some(help.to_owned())
    }
}

impl Libraries {
    /// What `image` needs of a repository; `None` where it links to none. Reads the index and the
    /// image's list of libraries, and of the repository's objects their status only.
    pub fn find(image: &StoredImage, places: &Places, by: By, start: Start) -> Result<Option<Self>, LibrariesError> {
        let Some(libraries) = &image.manifest.libraries else {
            return Ok(None);
        };
        let generation = &libraries.generation;
        let name = &image.manifest.name;
        let folder = places
            .for_image(&image.manifest)
            .ok_or_else(|| LibrariesError::Nowhere {
                image: name.clone(),
                repository: generation.repository.clone(),
            })?;
        let repository = Repository::open(&folder)?;
        let index = repository.generation(generation.number)?;
        if index.digest != generation.digest {
            return Err(LibrariesError::OtherGeneration {
                image: name.clone(),
                folder: repository.folder().to_owned(),
                number: generation.number,
                found: index.digest,
                expected: generation.digest,
            });
        }
        let export = export(image, &repository, by, start)?;
        let list = LibraryList::read(&image.path(LIBRARY_LIST_FILE))?;
        let damaged = damaged(&repository, &index, &list, export.is_some());
        if !damaged.is_empty() {
            return Err(LibrariesError::Damaged {
                image: name.clone(),
                folder: repository.folder().to_owned(),
                damaged,
            });
        }
        Ok(Some(Self {
            folder: repository.folder().to_owned(),
            export,
            generation: generation.number,
            digest: generation.digest,
        }))
    }
}

/// The export to attach as a disk, if that is how the guest gets the repository.
fn export(
    image: &StoredImage,
    repository: &Repository,
    by: By,
    start: Start,
) -> Result<Option<PathBuf>, LibrariesError> {
    let number = image
        .manifest
        .libraries
        .as_ref()
        .map_or(0, |libraries| libraries.generation.number);
    let refused = |why| LibrariesError::NoDisk {
        folder: repository.folder().to_owned(),
        number,
        why,
    };
    // The boot partition's command line does not ask for the squashfs driver.
    let driverless = image.manifest.root.kind == RootKind::Writable
        && image.manifest.init == Init::JobRunner
        && matches!(start, Start::Bios(_));
    match (by, driverless) {
        (By::Folder, _) | (By::Auto, true) => Ok(None),
        (By::Disk, true) => Err(refused("a writable image that boots by its BIOS has no driver for it")),
        (By::Auto, false) => Ok(repository.export_path(number)),
        (By::Disk, false) => match repository.export_path(number) {
            Some(path) => Ok(Some(path)),
            None => Err(refused("it has no export whose trailer names it")),
        },
    }
}

/// What of the image's links leads nowhere, one line each. Objects in an export were checked when
/// it was made: they must only be among them.
fn damaged(repository: &Repository, index: &Index, list: &LibraryList, exported: bool) -> Vec<String> {
    let mut linked: BTreeMap<Digest, Vec<&ListedLibrary>> = BTreeMap::new();
    for library in list.entries.iter().filter(|library| library.verdict == Verdict::Linked) {
        if let Some(object) = library.object {
            linked.entry(object).or_default().push(library);
        }
    }
    let mut lines = Vec::new();
    let absent = linked.iter().filter(|(object, _)| index.entry(**object).is_none());
    lines.extend(absent.map(|(_, libraries)| line(libraries, "is not in the generation")));
    let folders = list.folders.iter();
    let absent = folders.filter(|folder| index.folder(folder.object).is_none());
    lines.extend(absent.map(|folder| format!("{} is not in the generation", folder.path)));
    if exported || !lines.is_empty() {
        return lines;
    }
    let files = linked
        .iter()
        .map(|(object, libraries)| Wanted::object(*object, libraries.first().map(|library| library.length)));
    let folders = list.folders.iter().map(|folder| Wanted::folder(folder.object));
    let wanted: Vec<Wanted> = files.chain(folders).collect();
    let describe = |damage: Damage| match linked.get(&damage.wanted.digest) {
        Some(libraries) if !damage.wanted.folder => line(libraries, &damage.to_string()),
        _ => {
            let folder = list.folders.iter().find(|folder| folder.object == damage.wanted.digest);
            let path = folder.map_or("a folder", |folder| &folder.path);
            format!("{path}: {damage}")
        }
    };
    repository.check(&wanted).into_iter().map(describe).collect()
}

/// A library, what is wrong with it, and who cannot do without it.
fn line(libraries: &[&ListedLibrary], fault: &str) -> String {
    let names: Vec<&str> = libraries.iter().filter_map(|library| library.path.as_deref()).collect();
    let mut programs: Vec<&str> = libraries
        .iter()
        .flat_map(|library| &library.needed_by)
        .map(String::as_str)
        .collect();
    programs.sort_unstable();
    programs.dedup();
    let package = libraries.iter().find_map(|library| library.package.as_deref());
    let package = package.map_or_else(String::new, |package| format!(" of {package}"));
    let needed = match programs.len() {
        0 => String::new(),
        1 => format!("; {} needs it", programs[0]),
        count if count > SHOWN => format!("; {} and {} more need it", programs[..SHOWN].join(", "), count - SHOWN),
        _ => format!("; {} need it", programs.join(", ")),
    };
    format!("{}{package}: {fault}{needed}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::library_list::Reason;

    fn library(path: &str, needed_by: &[&str]) -> ListedLibrary {
        ListedLibrary {
            path: Some(path.to_owned()),
            soname: None,
            length: 1,
            package: Some("libx1".to_owned()),
            verdict: Verdict::Linked,
            reason: Reason::NotLocal,
            detail: None,
            chain: Vec::new(),
            needed_by: needed_by.iter().map(|&program| program.to_owned()).collect(),
            object: Some(Digest::of(b"x")),
        }
    }

    #[test]
    fn errors_name_libraries_and_programs() {
        let one = library("/lib/a", &["/bin/p"]);
        let two = library("/lib/b", &["/bin/p", "/bin/q"]);
        assert_eq!(
            line(&[&library("/lib/a", &[])], "is missing"),
            "/lib/a of libx1: is missing"
        );
        assert_eq!(
            line(&[&one], "is missing"),
            "/lib/a of libx1: is missing; /bin/p needs it"
        );
        assert_eq!(
            line(&[&one, &two], "is missing"),
            "/lib/a, /lib/b of libx1: is missing; /bin/p, /bin/q need it"
        );
        let many: Vec<String> = (0..20).map(|number| format!("/bin/{number:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(line(&[&library("/lib/a", &many)], "x").ends_with(" /bin/07 and 12 more need it"));
        let lines: Vec<String> = many.iter().map(|&line| line.to_owned()).collect();
        assert!(listed(&lines).ends_with("\n  /bin/07\n  and 12 more"));
    }
}
