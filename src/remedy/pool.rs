//! Which of the packages that were ever fetched has a library: from their control archives.
//!
//! A package says in `shlibs` and `symbols` which sonames it has (deb-shlibs(5), deb-symbols(5)),
//! under the name of the package to depend on. Only control archives in XZ are read, which all
//! packages of Debian have.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use liblzma::read::XzDecoder;
use rayon::prelude::*;

/// The most that is read of a control archive once unpacked, and of a file in it.
const LONGEST: u64 = 16 << 20;
/// Members of a package file that are looked at: control is the second of three.
const MEMBERS: usize = 4;

/// The first package, by name, in the pool in `folder` that is for `architecture` and has `soname`.
pub(super) fn package_with(folder: &Path, soname: &str, architecture: &str) -> Option<String> {
    let files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .min_depth(2)
        .max_depth(3)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "deb"))
        .map(walkdir::DirEntry::into_path)
        .collect();
    files
        .par_iter()
        .filter_map(|path| {
            let control = Control::read(path).ok()?;
            let fits = control.architecture == architecture;
            fits.then(|| control.package_of(soname)).flatten()
        })
        .min()
}

/// What matters of a control archive.
#[derive(Debug, Default)]
struct Control {
    architecture: String,
    shlibs: String,
    symbols: String,
}

impl Control {
    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = member(&mut file, "control.tar.xz")?;
        let unpacked = XzDecoder::new(file.take(length)).take(LONGEST);
        let mut control = Self::default();
        for entry in tar::Archive::new(unpacked).entries()? {
            let mut entry = entry?;
            let name = entry.path_bytes().into_owned();
            let mut text = || -> io::Result<String> {
                let mut bytes = Vec::new();
                entry.by_ref().take(LONGEST).read_to_end(&mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            };
            match name.strip_prefix(b"./").unwrap_or(&name) {
                b"shlibs" => control.shlibs = text()?,
                b"symbols" => control.symbols = text()?,
                b"control" => {
                    let text = text()?;
                    let architecture = text.lines().find_map(|line| line.strip_prefix("Architecture: "));
                    architecture
                        .unwrap_or_default()
                        .trim()
                        .clone_into(&mut control.architecture);
                }
                _ => {}
            }
        }
        Ok(control)
    }

    fn package_of(&self, soname: &str) -> Option<String> {
        self.by_shlibs(soname).or_else(|| self.by_symbols(soname))
    }

    /// `[TYPE: ]NAME VERSION PACKAGE ...`: the soname is `NAME.so.VERSION` or `NAME-VERSION.so`.
    fn by_shlibs(&self, soname: &str) -> Option<String> {
        self.shlibs.lines().find_map(|line| {
            let mut words = line.split_whitespace().filter(|word| !word.ends_with(':'));
            let (name, version, package) = (words.next()?, words.next()?, words.next()?);
            let fits = soname == format!("{name}.so.{version}") || soname == format!("{name}-{version}.so");
            fits.then(|| package.to_owned())
        })
    }

    /// `SONAME PACKAGE ...` begins what is said of a library.
    fn by_symbols(&self, soname: &str) -> Option<String> {
        let rest = self
            .symbols
            .lines()
            .find_map(|line| line.strip_prefix(soname)?.strip_prefix(' '))?;
        rest.split_whitespace().next().map(str::to_owned)
    }
}

/// Goes to the member `name` of a package file, an ar archive (deb(5)), and returns its length.
fn member(file: &mut File, name: &str) -> io::Result<u64> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(io::ErrorKind::InvalidData.into());
    }
    for _ in 0..MEMBERS {
        let mut header = [0; 60];
        file.read_exact(&mut header)?;
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).unwrap_or("").trim();
        let length: u64 = text(48..58).parse().map_err(io::Error::other)?;
        if text(0..16).trim_end_matches('/') == name {
            return Ok(length);
        }
        let skipped = i64::try_from(length.next_multiple_of(2)).map_err(io::Error::other)?;
        file.seek(SeekFrom::Current(skipped))?;
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Host, Invocation, Runner as _};

    /// Makes a package file as Debian does.
    fn package(pool: &Path, name: &str, architecture: &str, shlibs: &str, symbols: &str) {
        let folder = tempfile::tempdir().unwrap();
        let debian = folder.path().join("DEBIAN");
        std::fs::create_dir(&debian).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: {architecture}\nMaintainer: A <a@example.org>\nDescription: x\n"
        );
        for (file, text) in [("control", control.as_str()), ("shlibs", shlibs), ("symbols", symbols)] {
            std::fs::write(debian.join(file), text).unwrap();
        }
        let target = pool.join("sha256/ab");
        std::fs::create_dir_all(&target).unwrap();
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let build = Invocation::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]);
        host.run(
            &build
                .arg(folder.path())
                .arg(target.join(format!("{name}-{architecture}.deb"))),
        )
        .unwrap();
    }

    #[test]
    fn packages_are_found_by_what_they_say_of_themselves() {
        let pool = tempfile::tempdir().unwrap();
        package(
            pool.path(),
            "zlib1g",
            "i386",
            "libz 1 zlib1g (>= 1:1.2)\nudeb: libz 1 zlib1g-udeb\n",
            "",
        );
        package(pool.path(), "zlib1g-wrong", "amd64", "libz 1 wrong\n", "");
        package(
            pool.path(),
            "libc6",
            "i386",
            "",
            "ld-linux.so.2 libc6 #MINVER#\n GLIBC_2.0@GLIBC_2.0 2.31\nlibc.so.6 libc6 #MINVER#\n",
        );
        package(pool.path(), "libdb5.3", "i386", "libdb 5.3 libdb5.3\n", "");
        std::fs::write(pool.path().join("sha256/ab/bad.deb"), "!<arch>\nno package").unwrap();
        for (soname, found) in [
            ("libz.so.1", Some("zlib1g")),
            ("libc.so.6", Some("libc6")),
            ("libdb-5.3.so", Some("libdb5.3")),
            ("libz.so.2", None),
        ] {
            assert_eq!(package_with(pool.path(), soname, "i386").as_deref(), found, "{soname}");
        }
        assert_eq!(package_with(&pool.path().join("none"), "libz.so.1", "i386"), None);
    }
}
