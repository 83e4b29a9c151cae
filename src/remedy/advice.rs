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
            let because = if self.packages.contains(&package) {
                format!("{package} has it and was installed: see what removed it with `hpcvm image show`")
            } else {
                format!("{package} says that it has {soname}")
            };
            return (Some(self.line(&package)), because);
        }
        if let Some(package) = debian::guessed_package(soname) {
            let because = format!("a guess, by Debian's rule for names; `apt-file search {soname}` knows");
            return (Some(self.line(&package)), because);
        }
        let because = "no package is known to have it: share its folder and name it in LD_LIBRARY_PATH, or bring it \
                       in an overlay";
        (None, because.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::library_list::{ListedLibrary, Reason};
    use crate::sharedlibs::IndexEntry;

    fn adviser() -> Adviser {
        Adviser {
            architecture: Architecture::I386,
            suite: "bookworm".to_owned(),
            packages: Vec::new(),
            list: None,
            index: None,
            pool: "/nonexistent".into(),
        }
    }

    fn missing(name: &str) -> Lack {
        Lack::Library {
            name: name.to_owned(),
            needed_by: Some("./a.out".to_owned()),
        }
    }

    fn purged() -> ListedLibrary {
        ListedLibrary {
            path: Some("/usr/lib/libiconv.so.2".to_owned()),
            soname: Some("libiconv.so.2".to_owned()),
            length: 1,
            package: Some("libc-bin".to_owned()),
            verdict: Verdict::Purged,
            reason: Reason::PurgeRule,
            detail: Some("charset-converters".to_owned()),
            chain: Vec::new(),
            needed_by: Vec::new(),
            object: None,
        }
    }

    fn entry(soname: &str, abi: &str, package: &str) -> IndexEntry {
        IndexEntry {
            path: "/x".to_owned(),
            object: Digest::of(b"x"),
            package: Some(package.to_owned()),
            version: None,
            length: 1,
            abi: Some(abi.to_owned()),
            soname: Some(soname.to_owned()),
            needs: Vec::new(),
            provides: Vec::new(),
            build_id: None,
            licence: None,
        }
    }

    #[test]
    fn libraries_are_added_by_what_is_known_best() {
        let mut adviser = adviser();
        let guessed = adviser.remedy(missing("libgmp.so.10"));
        assert_eq!(guessed.recipe.as_deref(), Some("packages: [libgmp10]"));
        assert!(guessed.because.contains("guess"), "{guessed}");
        assert_eq!(adviser.remedy(missing("plugin.so")).recipe, None);
        adviser.list = Some(LibraryList {
            libraries: 1,
            entries: vec![purged()],
            folders: Vec::new(),
        });
        let kept = adviser.remedy(missing("libiconv.so.2"));
        assert_eq!(kept.recipe.as_deref(), Some("keep: [\"/usr/lib/libiconv.so.2\"]"));
        assert!(kept.because.contains("charset-converters"), "{kept}");
        adviser.index = Some(Index {
            number: 1,
            digest: Digest::of(b"1"),
            repository: "site".to_owned(),
            previous: None,
            entries: vec![
                entry("libopenblas.so.0", "x86-64", "wrong"),
                entry("libopenblas.so.0", "i386", "libopenblas0-pthread"),
            ],
            folders: Vec::new(),
        });
        let linked = adviser.remedy(missing("libopenblas.so.0"));
        let line = "libraries: {linked-packages: [libopenblas0-pthread]}";
        assert_eq!(linked.recipe.as_deref(), Some(line));
        assert!(linked.to_string().contains(line), "{linked}");
    }

    #[test]
    fn what_is_no_library_has_its_own_remedy() {
        let version = |version: &str| Lack::Version {
            library: "/lib/libc.so.6".to_owned(),
            version: version.to_owned(),
            needed_by: None,
        };
        let interpreter = |path: &str| Lack::Interpreter {
            path: path.to_owned(),
            needed_by: None,
        };
        for (lack, recipe, because) in [
            (
                version("GLIBC_2.38"),
                Some("base: {debian: trixie}"),
                "bookworm or an older",
            ),
            (version("GLIBC_2.99"), None, "newer libc.so.6 than bookworm has"),
            (
                interpreter("/usr/bin/python3"),
                Some("packages: [python3-minimal]"),
                "has it",
            ),
            (interpreter("/opt/x"), None, "first line"),
            (interpreter("/lib/ld-uClibc.so.0"), None, "statically"),
            (
                interpreter("/lib64/ld-linux-x86-64.so.2"),
                Some("base: {architecture: amd64}"),
                "for i386",
            ),
            (
                Lack::Architecture {
                    needs: "aarch64".to_owned(),
                    needed_by: "a".to_owned(),
                },
                None,
                "compile the program for i386",
            ),
        ] {
            let remedy = adviser().remedy(lack);
            assert_eq!(remedy.recipe.as_deref(), recipe, "{remedy}");
            assert!(remedy.because.contains(because), "{remedy}");
        }
    }
}
