//! Where hpcvm keeps what it makes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::diagnostic::{Blame, Problem};

/// The folders hpcvm uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Images: kept until they are removed.
    pub store: PathBuf,
    /// Packages and trees: can be fetched and made again.
    pub cache: PathBuf,
    /// What is known of submitted jobs.
    pub state: PathBuf,
    /// The timing log: kept until it is removed.
    pub log: PathBuf,
    /// What lives no longer than one command: `TMPDIR`, or `/tmp`.
    pub scratch: PathBuf,
}

/// No folder could be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no home folder to keep images in: HOME is not set")]
pub struct PlacesError;

impl Problem for PlacesError {
    fn code(&self) -> &'static str {
        "HV0901"
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        Some("set HOME, or name the folders with --store and --cache".to_owned())
    }
}

impl Places {
    /// The folders named, or else those of the XDG base directory specification.
    pub fn find(
        store: Option<PathBuf>,
        cache: Option<PathBuf>,
        environment: &Environment,
    ) -> Result<Self, PlacesError> {
        let scratch = absolute(environment.get("TMPDIR").unwrap_or(OsStr::new("/tmp")).into());
        let home = environment
            .get("HOME")
            .map(PathBuf::from)
            .or_else(|| etcetera::home_dir().ok());
        let base = |variable: &str, default: &str| base(environment, home.as_deref(), variable, default);
        Ok(Self {
            store: store.map_or_else(|| base("XDG_DATA_HOME", ".local/share"), |path| Ok(absolute(path)))?,
            cache: cache.map_or_else(|| base("XDG_CACHE_HOME", ".cache"), |path| Ok(absolute(path)))?,
            state: base("XDG_STATE_HOME", ".local/state")?,
            log: base("XDG_STATE_HOME", ".local/state")?.join("log"),
            scratch,
        })
    }
}

/// `path` as seen from the working directory: other programs and nodes, which are given it, have others.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// hpcvm's folder below a base directory: the variable's where it is absolute, as the
/// specification demands, or else the default below the home folder.
fn base(environment: &Environment, home: Option<&Path>, variable: &str, default: &str) -> Result<PathBuf, PlacesError> {
    let named = environment
        .get(variable)
        .map(Path::new)
        .filter(|path| path.is_absolute());
    let folder = match (named, home) {
        (Some(folder), _) => folder.to_owned(),
        (None, Some(home)) => home.join(default),
        (None, None) => return Err(PlacesError),
    };
    Ok(folder.join("hpcvm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_folders_come_before_variables_before_defaults() {
        type Case<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 4] = [
            (
                None,
                &[("HOME", "/home/u")],
                "/home/u/.local/share/hpcvm",
                "/home/u/.cache/hpcvm",
            ),
            (
                None,
                &[
                    ("HOME", "/home/u"),
                    ("XDG_DATA_HOME", "/data"),
                    ("XDG_CACHE_HOME", "/c"),
                ],
                "/data/hpcvm",
                "/c/hpcvm",
            ),
            // A relative base directory is to be ignored.
            (
                None,
                &[("HOME", "/home/u"), ("XDG_DATA_HOME", "data")],
                "/home/u/.local/share/hpcvm",
                "/home/u/.cache/hpcvm",
            ),
            (Some("/s"), &[("HOME", "/home/u")], "/s", "/home/u/.cache/hpcvm"),
        ];
        for (store, variables, expected_store, expected_cache) in cases {
            let places = Places::find(store.map(PathBuf::from), None, &Environment::of(variables)).unwrap();
            assert_eq!(places.store, Path::new(expected_store), "{variables:?}");
            assert_eq!(places.cache, Path::new(expected_cache), "{variables:?}");
            assert_eq!(places.scratch, Path::new("/tmp"));
        }
    }

    #[test]
    fn relative_folders_are_the_working_directorys() {
        let here = std::env::current_dir().unwrap();
        let environment = Environment::of(&[("HOME", "/home/u"), ("TMPDIR", "t")]);
        let places = Places::find(Some("s".into()), Some("../c".into()), &environment).unwrap();
        assert_eq!(places.store, here.join("s"));
        assert_eq!(places.cache, here.join("../c"));
        assert_eq!(places.scratch, here.join("t"));
    }
}
