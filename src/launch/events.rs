//! What can happen while a VM lives, and the threads that notice it.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::Sender;
use std::thread;

use super::request::Interrupt;
use super::streams::Channel;
use crate::guest::control::{MAX_LINE, Report};

/// What can happen while a VM lives.
#[derive(Debug)]
pub(super) enum Message {
    Reported(Report),
    /// The guest said something that is no report.
    Babble(String),
    Arrived(Channel, u64),
    NobodyReads(Channel),
    /// The host takes no more of a stream, for this reason.
    Unwritten(Channel, io::Error),
    /// A stream or the control conversation is at its end.
    StreamEnded,
    /// No more is read off the result disk of a stream.
    SpoolEnded,
    Interrupted(Interrupt),
    HypervisorGone,
}

/// Turns the guest's lines into messages.
pub(super) fn listen(control: &UnixStream, tell: Sender<Message>) {
    let Ok(control) = control.try_clone() else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(control);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = u64::try_from(MAX_LINE).expect("lines are short");
            match reader.by_ref().take(limit).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let message = match Report::parse(text.trim_end_matches('\n')) {
                Ok(report) => Message::Reported(report),
                Err(error) => Message::Babble(error.0),
            };
            if tell.send(message).is_err() {
                return;
            }
        }
        let _ = tell.send(Message::StreamEnded);
    });
}

/// Tells when the hypervisor's process has ended, without collecting its status.
pub(super) fn watch(child: &Child, tell: Sender<Message>) {
    let pid = rustix::process::Pid::from_child(child);
    thread::spawn(move || {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
        let _ = tell.send(Message::HypervisorGone);
    });
}
