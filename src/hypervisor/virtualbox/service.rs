//! `VBoxSVC`, the service behind all programs of one home.
//!
//! It is started in the foreground, tied to us: started on demand it would be a daemon that outlives a killed
//! launch. It tells the descriptor of `--inherit-startup-pipe` when it is ready, 0.05 s later as a rule.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::{Folders, Installation, VirtualBoxError};
use crate::exec::{FIRST_DESCRIPTOR, Host, Invocation};

/// What it says when it is ready.
const READY: &[u8] = b"READY";
/// How long one try may take: calls of `VirtualBox` stand still for ten seconds now and then.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried. Nothing has run by then, so that another try does no harm.
const TRIES: u32 = 2;
/// How often it is looked whether a signal came.
const GLANCE: Duration = Duration::from_millis(100);
/// How much of its log is shown.
const SHOWN: usize = 8;

/// A running `VBoxSVC`; ended when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts the service of `folders` and waits until it is ready; its words go to the file `log`. `stop` is asked now
    /// and then for a signal that came.
    ///
    /// Must be called from a thread that outlives the service, which is tied to it.
    pub fn start(
        host: &Host,
        installation: &Installation,
        folders: &Folders,
        log: &Path,
        stop: &dyn Fn() -> Option<i32>,
    ) -> Result<Self, VirtualBoxError> {
        let mut reason = String::new();
        for _ in 0..TRIES {
            match Self::attempt(host, installation, folders, log, stop)? {
                Ok(service) => return Ok(service),
                Err(why) => {
                    tracing::info!(why, "VirtualBox's service did not come up");
                    reason = why;
                }
            }
        }
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        Err(VirtualBoxError::Service {
            reason,
            tries: TRIES,
            said: lines[lines.len().saturating_sub(SHOWN)..].join("\n"),
        })
    }

    /// One try: the service, or what became of it.
    fn attempt(
        host: &Host,
        installation: &Installation,
        folders: &Folders,
        log: &Path,
        stop: &dyn Fn() -> Option<i32>,
    ) -> Result<Result<Self, String>, VirtualBoxError> {
        let failed = |source: io::Error| VirtualBoxError::Write {
            path: log.to_owned(),
            source,
        };
        let (ours, theirs) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let log_file = File::create(log).map_err(failed)?;
        let invocation = Invocation::new(installation.program("VBoxSVC"))
            .args(["--auto-shutdown", "--inherit-startup-pipe"])
            .arg(FIRST_DESCRIPTOR.to_string());
        let theirs: [OwnedFd; 1] = [theirs];
        let child = host.spawn_tethered(&folders.within(invocation), &log_file, &theirs)?;
        drop(theirs);
        // Ended when dropped, whatever comes next.
        let service = Self { child };
        let mut pipe = File::from(ours);
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while heard.len() < READY.len() {
            if let Some(signal) = stop() {
                return Err(VirtualBoxError::Interrupted(signal));
            }
            if Instant::now() >= deadline {
                return Ok(Err(VirtualBoxError::late(PATIENCE)));
            }
            if !is_readable(&pipe).map_err(failed)? {
                continue;
            }
            let mut bytes = [0; 16];
            match pipe.read(&mut bytes).map_err(failed)? {
                0 => return Ok(Err("ended at once".to_owned())),
                length => heard.extend(&bytes[..length]),
            }
        }
        if heard.starts_with(READY) {
            Ok(Ok(service))
        } else {
            Ok(Err(format!("said {:?} and not READY", String::from_utf8_lossy(&heard))))
        }
    }
}

fn is_readable(pipe: &File) -> io::Result<bool> {
    let timeout = Timespec::try_from(GLANCE).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Service {
    /// Nothing is worth saving: the home goes with the launch.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
