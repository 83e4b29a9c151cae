//! Programs started for real.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::tools::find_program;
use super::{Completed, ExecError, Invocation, Runner};

/// How much of a failed program's standard error is shown.
const STDERR_SHOWN: usize = 4096;

/// Starts programs on this machine.
#[derive(Clone, Debug)]
pub struct Host {
    path: OsString,
    home: OsString,
}

impl Host {
    /// A runner that looks programs up on `path` (the value of `PATH`) and gives them `home`.
    #[must_use]
    pub fn new(path: OsString, home: OsString) -> Self {
        Self { path, home }
    }

    /// The value of `PATH` in use.
    #[must_use]
    pub fn path(&self) -> &OsString {
        &self.path
    }

    /// Where this runner would find `program`.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        find_program(program.as_ref(), &self.path)
    }

    /// The command to start, with its environment and working directory but no streams yet.
    pub(crate) fn command(&self, invocation: &Invocation) -> Result<Command, ExecError> {
        let found = find_program(&invocation.program, &self.path).ok_or_else(|| ExecError::NotFound {
            program: invocation.program.to_string_lossy().into_owned(),
        })?;
        let mut command = Command::new(found);
        command.args(&invocation.arguments).env_clear();
        command
            .env("PATH", self.path_with_system_folders())
            .env("HOME", &self.home);
        command.env("LANG", "C.UTF-8").env("TZ", "UTC");
        command.envs(invocation.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &invocation.folder {
            command.current_dir(folder);
        }
        Ok(command)
    }

    /// `PATH` for children: mmdebstrap and others start tools of `/usr/sbin` themselves.
    fn path_with_system_folders(&self) -> OsString {
        let mut path = self.path.clone();
        path.push(":/usr/local/sbin:/usr/sbin:/sbin");
        path
    }

    fn start(&self, invocation: &Invocation, stdin: Stdio) -> Result<Child, ExecError> {
        tracing::debug!(command = %invocation, "start");
        self.command(invocation)?
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ExecError::Start {
                command: invocation.to_string(),
                source,
            })
    }
}

impl Runner for Host {
    fn run(&self, invocation: &Invocation) -> Result<Completed, ExecError> {
        let output = self.start(invocation, Stdio::null())?.wait_with_output();
        let output = output.map_err(|source| pipe(invocation, source))?;
        check(invocation, output.status, &output.stderr)?;
        Ok(Completed {
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    fn feed(
        &self,
        invocation: &Invocation,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Completed, ExecError> {
        let mut child = self.start(invocation, Stdio::piped())?;
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        let waiter = thread::spawn(move || child.wait_with_output());
        let filled = fill(&mut stdin);
        drop(stdin);
        let output = waiter.join().expect("the waiting thread does not panic");
        let output = output.map_err(|source| pipe(invocation, source))?;
        // The program's own words tell more than the broken pipe they caused.
        check(invocation, output.status, &output.stderr)?;
        filled.map_err(|source| pipe(invocation, source))?;
        Ok(Completed {
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    fn drain(
        &self,
        invocation: &Invocation,
        take: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<Completed, ExecError> {
        let mut child = self.start(invocation, Stdio::null())?;
        let mut stdout = child.stdout.take().expect("standard output was asked for");
        let mut stderr = child.stderr.take().expect("standard error was asked for");
        let listener = thread::spawn(move || {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).map(|_| said)
        });
        let taken = take(&mut stdout);
        drop(stdout);
        let status = child.wait().map_err(|source| pipe(invocation, source))?;
        let said = listener
            .join()
            .expect("the listening thread does not panic")
            .unwrap_or_default();
        // A reader that stopped early breaks the program's pipe: its own error comes first.
        taken.map_err(|source| pipe(invocation, source))?;
        check(invocation, status, &said)?;
        Ok(Completed {
            stdout: Vec::new(),
            stderr: said,
        })
    }
}

fn pipe(invocation: &Invocation, source: io::Error) -> ExecError {
    ExecError::Pipe {
        command: invocation.to_string(),
        source,
    }
}

fn check(invocation: &Invocation, status: ExitStatus, stderr: &[u8]) -> Result<(), ExecError> {
    if status.success() {
        return Ok(());
    }
    let shown = &stderr[stderr.len().saturating_sub(STDERR_SHOWN)..];
    let stderr = String::from_utf8_lossy(shown).trim_end().to_owned();
    Err(ExecError::Failed {
        command: invocation.to_string(),
        status,
        stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host::new("/usr/bin:/bin".into(), "/".into())
    }

    fn sh(script: &str) -> Invocation {
        Invocation::new("sh").args(["-c", script])
    }

    #[test]
    fn a_failure_tells_the_command_and_its_words() {
        let error = host().run(&sh("echo no room >&2; exit 3")).unwrap_err().to_string();
        assert_eq!(
            error,
            "sh -c 'echo no room >&2; exit 3'\n  failed with exit status: 3\n  | no room"
        );
    }

    #[test]
    fn a_missing_program_names_its_package() {
        use crate::diagnostic::Problem as _;
        let error = Host::new("/nonexistent".into(), "/".into())
            .run(&Invocation::new("mcopy-is-not-here"))
            .unwrap_err();
        assert_eq!(error.to_string(), "mcopy-is-not-here is not installed");
        let known = ExecError::NotFound {
            program: "mcopy".into(),
        };
        assert_eq!(known.help().unwrap(), "install it: apt-get install mtools");
    }

    #[test]
    fn input_and_output_are_streamed() {
        let counted = host()
            .feed(&sh("wc -c"), &mut |stdin| stdin.write_all(&vec![7; 300_000]))
            .unwrap();
        assert_eq!(counted.text().trim(), "300000");
        let mut read = 0;
        host()
            .drain(&sh("head -c 300000 /dev/zero"), &mut |stdout| {
                read = io::copy(stdout, &mut io::sink())?;
                Ok(())
            })
            .unwrap();
        assert_eq!(read, 300_000);
    }
}
