//! One connection to the logger: lines in, lines out, within bounds.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::timing::event::{JobKey, MAX_LINE};

/// How long a connection may take to say who it is, and one that was refused to hang up.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Events at once that a connection may send without being slowed down by anyone.
const BURST: f64 = 4000.0;
/// Events a second beyond that.
const RATE: f64 = 500.0;
/// Bytes that may wait for a peer that does not read.
const MAX_UNSENT: usize = 1 << 20;
/// Bytes read from a connection in one turn, so that no other has to wait long.
const TURN: usize = 16 << 10;

/// Either kind of stream.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// The user at the other end, as the kernel tells it; nobody is told over TCP.
    pub(super) fn peer(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => rustix::net::sockopt::socket_peercred(stream)
                .ok()
                .map(|credentials| credentials.uid.as_raw()),
        }
    }
}

/// Why a connection has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The peer hung up, or the network did.
    Gone,
    /// The peer broke a rule.
    Refused(String),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// The job it tells of and its owner, once it said hello.
    pub(super) job: Option<(JobKey, u32)>,
    since: Instant,
    dismissed: bool,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    allowance: f64,
    refilled: Instant,
}

impl Connection {
    pub(super) fn new(stream: Stream, now: Instant) -> Self {
        Self {
            stream,
            job: None,
            since: now,
            dismissed: false,
            unread: Vec::new(),
            unsent: Vec::new(),
            allowance: BURST,
            refilled: now,
        }
    }

    /// The whole lines that have arrived, without their line feeds. When the peer has hung up, the
    /// lines before that are still worth having: the second value tells.
    pub(super) fn lines(&mut self) -> (Vec<Vec<u8>>, Option<Over>) {
        let mut over = None;
        let mut piece = vec![0; TURN];
        match self.stream.read(&mut piece) {
            Ok(0) => over = Some(Over::Gone),
            Ok(length) => self.unread.extend_from_slice(&piece[..length]),
            Err(error) if is_passing(&error) => {}
            Err(_) => over = Some(Over::Gone),
        }
        if self.dismissed {
            self.unread.clear();
        }
        let mut lines = Vec::new();
        let mut start = 0;
        while let Some(length) = self.unread[start..].iter().position(|&byte| byte == b'\n') {
            if length > MAX_LINE {
                over = Some(too_long());
                break;
            }
            lines.push(self.unread[start..start + length].to_vec());
            start += length + 1;
        }
        self.unread.drain(..start);
        if self.unread.len() > MAX_LINE {
            over = Some(too_long());
        }
        (lines, over)
    }

    /// Takes one event off what the connection may send.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Over> {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.allowance = (self.allowance + passed * RATE).min(BURST) - 1.0;
        self.refilled = now;
        if self.allowance < 0.0 {
            return Err(Over::Refused("more events than a job has".to_owned()));
        }
        Ok(())
    }

    /// Sends `bytes`, or as much as the peer takes now and the rest later.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.unsent.extend_from_slice(bytes);
        self.flush()?;
        if self.unsent.len() > MAX_UNSENT {
            return Err(Over::Gone);
        }
        Ok(())
    }

    /// Sends what is left over.
    pub(super) fn flush(&mut self) -> Result<(), Over> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(Over::Gone),
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_passing(&error) => return Ok(()),
                Err(_) => return Err(Over::Gone),
            }
        }
        Ok(())
    }

    /// Says the last word. What the peer still sends is read and thrown away until it hangs up: closing
    /// at once would make the network forget that word.
    pub(super) fn dismiss(&mut self, word: &[u8]) {
        let _ = self.send(word);
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        self.unsent.clear();
        self.unread.clear();
        self.dismissed = true;
        self.since = Instant::now();
    }

    pub(super) const fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Whether it neither said who it is nor hung up in time.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        (self.job.is_none() || self.dismissed) && now.saturating_duration_since(self.since) >= INTRODUCTION
    }

    /// Whether something waits to be sent.
    pub(super) fn is_behind(&self) -> bool {
        !self.unsent.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn too_long() -> Over {
    Over::Refused(format!("a line longer than {MAX_LINE} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::new(Stream::Unix(ours), Instant::now()), theirs)
    }

    #[test]
    fn lines_come_whole_and_the_last_before_a_hang_up_too() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"one\ntw").unwrap();
        assert_eq!(connection.lines(), (vec![b"one".to_vec()], None));
        peer.write_all(b"o\n").unwrap();
        drop(peer);
        assert_eq!(connection.lines(), (vec![b"two".to_vec()], None));
        assert_eq!(connection.lines(), (Vec::new(), Some(Over::Gone)));
    }

    #[test]
    fn lines_without_end_and_floods_are_refused() {
        let (mut connection, mut peer) = pair();
        peer.write_all(&[b'x'; MAX_LINE + 1]).unwrap();
        assert!(matches!(connection.lines().1, Some(Over::Refused(_))));
        let (mut connection, _peer) = pair();
        let now = Instant::now();
        assert!((0..4000).all(|_| connection.spend(now).is_ok()));
        assert!(connection.spend(now).is_err());
        assert!(connection.spend(now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_peer_that_does_not_read_is_let_go() {
        let (mut connection, _peer) = pair();
        let sent = (0..4000).try_for_each(|_| connection.send(&[b'x'; 1024]));
        assert_eq!(sent, Err(Over::Gone));
    }

    #[test]
    fn the_kernel_tells_who_is_at_a_unix_socket() {
        let (connection, _peer) = pair();
        assert_eq!(connection.stream.peer(), Some(rustix::process::getuid().as_raw()));
    }
}
