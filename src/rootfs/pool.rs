//! The package files: each stored once, named by its digest.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::RootfsError;
use super::archive::ArchiveSource;
use super::error::{reading, writing};
use super::resolve::Package;
use crate::digest::Digest;
use crate::durable;
use crate::exec::{ExecError, Invocation, Runner};

/// The part of apt that fetches single files with the host's proxies and credentials.
const DOWNLOADER: &str = "/usr/lib/apt/apt-helper";

/// A folder of `.deb` files under `sha256/ab/abcdef....deb`. Files are only ever added, by a
/// rename, and never changed: any number of processes may use it at once.
#[derive(Clone, Debug)]
pub struct Pool {
    folder: PathBuf,
}

impl Pool {
    /// The pool in `folder`, which need not exist yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Where the package file with this digest is or will be.
    #[must_use]
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join("sha256").join(&name[..2]).join(format!("{name}.deb"))
    }

    /// Whether the package is there. Its size is checked; its digest was when it came in.
    #[must_use]
    pub fn has(&self, package: &Package) -> bool {
        fs::metadata(self.path_of(&package.sha256)).is_ok_and(|file| file.is_file() && file.len() == package.size)
    }

    /// Fetches from `source` those of `packages` that are missing, all at once; returns how many
    /// bytes that were. A file whose digest is wrong does not enter the pool.
    pub fn fetch<'a>(
        &self,
        runner: &dyn Runner,
        source: &ArchiveSource,
        packages: impl IntoIterator<Item = &'a Package>,
    ) -> Result<u64, RootfsError> {
        let mut missing: Vec<&Package> = packages.into_iter().filter(|package| !self.has(package)).collect();
        missing.sort_by_key(|package| package.sha256);
        missing.dedup_by_key(|package| package.sha256);
        if missing.is_empty() {
            return Ok(0);
        }
        durable::create_private_folder(&self.folder)?;
        let incoming = durable::private_folder_in(&self.folder, "incoming-").map_err(writing(&self.folder))?;
        download(runner, source, &missing, incoming.path())?;
        missing
            .par_iter()
            .map(|package| self.admit(&incoming.path().join(package.sha256.to_string()), package))
            .collect::<Result<Vec<()>, RootfsError>>()?;
        Ok(missing.iter().map(|package| package.size).sum())
    }

    /// Moves a downloaded file to its place if it is what was resolved.
    fn admit(&self, file: &Path, package: &Package) -> Result<(), RootfsError> {
        let found = Digest::of_file(file).map_err(reading(file))?;
        if found != package.sha256 {
            return Err(RootfsError::WrongPackage {
                package: format!("{} {}", package.name, package.version),
                found: found.to_string(),
                expected: package.sha256.to_string(),
            });
        }
        let target = self.path_of(&package.sha256);
        let folder = target.parent().expect("a pool path has a folder");
        durable::create_private_folder(folder)?;
        fs::rename(file, &target).map_err(writing(&target))
    }
}

/// Downloads each package into `folder` under its digest.
fn download(
    runner: &dyn Runner,
    source: &ArchiveSource,
    packages: &[&Package],
    folder: &Path,
) -> Result<(), RootfsError> {
    let mut command = Invocation::new(DOWNLOADER).args(["-qq", "-o", "APT::Sandbox::User=root", "download-file"]);
    for package in packages {
        let base = source.uri_of(package.pocket);
        // apt's method `file` hands out the file in place; `copy` brings it here.
        let base = base
            .strip_prefix("file:")
            .map_or(base.to_owned(), |path| format!("copy:{path}"));
        command = command
            .arg(format!("{base}/{}", quoted(&package.filename)))
            .arg(folder.join(package.sha256.to_string()))
            .arg(format!("SHA256:{}", package.sha256));
    }
    match runner.run(&command) {
        Ok(_) => Ok(()),
        Err(ExecError::Failed { stderr, .. }) => Err(RootfsError::Unreachable {
            uri: source.uri.clone(),
            said: stderr.lines().next().unwrap_or("no reason given").to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// A pool path as part of a URI: `~` and `+` of versions are escaped as apt does.
fn quoted(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Host;

    fn package(bytes: &[u8], filename: &str) -> Package {
        Package {
            name: "demo".into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            filename: filename.into(),
            essential: false,
            pocket: None,
        }
    }

    fn source(folder: &Path) -> ArchiveSource {
        ArchiveSource {
            uri: format!("file:{}", folder.display()),
            suite: "bookworm".into(),
            components: vec!["main".into()],
            pockets: Vec::new(),
            keyring: "/nonexistent".into(),
        }
    }

    #[test]
    fn packages_enter_whole_and_right_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        fs::create_dir(folder.path().join("pool")).unwrap();
        fs::write(folder.path().join("pool/a+b~c.deb"), b"package").unwrap();
        let (pool, source) = (Pool::new(&folder.path().join("debs")), source(folder.path()));
        let good = package(b"package", "pool/a+b~c.deb");
        assert_eq!(pool.fetch(&host, &source, [&good, &good]).unwrap(), 7);
        assert_eq!(fs::read(pool.path_of(&good.sha256)).unwrap(), b"package");
        assert_eq!(pool.fetch(&host, &source, [&good]).unwrap(), 0);
        for (bytes, name) in [(b"pack---", "pool/a+b~c.deb"), (b"package", "pool/gone.deb")] {
            let bad = Package {
                sha256: Digest::of(b"other"),
                ..package(bytes, name)
            };
            assert!(pool.fetch(&host, &source, [&bad]).is_err(), "{name}");
            assert!(!pool.has(&bad));
        }
        let left = fs::read_dir(folder.path().join("debs")).unwrap().count();
        assert_eq!(left, 1, "nothing half-written stays");
    }

    #[test]
    fn a_cut_file_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new(folder.path());
        let wanted = package(b"package", "x");
        let path = pool.path_of(&wanted.sha256);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"pack").unwrap();
        assert!(!pool.has(&wanted));
    }
}
