//! The loop that serves.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Connection, Over, Stream};
use super::wire::{Answer, Opening};
use super::{SOCKET_FILE, inquiry};
use crate::durable;
use crate::timing::LoggerError;
use crate::timing::event::{EVENT_VERSION, Event, Stamped};
use crate::timing::journal::{JOURNAL_FILE, Journal};
use crate::timing::token::Secret;

/// How long and for how many a logger serves.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait until one is free.
    pub connections: usize,
    /// Ends the logger when nobody has been connected for so long; without it, it stands.
    pub idle: Option<Duration>,
}

/// A logger that listens.
#[derive(Debug)]
pub struct Logger {
    folder: PathBuf,
    journal: Journal,
    secret: Secret,
    unix: UnixListener,
    tcp: Option<TcpListener>,
    connections: Vec<Connection>,
    /// The logger's clock: wall time when it began, and the moment that was. Steps of the system
    /// clock after that do not enter.
    began: (u64, Instant),
    events: u64,
    last_busy: Instant,
    /// Held as long as the logger lives.
    _lock: File,
}

impl Logger {
    /// A logger that keeps its journal in `folder` and listens on the Unix socket there and, if
    /// one is given, on a TCP address (`HOST:PORT`; port 0 is any that is free).
    ///
    /// The folder is made for its owner alone; for a logger that serves a site, `shared` lets
    /// every user of this host reach the socket.
    pub fn open(folder: &Path, tcp: Option<&str>, shared: bool) -> Result<Self, LoggerError> {
        durable::create_private_folder(folder)?;
        let failed = |path: &Path, source| LoggerError::Folder {
            path: path.to_owned(),
            source,
        };
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|source| failed(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(LoggerError::Running {
                    folder: folder.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(&lock_path, source)),
        }
        let secret = Secret::open(folder)?;
        let journal = Journal::open(folder)?;
        let now = Instant::now();
        Ok(Self {
            journal,
            secret,
            tcp: tcp.map(listen_tcp).transpose()?,
            unix: listen_unix(folder, shared)?,
            folder: folder.to_owned(),
            connections: Vec::new(),
            began: (wall_clock(), now),
            events: 0,
            last_busy: now,
            _lock: lock,
        })
    }

    /// The TCP address it listens on, as `HOST:PORT`.
    #[must_use]
    pub fn tcp(&self) -> Option<String> {
        let address = self.tcp.as_ref()?.local_addr().ok()?;
        Some(address.to_string())
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET_FILE)
    }

    /// Serves until `stop` can be read, or nobody was there for the idle time.
    pub fn serve(mut self, stop: BorrowedFd<'_>, limits: &Limits) -> Result<(), LoggerError> {
        loop {
            let ready = self.wait(stop, limits)?;
            if ready.stop || self.is_idle(limits) {
                return Ok(());
            }
            let now = Instant::now();
            self.accept(&ready, limits, now);
            self.take_turn(&ready, now);
            self.connections.retain(|connection| !connection.is_overdue(now));
        }
    }

    fn is_idle(&self, limits: &Limits) -> bool {
        let quiet = self.last_busy.elapsed();
        self.connections.is_empty() && limits.idle.is_some_and(|idle| quiet >= idle)
    }

    /// Waits for something to do, at most a second.
    fn wait(&self, stop: BorrowedFd<'_>, limits: &Limits) -> Result<Ready, LoggerError> {
        let room = self.connections.len() < limits.connections;
        let listening = if room { PollFlags::IN } else { PollFlags::empty() };
        let mut waiting = vec![PollFd::new(&stop, PollFlags::IN), PollFd::new(&self.unix, listening)];
        waiting.extend(self.tcp.as_ref().map(|tcp| PollFd::new(tcp, listening)));
        let listeners = waiting.len();
        waiting.extend(self.connections.iter().map(|connection| {
            let sending = if connection.is_behind() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN | sending)
        }));
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut waiting, Some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(LoggerError::Folder {
                    path: self.folder.clone(),
                    source: errno.into(),
                });
            }
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            stop: is_ready(&waiting[0]),
            listeners: waiting[1..listeners].iter().any(is_ready),
            connections: waiting[listeners..].iter().map(is_ready).collect(),
        })
    }

    fn accept(&mut self, ready: &Ready, limits: &Limits, now: Instant) {
        if !ready.listeners {
            return;
        }
        self.last_busy = now;
        while self.connections.len() < limits.connections {
            let unix = self.unix.accept().map(|(stream, _)| {
                stream.set_nonblocking(true).ok();
                Stream::Unix(stream)
            });
            let next = unix.or_else(|_| {
                let tcp = self.tcp.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
                tcp.accept().map(|(stream, _)| {
                    stream.set_nonblocking(true).ok();
                    stream.set_nodelay(true).ok();
                    Stream::Tcp(stream)
                })
            });
            let Ok(stream) = next else { return };
            self.connections.push(Connection::new(stream, now));
        }
    }

    /// Reads from every connection that has something, writes the events down together, and
    /// acknowledges them.
    fn take_turn(&mut self, ready: &Ready, now: Instant) {
        let mut events = Vec::new();
        let mut acks = Vec::new();
        let mut closing = Vec::new();
        let at = self.began.0 + nanoseconds(now - self.began.1);
        for index in 0..self.connections.len() {
            if !ready.connections.get(index).copied().unwrap_or(false) {
                continue;
            }
            self.last_busy = now;
            let before = events.len();
            if let Err(over) = self.hear(index, at, now, &mut events) {
                closing.push((index, over));
            }
            if let Some(last) = events.get(before..).and_then(<[Stamped]>::last) {
                acks.push((index, last.event.sequence));
            }
        }
        if !events.is_empty() {
            match self.journal.append(&events) {
                Ok(()) => {
                    self.events += events.len() as u64;
                    for (index, sequence) in acks {
                        if let Err(over) = self.connections[index].send(&Answer::Ack(sequence).line()) {
                            closing.push((index, over));
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "events wait at their senders until the journal can be written");
                    closing.extend(acks.into_iter().map(|(index, _)| (index, Over::Gone)));
                }
            }
        }
        self.close(closing);
    }

    /// Ends connections, telling those that broke a rule why.
    fn close(&mut self, mut closing: Vec<(usize, Over)>) {
        closing.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        closing.dedup_by_key(|(index, _)| *index);
        for (index, over) in closing {
            match over {
                Over::Gone => drop(self.connections.swap_remove(index)),
                Over::Refused(reason) => {
                    tracing::warn!(reason, "a connection is refused");
                    self.connections[index].dismiss(&Answer::Error(reason).line());
                }
            }
        }
    }

    /// Reads what one connection sent.
    fn hear(&mut self, index: usize, at: u64, now: Instant, events: &mut Vec<Stamped>) -> Result<(), Over> {
        self.connections[index].flush()?;
        let (lines, over) = self.connections[index].lines();
        if self.connections[index].is_dismissed() {
            return if over == Some(Over::Gone) {
                Err(Over::Gone)
            } else {
                Ok(())
            };
        }
        for line in lines {
            let connection = &mut self.connections[index];
            let Some((job, uid)) = &connection.job else {
                self.introduce(index, &line)?;
                continue;
            };
            let event: Event = serde_json::from_slice(&line)
                .map_err(|error| Over::Refused(format!("a line that is no event: {error}")))?;
            if event.job != *job {
                return Err(Over::Refused("an event of another job".to_owned()));
            }
            let uid = *uid;
            connection.spend(now)?;
            events.push(Stamped { at, uid, event });
        }
        over.map_or(Ok(()), Err)
    }

    /// Takes a connection's first line.
    fn introduce(&mut self, index: usize, line: &[u8]) -> Result<(), Over> {
        let opening =
            serde_json::from_slice(line).map_err(|_| Over::Refused("a line that is no greeting".to_owned()))?;
        let connection = &mut self.connections[index];
        match opening {
            Opening::Hello { version, .. } if version > EVENT_VERSION => {
                Err(Over::Refused(format!("events of version {version}")))
            }
            Opening::Hello { job, token, .. } => {
                if !self.secret.admits(&token, &job) {
                    return Err(Over::Refused("the token does not fit the job".to_owned()));
                }
                connection.job = Some((job, token.uid()));
                Ok(())
            }
            Opening::Token { job } => {
                let uid = peer(connection)?;
                connection.send(&Answer::Token(self.secret.token(uid, &job)).line())?;
                Err(Over::Gone)
            }
            Opening::Status => {
                let status = Answer::Status {
                    hpcvm: env!("CARGO_PKG_VERSION").to_owned(),
                    tcp: self.tcp(),
                    pid: std::process::id(),
                    events: self.events,
                };
                self.connections[index].send(&status.line())?;
                Err(Over::Gone)
            }
            Opening::Events { job } => {
                let uid = peer(connection)?;
                inquiry::answer(connection, self.folder.join(JOURNAL_FILE), uid, job);
                Err(Over::Gone)
            }
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        // The lock is still held: it is this logger's socket and no other's.
        let _ = fs::remove_file(self.socket());
    }
}

/// What a wait found.
struct Ready {
    stop: bool,
    listeners: bool,
    /// One for each connection there was.
    connections: Vec<bool>,
}

fn peer(connection: &Connection) -> Result<u32, Over> {
    let refused = || Over::Refused("only the Unix socket on the logger's host answers that".to_owned());
    connection.stream.peer().ok_or_else(refused)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn wall_clock() -> u64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn listen_tcp(address: &str) -> Result<TcpListener, LoggerError> {
    let failed = |source| LoggerError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The folder's lock is held, so a socket that is there is a dead logger's.
fn listen_unix(folder: &Path, shared: bool) -> Result<UnixListener, LoggerError> {
    let path = folder.join(SOCKET_FILE);
    let failed = |source| LoggerError::Listen {
        address: path.display().to_string(),
        source,
    };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let (of_folder, of_socket) = if shared { (0o711, 0o666) } else { (0o700, 0o600) };
    let permit = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    permit(folder, of_folder)
        .and_then(|()| permit(&path, of_socket))
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(failed)?;
    Ok(listener)
}
