//! Child processes that die with us, and inherit chosen descriptors: hypervisors.
//!
//! The only module with `unsafe` code: what runs between fork and exec must be
//! async-signal-safe, which the compiler cannot check.
#![expect(unsafe_code, reason = "pre_exec is unsafe by its nature; see the SAFETY comment")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal};

use super::{ExecError, Host, Invocation};

/// The lowest descriptor number given to a child; those below are its standard streams and
/// what the standard library may hold open between fork and exec.
pub const FIRST_DESCRIPTOR: RawFd = 100;

impl Host {
    /// Starts a program that the kernel kills when the calling *thread* ends, however it ends
    /// (prctl(2), `PR_SET_PDEATHSIG`): call it from the thread that outlives the program.
    ///
    /// It gets a process group of its own, so that a terminal's Ctrl-C reaches only us, and it is
    /// deaf to the signals by which a scheduler asks *all* processes of a job to end (TERM, USR2,
    /// ...): what ends a VM is our business, after its job was told. SIGKILL and what stops and
    /// continues reach it. Its output goes to `log`; `descriptors` arrive as [`FIRST_DESCRIPTOR`], the next number, ...
    pub fn spawn_tethered(
        &self,
        invocation: &Invocation,
        log: &File,
        descriptors: &[OwnedFd],
    ) -> Result<Child, ExecError> {
        let failed = |source| ExecError::Start {
            command: invocation.to_string(),
            source,
        };
        let mut command = self.command(invocation)?;
        command.stdin(Stdio::null());
        command
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log.try_clone().map_err(failed)?);
        command.process_group(0);
        let parent = rustix::process::getpid();
        let descriptors = out_of_the_way(descriptors).map_err(failed)?;
        // Held beyond spawn() by this vector; the closure only copies their numbers.
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let deaf_to = deaf_to();
        let small_pages = invocation.small_pages;
        // SAFETY: between fork and exec the closure makes only system calls (prctl, getppid,
        // dup, through rustix without allocation, and sigprocmask) and touches memory it owns.
        unsafe {
            command.pre_exec(move || {
                block(&deaf_to)?;
                if small_pages {
                    rustix::thread::disable_transparent_huge_pages(true)?;
                }
                tether(parent, &numbers)
            });
        }
        tracing::debug!(command = %invocation, "start tethered");
        let child = command.spawn().map_err(failed)?;
        drop(descriptors);
        Ok(child)
    }
}

/// Copies of `descriptors` at numbers that no target of another overwrites.
fn out_of_the_way(descriptors: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    let above = FIRST_DESCRIPTOR + RawFd::try_from(descriptors.len()).map_err(io::Error::other)?;
    descriptors
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, above).map_err(Into::into))
        .collect()
}

/// The signals that say "end" to a launcher. A hypervisor that took them itself would be gone
/// before its guest's job had heard anything: Slurm with proctrack/linuxproc, and Grid Engine
/// always, send them to every process of the job. SIGUSR1 announces a suspension there.
fn deaf_to() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data, which sigemptyset fills in; the signal numbers are valid.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        let signals = [
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGXCPU,
        ];
        for signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// In the child: blocks `signals`, which stay blocked over exec (unlike handlers of our own).
fn block(signals: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised, and no old set is asked for.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, signals, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the child: ties its life to `parent` and puts the descriptors at their numbers.
fn tether(parent: Pid, numbers: &[RawFd]) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the tether held.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
    }
    for (index, &number) in numbers.iter().enumerate() {
        // SAFETY: the parent holds `number` open in its vector until spawn() has returned.
        let source = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let target = FIRST_DESCRIPTOR + RawFd::try_from(index).unwrap_or(RawFd::MAX - FIRST_DESCRIPTOR);
        // SAFETY: `target` is a number nobody owns in the child; forgetting it below leaves it open.
        let mut target = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(target) };
        let copied = rustix::io::dup2(source, &mut target);
        std::mem::forget(target);
        copied?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_at_their_numbers() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut more, others) = UnixStream::pair().unwrap();
        let log = tempfile::tempfile().unwrap();
        let script = Invocation::new("bash").args(["-c", "head -c 3 <&100 >&101"]);
        let mut child = host
            .spawn_tethered(&script, &log, &[theirs.into(), others.into()])
            .unwrap();
        (&ours).write_all(b"abc").unwrap();
        let mut got = [0; 3];
        more.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abc");
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn huge_pages_are_kept_from_whom_they_are_to_be_kept() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        for (small, enabled) in [(false, "THP_enabled:\t1"), (true, "THP_enabled:\t0")] {
            let mut log = tempfile::tempfile().unwrap();
            let status = Invocation::new("cat").arg("/proc/self/status").small_pages(small);
            assert!(
                host.spawn_tethered(&status, &log, &[])
                    .unwrap()
                    .wait()
                    .unwrap()
                    .success()
            );
            let mut said = String::new();
            std::io::Seek::rewind(&mut log).unwrap();
            log.read_to_string(&mut said).unwrap();
            assert!(said.contains(enabled), "{said}");
        }
    }

    #[test]
    fn the_child_does_not_hear_that_the_job_is_to_end() {
        use rustix::process::{Pid, Signal, kill_process};
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let log = tempfile::tempfile().unwrap();
        let mut child = host
            .spawn_tethered(&Invocation::new("sleep").arg("60"), &log, &[])
            .unwrap();
        let pid = Pid::from_child(&child);
        for signal in [
            Signal::TERM,
            Signal::USR1,
            Signal::USR2,
            Signal::INT,
            Signal::HUP,
            Signal::XCPU,
        ] {
            kill_process(pid, signal).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_child_dies_with_the_thread_that_started_it() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let start = move || {
            let log = tempfile::tempfile().unwrap();
            host.spawn_tethered(&Invocation::new("sleep").arg("60"), &log, &[])
                .unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
