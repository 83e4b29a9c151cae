//! A host whose disk is full: `VirtualBox` pauses the machine then, and waits for somebody to make room and resume it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What it calls that in its log, which then stands still.
const SAID: &[u8] = b"DrvVD_DISKFULL";
const LOG: &str = "Logs/VBox.log";
/// How much of the log's end is looked at, and how often.
const END: u64 = 64 * 1024;
const GLANCE: Duration = Duration::from_secs(1);

/// Kills the machine `child` of the launch in `folder` when it is paused for want of room.
pub(super) fn watch(child: &Child, folder: &Path) -> io::Result<()> {
    let machine = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let glance = Timespec::try_from(GLANCE).map_err(io::Error::other)?;
    let folder: PathBuf = folder.to_owned();
    thread::spawn(move || {
        while let Ok(0) | Err(rustix::io::Errno::INTR) =
            poll(&mut [PollFd::new(&machine, PollFlags::IN)], Some(&glance))
        {
            if is_disk_full(&folder) {
                // One that has ended in the meantime needs no signal.
                let _ = pidfd_send_signal(&machine, Signal::KILL);
                return;
            }
        }
    });
    Ok(())
}

/// Whether the machine of the launch in `folder` was paused for want of room.
pub(in super::super) fn is_disk_full(folder: &Path) -> bool {
    let read = || -> io::Result<Vec<u8>> {
        let mut log = File::open(folder.join(LOG))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut end = Vec::new();
        log.take(END).read_to_end(&mut end)?;
        Ok(end)
    };
    read().is_ok_and(|end| end.windows(SAID.len()).any(|window| window == SAID))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_machine_that_waits_for_room_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("Logs")).unwrap();
        assert!(!is_disk_full(folder.path()));
        let mut machine = Command::new("sleep").arg("600").spawn().unwrap();
        watch(&machine, folder.path()).unwrap();
        std::fs::write(
            folder.path().join(LOG),
            "VM: Raising runtime error 'DrvVD_DISKFULL' (fFlags=0x6)\n",
        )
        .unwrap();
        assert!(!machine.wait().unwrap().success());
        assert!(is_disk_full(folder.path()));
    }
}
