//! A private state for apt: its own sources, lists and empty dpkg status, so that it resolves for
//! a guest and knows nothing of this host's packages. Needs no rights.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::RootfsError;
use super::archive::ArchiveSource;
use super::error::writing;
use crate::architecture::Architecture;
use crate::digest::Digest;
use crate::durable;
use crate::exec::{Completed, ExecError, Invocation, Runner};

/// An apt state folder, locked against other processes as long as this lives.
#[derive(Debug)]
pub struct AptState {
    folder: PathBuf,
    source: ArchiveSource,
    architecture: Architecture,
    /// Holds the lock.
    _lock: File,
}

impl AptState {
    /// The state for `source` and `architecture` below `folder`; waits while another process has it.
    pub fn open(folder: &Path, source: &ArchiveSource, architecture: Architecture) -> Result<Self, RootfsError> {
        let list = source.sources_list(architecture)?;
        let folder = folder.join(Digest::of(list.as_bytes()).short());
        for part in ["lists/partial", "cache/archives/partial"] {
            durable::create_private_folder(&folder.join(part))?;
        }
        let lock_path = folder.join("hpcvm.lock");
        let lock = File::create(&lock_path).map_err(writing(&lock_path))?;
        lock.lock().map_err(writing(&lock_path))?;
        durable::write(&folder.join("sources.list"), list.as_bytes())?;
        durable::write(&folder.join("status"), b"")?;
        let settings = format!("APT::Architectures {{ \"{architecture}\"; }};\n");
        durable::write(&folder.join("apt.conf"), settings.as_bytes())?;
        Ok(Self {
            folder,
            source: source.clone(),
            architecture,
            _lock: lock,
        })
    }

    /// The archive it knows.
    #[must_use]
    pub fn source(&self) -> &ArchiveSource {
        &self.source
    }

    /// Suite and architecture, for messages.
    #[must_use]
    pub fn suite(&self) -> String {
        format!("{} ({})", self.source.suite, self.architecture)
    }

    /// Fetches the package lists; an archive that does not answer is an error, not a warning.
    pub fn update(&self, runner: &dyn Runner) -> Result<(), RootfsError> {
        self.run(
            runner,
            "apt-get",
            &["-qq", "-o", "APT::Update::Error-Mode=any", "update"],
        )?;
        Ok(())
    }

    /// Runs one of apt's programs on this state.
    pub fn run(&self, runner: &dyn Runner, program: &str, arguments: &[&str]) -> Result<Completed, RootfsError> {
        let invocation = Invocation::new(program)
            .args(self.options())
            .args(arguments)
            .env("APT_CONFIG", self.folder.join("apt.conf"));
        let mut stdout = Vec::new();
        let said = runner.drain(&invocation, &mut |out| out.read_to_end(&mut stdout).map(|_| ()));
        match said {
            Ok(completed) => Ok(Completed { stdout, ..completed }),
            // Why packages do not fit together is told on standard output.
            Err(error) => Err(self.explained(error, &String::from_utf8_lossy(&stdout))),
        }
    }

    /// The release files (`InRelease` or `Release`) of the lists fetched.
    pub fn release_files(&self) -> Result<Vec<PathBuf>, RootfsError> {
        let lists = self.folder.join("lists");
        let mut found: Vec<PathBuf> = fs::read_dir(&lists)
            .map_err(super::error::reading(&lists))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with("Release"))
            .collect();
        found.sort();
        Ok(found)
    }

    /// Options on the command line, for they win over the host's own configuration; the rest of
    /// that (proxies, for instance) stays in force. Only the list of architectures needs a file.
    fn options(&self) -> Vec<String> {
        let folder = self.folder.display();
        let architecture = self.architecture;
        [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferences=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            format!("Dir::State={folder}"),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::State::extended_states={folder}/extended_states"),
            format!("Dir::Cache={folder}/cache"),
            format!("APT::Architecture={architecture}"),
            "APT::Install-Recommends=false".into(),
            "APT::Install-Suggests=false".into(),
            "APT::Sandbox::User=root".into(),
            "APT::Default-Release=".into(),
            "Acquire::Languages=none".into(),
            "Acquire::PDiffs=false".into(),
            // Else libapt treats the package apt as essential and pulls it in.
            "pkgCacheGen::ForceEssential=,".into(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }

    /// Apt's failures by what they mean.
    fn explained(&self, error: ExecError, stdout: &str) -> RootfsError {
        let ExecError::Failed { stderr, .. } = &error else {
            return error.into();
        };
        let line_with = |marks: &[&str]| {
            let line = stderr
                .lines()
                .find(|line| marks.iter().any(|mark| line.contains(mark)))?;
            Some(line.trim_start_matches(['E', 'W', ':', ' ']).to_owned())
        };
        let uri = || failing_archive(stderr).unwrap_or(&self.source.uri).to_owned();
        if let Some(package) = missing_package(stderr) {
            return RootfsError::PackageNotFound {
                package,
                suite: self.suite(),
            };
        }
        if line_with(&["Hash Sum mismatch", "Mirror sync in progress", "unexpected size"]).is_some() {
            return RootfsError::MirrorInTransit { uri: uri() };
        }
        if let Some(said) = line_with(&["NO_PUBKEY", "is not signed", "signatures were invalid", "not valid"]) {
            return RootfsError::Unsigned { uri: uri(), said };
        }
        if let Some(said) = line_with(&[
            "Failed to fetch",
            "Could not",
            "does not have a Release file",
            "Unable to fetch",
        ]) {
            return RootfsError::Unreachable { uri: uri(), said };
        }
        if stderr.contains("unmet dependencies") || stderr.contains("held broken") || stderr.contains("conflict") {
            let start = stdout.find("The following packages have unmet").unwrap_or(0);
            let said = format!("{}\n{}", stdout[start..].trim(), stderr.trim());
            return RootfsError::Unsatisfiable { said };
        }
        error.into()
    }
}

/// The archive, of those asked, whose file apt's message names.
fn failing_archive(stderr: &str) -> Option<&str> {
    let named = stderr.lines().find_map(|line| line.split_once("Failed to fetch "))?.1;
    Some(named.split(' ').next()?.split("/dists/").next().unwrap_or(named))
}

/// The package apt's message says is not there.
fn missing_package(stderr: &str) -> Option<String> {
    stderr.lines().find_map(|line| {
        let line = line.trim_start_matches("E: ");
        let quoted = |text: &str| text.trim_matches(['\'', '"']).to_owned();
        if let Some(name) = line.strip_prefix("Unable to locate package ") {
            return Some(quoted(name));
        }
        if let Some(rest) = line.strip_prefix("Package ") {
            let (name, said) = rest.split_once(' ')?;
            return said.starts_with("has no installation candidate").then(|| quoted(name));
        }
        let rest = line.strip_prefix("Couldn't find any package by ")?;
        Some(quoted(rest.rsplit(' ').next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Problem as _;
    use crate::exec::Scripted;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn state() -> (tempfile::TempDir, AptState) {
        let folder = tempfile::tempdir().unwrap();
        let source = ArchiveSource {
            uri: "file:/nonexistent".into(),
            suite: "bookworm".into(),
            components: vec!["main".into()],
            pockets: Vec::new(),
            keyring: "/nonexistent".into(),
        };
        let state = AptState::open(folder.path(), &source, Architecture::I386).unwrap();
        (folder, state)
    }

    #[test]
    fn failures_are_told_apart() {
        let cases = [
            (
                "E: Unable to locate package nonesuch",
                "HV2010",
                "'nonesuch' is not in Debian bookworm (i386)",
            ),
            ("E: Package 'gone' has no installation candidate", "HV2010", "'gone'"),
            (
                "E: Failed to fetch http://example.org/security/dists/x/Packages  Hash Sum mismatch",
                "HV2005",
                "index of http://example.org/security is",
            ),
            ("W: GPG error: x NO_PUBKEY 12", "HV2006", "NO_PUBKEY 12"),
            (
                "E: Failed to fetch http://example.org/x  Could not resolve 'example.org'",
                "HV2004",
                "Could not resolve",
            ),
            (
                "The following packages have unmet dependencies:\n a : Conflicts: b",
                "HV2011",
                "a : Conflicts: b",
            ),
            ("E: Something else", "HV1003", "Something else"),
        ];
        let (_folder, state) = state();
        for (stderr, code, part) in cases {
            let failure = ExecError::Failed {
                command: "apt-get".into(),
                status: ExitStatus::from_raw(100 << 8),
                stderr: stderr.into(),
            };
            let error = state.update(&Scripted::answering([Err(failure)])).unwrap_err();
            assert_eq!(error.code(), code, "{stderr}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn nothing_of_the_host_is_used() {
        let (_folder, state) = state();
        let runner = Scripted::default();
        state.run(&runner, "apt-get", &["check"]).unwrap();
        let line = runner.seen().remove(0);
        for part in [
            "Dir::Etc::sourceparts=/dev/null",
            "APT::Architecture=i386",
            "/status",
            "/lists",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }
}
