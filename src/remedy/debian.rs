//! What is known of Debian without asking it: names of packages, versions of releases.

/// Programs that scripts name as interpreters, and the packages that have them.
const INTERPRETERS: [(&str, &str); 22] = [
    ("sh", "dash"),
    ("dash", "dash"),
    ("bash", "bash"),
    ("ksh", "ksh"),
    ("zsh", "zsh"),
    ("tcsh", "tcsh"),
    ("csh", "csh"),
    ("env", "coreutils"),
    ("python3", "python3-minimal"),
    ("python", "python-is-python3"),
    ("perl", "perl-base"),
    ("awk", "mawk"),
    ("gawk", "gawk"),
    ("sed", "sed"),
    ("make", "make"),
    ("ruby", "ruby"),
    ("lua", "lua5.4"),
    ("tclsh", "tcl"),
    ("Rscript", "r-base-core"),
    ("octave", "octave"),
    ("gnuplot", "gnuplot-nox"),
    ("node", "nodejs"),
];

/// Dynamic loaders, and the packages that have them.
const LOADERS: [(&str, &str); 3] = [
    ("ld-linux.so.2", "libc6"),
    ("ld-linux-x86-64.so.2", "libc6"),
    ("ld-musl-i386.so.1", "musl"),
];

/// Releases, oldest first, with their versions of glibc and of libstdc++'s `GLIBCXX_3.4`.
const RELEASES: [(&str, u32, u32); 4] = [
    ("buster", 28, 25),
    ("bullseye", 31, 28),
    ("bookworm", 36, 30),
    ("trixie", 41, 33),
];

/// The package of an interpreter, by its path or name.
pub(super) fn package_of_interpreter(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?;
    let known = INTERPRETERS.iter().chain(&LOADERS);
    known
        .into_iter()
        .find(|(program, _)| *program == name)
        .map(|(_, package)| *package)
}

/// Whether this is a dynamic loader.
pub(super) fn is_loader(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"))
}

/// The package that by Debian's rule has the library with this soname (policy 8.1): the name and
/// the version, parted by `-` where a digit stands before.
pub(super) fn guessed_package(soname: &str) -> Option<String> {
    let (name, version) = match soname.split_once(".so.") {
        Some(parts) => parts,
        None => soname.strip_suffix(".so")?.rsplit_once('-')?,
    };
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let between = if name.ends_with(|c: char| c.is_ascii_digit()) {
        "-"
    } else {
        ""
    };
    let package = format!("{name}{between}{version}").to_lowercase().replace('_', "-");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c);
    package.chars().all(fits).then_some(package)
}

/// The oldest release whose C or C++ library has this version, where one has.
pub(super) fn release_with(version: &str) -> Option<&'static str> {
    let number = |prefix: &str| version.strip_prefix(prefix)?.split('.').next()?.parse::<u32>().ok();
    let (glibc, stdcxx) = (number("GLIBC_2."), number("GLIBCXX_3.4."));
    let has = |&&(_, c, cxx): &&(&str, u32, u32)| {
        glibc.is_some_and(|wanted| wanted <= c) || stdcxx.is_some_and(|wanted| wanted <= cxx)
    };
    RELEASES.iter().find(has).map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_guessed_by_debians_rule() {
        for (soname, package) in [
            ("libgmp.so.10", Some("libgmp10")),
            ("libz.so.1", Some("libz1")),
            ("libfftw3.so.3", Some("libfftw3-3")),
            ("libGLdispatch.so.0", Some("libgldispatch0")),
            ("libstdc++.so.6", Some("libstdc++6")),
            ("libdb-5.3.so", Some("libdb5.3")),
            ("lib_x.so.1", Some("lib-x1")),
            ("libx.so", None),
            (".so.1", None),
            ("a b.so.1", None),
        ] {
            assert_eq!(guessed_package(soname).as_deref(), package, "{soname}");
        }
    }

    #[test]
    fn releases_are_known_by_their_libraries() {
        for (version, release) in [
            ("GLIBC_2.36", Some("bookworm")),
            ("GLIBC_2.3.4", Some("buster")),
            ("GLIBC_2.38", Some("trixie")),
            ("GLIBCXX_3.4.29", Some("bookworm")),
            ("GLIBC_2.99", None),
            ("FOO_1", None),
        ] {
            assert_eq!(release_with(version), release, "{version}");
        }
    }

    #[test]
    fn interpreters_are_known_by_their_names() {
        for (path, package) in [
            ("/usr/bin/python3", Some("python3-minimal")),
            ("perl", Some("perl-base")),
            ("/lib/ld-linux.so.2", Some("libc6")),
            ("/opt/x/y", None),
        ] {
            assert_eq!(package_of_interpreter(path), package, "{path}");
        }
    }
}
