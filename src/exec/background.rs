//! Programs that run on while we do something else, or after we are gone.

use std::fs::File;
use std::process::{Child, Stdio};

use super::{ExecError, Host, Invocation};

impl Host {
    /// Starts a program in a process group of its own, with nothing to read and these files to
    /// write to. It outlives us if we do not wait for it.
    pub fn spawn_background(&self, invocation: &Invocation, stdout: File, stderr: File) -> Result<Child, ExecError> {
        use std::os::unix::process::CommandExt;
        tracing::debug!(command = %invocation, "start in the background");
        self.command(invocation)?
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|source| ExecError::Start {
                command: invocation.to_string(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn output_goes_to_the_files() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let (mut stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let script = Invocation::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
        let mut child = host
            .spawn_background(&script, stdout.try_clone().unwrap(), stderr)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let mut text = String::new();
        stdout.rewind().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "out\n");
    }
}
