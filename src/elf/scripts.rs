//! Scripts: the programs that their first lines name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::loader::Loader;

/// As much of a first line as Linux reads (`BINPRM_BUF_SIZE`).
pub const FIRST_LINE: usize = 256;

/// What a script is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The interpreter as the first line names it.
    pub interpreter: PathBuf,
    /// The program that `env` is to find, where the interpreter is `env`.
    pub by_env: Option<OsString>,
}

impl Script {
    /// Reads the first line (execve(2), "Interpreter scripts"); `None` for what is no script.
    #[must_use]
    pub fn parse(start: &[u8]) -> Option<Self> {
        let line = start.strip_prefix(b"#!")?;
        let line = line.split(|&byte| byte == b'\n').next()?;
        let mut words = line
            .split(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
            .filter(|word| !word.is_empty());
        let interpreter = PathBuf::from(OsString::from_vec(words.next()?.to_vec()));
        let by_env = (interpreter.file_name() == Some(OsStr::new("env")))
            .then(|| {
                // `env -S` splits its argument; options and `NAME=value` come before the program.
                let program = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
                Some(OsStr::from_bytes(program).to_owned())
            })
            .flatten();
        Some(Self { interpreter, by_env })
    }

    /// The paths of the programs that must be there, each with whether it is: the interpreter,
    /// and what `env` finds along `path` (a `PATH`).
    #[must_use]
    pub fn programs(&self, loader: &Loader<'_>, path: &OsStr) -> Vec<(PathBuf, bool)> {
        let there = |path: &Path| loader.read(path).is_some();
        let interpreter = loader.settings().working_folder.join(&self.interpreter);
        let mut programs = vec![(interpreter.clone(), there(&interpreter))];
        if let Some(name) = &self.by_env {
            let folders = path
                .as_bytes()
                .split(|&byte| byte == b':')
                .filter(|part| !part.is_empty());
            let mut candidates = folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join(name));
            let found = candidates.find(|candidate| there(candidate));
            let is_there = found.is_some();
            programs.push((found.unwrap_or_else(|| name.into()), is_there));
        }
        programs
    }
}

#[cfg(test)]
mod tests {
    use super::super::loader::Settings;
    use super::super::test_files::files;
    use super::*;

    #[test]
    fn first_lines_name_interpreters() {
        for (line, expected) in [
            ("#!/bin/sh\necho", Some(("/bin/sh", None))),
            ("#! /usr/bin/perl -w\n", Some(("/usr/bin/perl", None))),
            ("#!/usr/bin/env python3\n", Some(("/usr/bin/env", Some("python3")))),
            (
                "#!/usr/bin/env -S LANG=C ruby -w\n",
                Some(("/usr/bin/env", Some("ruby"))),
            ),
            ("#!/usr/bin/env", Some(("/usr/bin/env", None))),
            ("#!/bin/sh\r\n", Some(("/bin/sh", None))),
            ("#!  \n/bin/sh", None),
            ("echo", None),
        ] {
            let script = Script::parse(line.as_bytes());
            let found = script.as_ref().map(|script| {
                let by_env = script.by_env.as_ref().and_then(|name| name.to_str());
                (script.interpreter.to_str().unwrap(), by_env)
            });
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn env_looks_along_the_path() {
        let files = files(&[("/usr/bin/env", ""), ("/usr/local/bin/awk", ""), ("/bin/awk", "")]);
        let loader = Loader::new(&files, Settings::default());
        let programs = |line: &str| {
            let script = Script::parse(line.as_bytes()).unwrap();
            script.programs(&loader, "/usr/bin:/usr/local/bin:/bin".as_ref())
        };
        assert_eq!(
            programs("#!/usr/bin/env awk"),
            [("/usr/bin/env".into(), true), ("/usr/local/bin/awk".into(), true)]
        );
        assert_eq!(programs("#!/bin/none"), [("/bin/none".into(), false)]);
        assert_eq!(programs("#!/usr/bin/env none")[1], ("none".into(), false));
    }
}
