//! Programs that may not take longer than a limit.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{Completed, ExecError, Host, Invocation};

/// The most that is kept of each of a program's streams; the rest is read and dropped.
const KEPT: u64 = 64 * 1024;

/// How a program ended that had a time limit.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its status; `None` when it was ended because the limit ran out.
    pub status: Option<ExitStatus>,
    /// The beginning of what it said, at most 64 KiB of each stream.
    pub said: Completed,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Its exit code, if it ended by itself and by no signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// The last line it said on standard error, or how it ended.
    #[must_use]
    pub fn reason(&self) -> String {
        let stderr = String::from_utf8_lossy(&self.said.stderr);
        let line = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
        match (line, self.status) {
            (Some(line), _) => line.to_owned(),
            (None, None) => format!("no answer in {:.1} s", self.took.as_secs_f64()),
            (None, Some(status)) => match status.signal() {
                Some(signal) => format!("ended by signal {signal}"),
                None => status.to_string(),
            },
        }
    }
}

impl Host {
    /// Runs to the end or until `limit` is over, when the program and what it started are killed.
    /// Any status is fine; only a program that cannot be started is an error.
    pub fn run_within(&self, invocation: &Invocation, limit: Duration) -> Result<Ended, ExecError> {
        tracing::debug!(command = %invocation, ?limit, "start");
        let begun = Instant::now();
        // A group of its own, so that what it started can be killed with it.
        let mut child = self
            .command(invocation)?
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ExecError::Start {
                command: invocation.to_string(),
                source,
            })?;
        let stdout = listen(child.stdout.take());
        let stderr = listen(child.stderr.take());
        let ended = wait(&mut child, begun + limit);
        let broken = |source| ExecError::Pipe {
            command: invocation.to_string(),
            source,
        };
        let in_time = match ended {
            Ok(in_time) => in_time,
            Err(error) => {
                kill(&child);
                child.wait().map_err(broken)?;
                return Err(broken(error));
            }
        };
        if !in_time {
            kill(&child);
        }
        let status = child.wait().map_err(broken)?;
        let heard = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
        Ok(Ended {
            status: in_time.then_some(status),
            said: Completed {
                stdout: heard(stdout),
                stderr: heard(stderr),
            },
            took: begun.elapsed(),
        })
    }
}

/// Waits until `child` has ended or the deadline has passed; whether it has ended.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<bool> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout)) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills the process group that `child` leads. It was not waited for: its number is still its own.
fn kill(child: &Child) {
    // The only failure is that all have ended.
    kill_process_group(Pid::from_child(child), Signal::KILL).ok();
}

fn listen(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut heard = Vec::new();
        if let Some(mut stream) = stream {
            // What was heard before a stream broke is worth having.
            stream.by_ref().take(KEPT).read_to_end(&mut heard).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
        heard
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Ended {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        host.run_within(&Invocation::new("sh").args(["-c", script]), limit)
            .unwrap()
    }

    #[test]
    fn a_program_in_time_keeps_its_status_and_words() {
        let ended = run("echo out; echo why >&2; exit 3", Duration::from_secs(20));
        assert_eq!((ended.code(), ended.said.text().as_str()), (Some(3), "out\n"));
        assert_eq!(ended.reason(), "why");
        assert!(run("head -c 300000 /dev/zero", Duration::from_secs(20)).success());
    }

    #[test]
    fn a_late_program_is_killed_with_what_it_started() {
        let begun = Instant::now();
        // The background process holds the pipe: without the group's end, the listener would wait.
        let ended = run("sleep 60 & sleep 60", Duration::from_millis(100));
        assert!(ended.status.is_none());
        assert!(ended.reason().starts_with("no answer in 0."), "{}", ended.reason());
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
