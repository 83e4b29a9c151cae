//! From a lack to the line of a recipe that would mend it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Lack, debian, pool};
use crate::architecture::Architecture;
use crate::image::StoredImage;
use crate::image::library_list::{LIBRARY_LIST_FILE, LibraryList, Verdict};
use crate::sharedlibs::{Index, Repository};

/// A lack, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remedy {
    /// What is lacking.
    #[serde(flatten)]
    pub lack: Lack,
    /// The line that the recipe needs, where one would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// How that is known, or what else to do.
    pub because: String,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.recipe {
            Some(line) => write!(f, "add to the recipe: {line} ({})", self.because),
            None => f.write_str(&self.because),
        }
    }
}

/// What is known of an image and of the packages that could be added to it.
#[derive(Debug)]
pub struct Adviser {
    architecture: Architecture,
    suite: String,
    packages: Vec<String>,
    /// What became of the image's own libraries.
    list: Option<LibraryList>,
    /// Libraries of the shared repository.
    index: Option<Index>,
    pool: PathBuf,
}

impl Adviser {
    /// Advice for `image`; `repository` is a shared library repository, and `pool` the folder of
    /// the packages fetched so far. What cannot be read is done without.
    #[must_use]
    pub fn new(image: &StoredImage, repository: Option<&Repository>, pool: PathBuf) -> Self {
        let manifest = &image.manifest;
        let listed = manifest.artefact(LIBRARY_LIST_FILE);
        Self {
            architecture: manifest.architecture,
            suite: manifest.suite.clone(),
            packages: manifest.resolution.iter().map(|package| package.name.clone()).collect(),
            list: listed.and_then(|_| LibraryList::read(&image.path(LIBRARY_LIST_FILE)).ok()),
            index: repository.and_then(|repository| repository.latest().ok().flatten()),
            pool,
        }
    }

    /// What to do about `lack`.
    #[must_use]
    pub fn remedy(&self, lack: Lack) -> Remedy {
        let (recipe, because) = match &lack {
            Lack::Library { name, .. } => self.library(name),
            Lack::Version { library, version, .. } => self.version(library, version),
            Lack::Interpreter { path, .. } => self.interpreter(path),
            Lack::Architecture { needs, .. } => self.architecture(needs),
            Lack::Other { .. } => (None, "build the program again".to_owned()),
        };
        Remedy { lack, recipe, because }
    }

    /// The recipe's line that brings `package`: only linked where the image links libraries.
    fn line(&self, package: &str) -> String {
        match self.list {
            Some(_) => format!("libraries: {{linked-packages: [{package}]}}"),
            None => packages(package),
        }
    }

    fn library(&self, soname: &str) -> (Option<String>, String) {
        if let Some(purged) = self.purged(soname) {
            return purged;
        }
        if let Some(package) = self.in_repository(soname) {
            let because = format!("the shared library repository has {soname} from {package}");
            return (Some(self.line(&package)), because);
        }
        let pooled = pool::package_with(&self.pool, soname, self.architecture.debian());
        if let Some(package) = pooled {
            let because = match self.packages.contains(&package) {
                true => format!("{package} has it and was installed: see what removed it with `hpcvm image show`"),
                false => format!("{package} says that it has {soname}"),
            };
            return (Some(self.line(&package)), because);
        }
        match debian::guessed_package(soname) {
            Some(package) => {
                let because = format!("a guess, by Debian's rule for names; `apt-file search {soname}` knows");
                (Some(self.line(&package)), because)
            }
            None => {
                let because = "no package is known to have it: bring the library with `--share`, an overlay, or beside the program with $ORIGIN";
                (None, because.to_owned())
            }
        }
    }

    /// Where the image once had the library, what brings it back.
    fn purged(&self, soname: &str) -> Option<(Option<String>, String)> {
        let mut entries = self.list.as_ref()?.entries.iter();
        let entry = entries.find(|entry| entry.soname.as_deref() == Some(soname) && entry.verdict != Verdict::Local)?;
        match (entry.verdict, &entry.path, &entry.package) {
            (Verdict::Purged, Some(path), _) => {
                let rule = entry.detail.as_deref().unwrap_or("a rule");
                Some((
                    Some(format!("keep: [\"{path}\"]")),
                    format!("the purge rule {rule} removed it"),
                ))
            }
            (_, _, Some(package)) => Some((Some(self.line(package)), format!("{package} has it"))),
            _ => None,
        }
    }

    fn in_repository(&self, soname: &str) -> Option<String> {
        let abi = abi(self.architecture);
        let mut entries = self.index.as_ref()?.entries.iter();
        entries
            .find(|entry| entry.soname.as_deref() == Some(soname) && entry.abi.as_deref() == Some(abi))?
            .package
            .clone()
    }

    fn version(&self, library: &str, version: &str) -> (Option<String>, String) {
        let suite = &self.suite;
        let compile = format!("compile the program on Debian {suite} or an older release");
        match debian::release_with(version) {
            Some(release) if release != suite => (
                Some(format!("base: {{debian: {release}}}")),
                format!("{release} is the first release with {version}; or {compile}"),
            ),
            _ => {
                let library = library.rsplit('/').next().unwrap_or(library);
                (
                    None,
                    format!("the program needs a newer {library} than {suite} has: {compile}"),
                )
            }
        }
    }

    fn interpreter(&self, path: &str) -> (Option<String>, String) {
        let other = Lack::foreign_loader(path, self.architecture);
        if let Some(architecture) = other {
            return self.architecture(architecture);
        }
        match debian::package_of_interpreter(path) {
            Some(package) => (Some(packages(package)), format!("{package} has it")),
            None if debian::is_loader(path) => (
                None,
                "no package of Debian has this loader: link the program statically, or compile it on Debian".to_owned(),
            ),
            None => (
                None,
                "name a program of the image in the first line of the script, or add its package to the recipe"
                    .to_owned(),
            ),
        }
    }

    fn architecture(&self, needs: &str) -> (Option<String>, String) {
        let own = self.architecture;
        let matching = match needs {
            "x86-64" => Some("amd64"),
            "i386" => Some("i386"),
            _ => None,
        };
        let compile = format!("compile the program for {own}");
        match matching {
            Some(matching) => (
                Some(format!("base: {{architecture: {matching}}}")),
                format!("the image is for {own}; or {compile}"),
            ),
            None => (None, format!("the image is for {own}: {compile}")),
        }
    }
}

impl Lack {
    /// The architecture of the dynamic loader at `path`, where it is not the image's own.
    fn foreign_loader(path: &str, own: Architecture) -> Option<&'static str> {
        match (path.rsplit('/').next()?, own) {
            ("ld-linux-x86-64.so.2", Architecture::I386) => Some("x86-64"),
            ("ld-linux.so.2", Architecture::Amd64) => Some("i386"),
            _ => None,
        }
    }
}

fn packages(package: &str) -> String {
    format!("packages: [{package}]")
}

/// What an index calls programs of this architecture, as `elf::abi::Abi` writes it.
const fn abi(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::I386 => "i386",
        Architecture::Amd64 => "x86-64",
    }
}
