//! ELF files made by the host's compiler, which needs no libraries of any architecture for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For which machine files are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    I386,
    Amd64,
}

impl Machine {
    const fn flag(self) -> &'static str {
        match self {
            Self::I386 => "-m32",
            Self::Amd64 => "-m64",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::I386 => Self::Amd64,
            Self::Amd64 => Self::I386,
        }
    }

    /// The real loader of the machine: this host's, or for i386 the file that
    /// `HPCVM_TEST_I386_LOADER` names; with the minor version of its glibc. `None` where there is
    /// none or it does not run.
    pub(crate) fn real_loader(self) -> Option<(PathBuf, u32)> {
        let given = std::env::var_os("HPCVM_TEST_I386_LOADER").filter(|_| self == Self::I386);
        let path = given.map_or_else(|| self.loader().into(), PathBuf::from);
        let output = Command::new(&path).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (_, version) = text.lines().next()?.rsplit_once("version 2.")?;
        Some((path, version.split('.').next()?.parse().ok()?))
    }

    pub(crate) const fn loader(self) -> &'static str {
        match self {
            Self::I386 => "/lib/ld-linux.so.2",
            Self::Amd64 => "/lib64/ld-linux-x86-64.so.2",
        }
    }
}

/// A folder that files are made in; `{root}` in flags stands for it.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) root: PathBuf,
    _folder: tempfile::TempDir,
    stubs: tempfile::TempDir,
}

/// Whether the compiler can be used.
pub(crate) fn compiler() -> bool {
    Command::new("gcc").arg("--version").output().is_ok()
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            root: folder.path().canonicalize().unwrap(),
            _folder: folder,
            stubs: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn compile(&self, machine: Machine, output: &Path, source: &str, arguments: &[String]) {
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        let file = self.stubs.path().join("source.c");
        fs::write(&file, source).unwrap();
        let result = Command::new("gcc")
            .args([machine.flag(), "-nostdlib", "-fPIC", "-Wl,--no-as-needed"])
            .args(["-Wl,--unresolved-symbols=ignore-all", "-Wl,--build-id=sha1", "-o"])
            .args([output, &file])
            .args(arguments)
            .output()
            .unwrap();
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    }

    /// A library that exists only so that others are linked to `name`.
    fn stub(&self, machine: Machine, name: &str) -> String {
        let name = name.replace("{root}", self.root.to_str().unwrap());
        let output = self
            .stubs
            .path()
            .join(format!("{machine:?}-{}", name.replace('/', "_")));
        let arguments = ["-shared".to_owned(), format!("-Wl,-soname,{name}")];
        if !output.exists() {
            self.compile(machine, &output, "", &arguments);
        }
        output.to_str().unwrap().to_owned()
    }

    fn arguments(&self, machine: Machine, kind: &[&str], needs: &[&str], flags: &[&str]) -> Vec<String> {
        let flags = flags
            .iter()
            .map(|flag| flag.replace("{root}", self.root.to_str().unwrap()));
        let kind = kind.iter().map(|flag| (*flag).to_owned());
        kind.chain(needs.iter().map(|need| self.stub(machine, need)))
            .chain(flags)
            .collect()
    }

    /// A shared library named like its file, unless `flags` give a soname.
    pub(crate) fn library(&self, machine: Machine, path: &str, needs: &[&str], flags: &[&str]) -> PathBuf {
        let output = self.path(path);
        let soname = format!("-Wl,-soname,{}", output.file_name().unwrap().to_str().unwrap());
        let mut arguments = self.arguments(machine, &["-shared", &soname], needs, flags);
        // ld takes the last soname.
        if flags.iter().any(|flag| flag.contains("-soname")) {
            arguments.remove(1);
        }
        self.compile(machine, &output, "", &arguments);
        output
    }

    /// A program.
    pub(crate) fn program(&self, machine: Machine, path: &str, needs: &[&str], flags: &[&str]) -> PathBuf {
        self.program_from(machine, path, "", needs, flags)
    }

    /// A program with this code in it.
    pub(crate) fn program_from(
        &self,
        machine: Machine,
        path: &str,
        code: &str,
        needs: &[&str],
        flags: &[&str],
    ) -> PathBuf {
        let output = self.path(path);
        let loader = format!("-Wl,--dynamic-linker={}", machine.loader());
        let arguments = self.arguments(machine, &["-pie", &loader], needs, flags);
        let code = format!("void _start(void) {{}}\n{code}");
        self.compile(machine, &output, &code, &arguments);
        output
    }

    /// A file from source text, with exactly these arguments.
    pub(crate) fn source(&self, machine: Machine, path: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let output = self.path(path);
        let arguments = self.arguments(machine, arguments, &[], &[]);
        self.compile(machine, &output, source, &arguments);
        output
    }
}
