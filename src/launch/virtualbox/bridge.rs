//! The machine's serial ports: sockets that `VirtualBox` calls, joined to the ports of a session.
//!
//! A serial port has no flow control to the guest: what comes while its queue is full is lost. So standard input goes
//! in frames of [`FRAME`] bytes, each after the guest has asked for it (`more`, on the control port; docs/job-protocol.md).

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The most bytes of standard input in a frame: a guest's terminal queue holds 4095.
const FRAME: usize = 2048;
/// What the guest says when it has room for another frame.
const MORE: &[u8] = b"more\n";

/// Listens for the machine's serial ports.
#[derive(Debug)]
pub(super) struct Bridge {
    listeners: [Arc<UnixListener>; 3],
}

impl Bridge {
    /// Listens in the folder `sockets` under these names: of the control port, of the one for standard input and
    /// output, of the one for standard error.
    pub(super) fn listen(sockets: &Path, names: [&str; 3]) -> io::Result<Self> {
        let listen = |name: &str| UnixListener::bind(sockets.join(name)).map(Arc::new);
        let [control, streams, stderr] = names;
        Ok(Self {
            listeners: [listen(control)?, listen(streams)?, listen(stderr)?],
        })
    }

    /// The session's ends: control, standard input, standard output, standard error. They end with `child`.
    pub(super) fn join(&self, child: &Child) -> io::Result<Vec<UnixStream>> {
        let end = Arc::new(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?);
        let (ask, asked) = channel();
        let ways = [Way::Control(ask), Way::Streams(asked), Way::Output];
        let mut ours = Vec::new();
        for (listener, way) in self.listeners.iter().zip(ways) {
            let (session, bridge) = UnixStream::pair()?;
            let (listener, end) = (listener.clone(), end.clone());
            thread::spawn(move || {
                if let Some(port) = accept(&listener, &end) {
                    way.carry(&port, &bridge);
                }
                // The session's end must hear of it, whoever else holds this one.
                let _ = bridge.shutdown(Shutdown::Both);
            });
            ours.push(session);
        }
        // Standard input and output are the two directions of one port.
        let stdin = ours[1].try_clone()?;
        ours.insert(1, stdin);
        Ok(ours)
    }
}

/// The machine's call; `None` when its process has ended without one.
fn accept(listener: &UnixListener, end: &OwnedFd) -> Option<UnixStream> {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => return listener.accept().ok().map(|(port, _)| port),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// What goes over a port.
enum Way {
    /// Lines, both ways; the guest's wishes for standard input are taken out.
    Control(Sender<()>),
    /// Standard output, and standard input when it is asked for.
    Streams(Receiver<()>),
    /// Output only.
    Output,
}

impl Way {
    /// Carries what comes on either side to the other, until the machine hangs up.
    fn carry(self, port: &UnixStream, session: &UnixStream) {
        let (Ok(to_guest), Ok(from_session)) = (port.try_clone(), session.try_clone()) else {
            return;
        };
        match self {
            Self::Control(ask) => {
                thread::spawn(move || copy(&from_session, &to_guest));
                take_wishes(port, session, &ask);
            }
            Self::Streams(asked) => {
                thread::spawn(move || feed(&from_session, &to_guest, &asked));
                copy(port, session);
            }
            Self::Output => copy(port, session),
        }
    }
}

/// Ends when either side does: both know it from what they count.
fn copy(mut from: impl Read, mut to: impl Write) {
    let _ = io::copy(&mut from, &mut to);
}

/// Passes the guest's lines on, but for its wishes for standard input.
fn take_wishes(port: &UnixStream, mut session: &UnixStream, ask: &Sender<()>) {
    let mut lines = BufReader::new(port);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A guest that never ends its line gets through in pieces, as without us.
        let read = lines.by_ref().take(FRAME as u64).read_until(b'\n', &mut line);
        if !matches!(read, Ok(length) if length > 0) {
            return;
        }
        if line == MORE {
            // Nobody waits for it once standard input has ended.
            let _ = ask.send(());
        } else if session.write_all(&line).is_err() {
            return;
        }
    }
}

/// Passes the session's frames on, cut into shorter ones, each when it is asked for.
fn feed(mut from: &UnixStream, mut to: &UnixStream, asked: &Receiver<()>) {
    let mut frame = [0; 4 + FRAME];
    let mut left = 0_usize;
    loop {
        if left == 0 {
            let mut header = [0; 4];
            if from.read_exact(&mut header).is_err() {
                return;
            }
            left = u32::from_le_bytes(header) as usize;
        }
        let length = left.min(FRAME);
        if from.read_exact(&mut frame[4..4 + length]).is_err() || asked.recv().is_err() {
            return;
        }
        frame[..4].copy_from_slice(&u32::try_from(length).expect("frames are short").to_le_bytes());
        if to.write_all(&frame[..4 + length]).is_err() || length == 0 {
            return;
        }
        left -= length;
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
