//! Tells a timing logger what happens, without ever waiting for it.
//!
//! Events go into a bounded queue; a thread of its own connects, sends, and keeps what was not
//! acknowledged to send it again after a reconnection. No logger, a slow one, or one that dies
//! midway changes nothing for the job.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::address::Address;
use super::event::{Detail, EVENT_VERSION, Event, EventKind, JobKey};
use super::logger::{Answer, Opening};
use super::token::Token;
use super::{Observer, Phase};

/// Events that wait at most; what comes after is lost, and counted.
const QUEUE: usize = 4096;
/// How long a connection may take to stand.
const CONNECTING: Duration = Duration::from_secs(5);
/// Pauses between attempts: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often the thread looks whether it should end.
const GLANCE: Duration = Duration::from_millis(20);

/// Whom to tell, and of what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Destination {
    /// The logger: `tcp:HOST:PORT` or `unix:/PATH`.
    #[schemars(with = "String", regex(pattern = r"^(tcp:.+:[0-9]+|unix:/.*)$"))]
    pub address: Address,
    /// The job.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{32}$"))]
    pub job: JobKey,
    /// The right to tell of it.
    #[schemars(with = "String", regex(pattern = r"^[0-9]+:[0-9a-f]{64}$"))]
    pub token: Token,
}

/// A job's line to the logger.
#[derive(Debug)]
pub struct Sender {
    queue: SyncSender<Event>,
    job: JobKey,
    task: Option<u64>,
    identity: u64,
    began: Instant,
    sequence: AtomicU64,
    lost: AtomicU64,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of one sender know of each other.
#[derive(Debug, Default)]
struct Shared {
    connected: AtomicBool,
    /// The first attempt to connect is over.
    tried: AtomicBool,
    /// One more than the highest sequence number that was acknowledged.
    acknowledged: AtomicU64,
    closing: AtomicBool,
    /// The logger said no: there is no point in trying again.
    refused: AtomicBool,
}

impl Sender {
    /// Begins to tell `destination` of the array task `task`; `identity` is a random number.
    #[must_use]
    pub fn start(destination: Destination, task: Option<u64>, identity: u64) -> Self {
        let (queue, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let job = destination.job.clone();
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || deliver(&destination, &events, &shared))
        };
        Self {
            queue,
            job,
            task,
            identity,
            began: Instant::now(),
            sequence: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            shared,
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Tells that `event` happened now.
    pub fn tell(&self, event: EventKind, vm: Option<u32>, detail: Detail) {
        self.tell_at(Instant::now(), event, vm, detail);
    }

    /// Tells that `event` happened at `when`.
    pub fn tell_at(&self, when: Instant, event: EventKind, vm: Option<u32>, detail: Detail) {
        // Launches began before their sender: an hour is added so that no time is negative.
        let since = (when + Duration::from_hours(1)).saturating_duration_since(self.began);
        let event = Event {
            version: EVENT_VERSION,
            job: self.job.clone(),
            sender: self.identity,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            monotonic: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            event,
            task: self.task,
            vm,
            detail,
        };
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells of every moment of the timeline of VM `vm`, except the job's end: whoever knows how it
    /// ended tells that.
    #[must_use]
    pub fn observer(self: &Arc<Self>, vm: u32) -> Observer {
        let sender = Arc::clone(self);
        Observer::new(move |when, phase| {
            if phase != Phase::JobEnded {
                sender.tell_at(when, phase.into(), Some(vm), Detail::new());
            }
        })
    }

    /// Events that found no room in the queue.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the logger has acknowledged every event.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.shared.acknowledged.load(Ordering::Acquire) >= self.sequence.load(Ordering::Relaxed)
    }

    /// Whether the logger may yet take what it has not: it is there, or it is not known that it is not.
    fn has_hope(&self) -> bool {
        let shared = &self.shared;
        !shared.refused.load(Ordering::Acquire)
            && (shared.connected.load(Ordering::Acquire) || !shared.tried.load(Ordering::Acquire))
    }

    /// Ends; where the logger is there, it gets `patience` to take the last events.
    pub fn close(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.is_settled() && self.has_hope() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        self.shared.closing.store(true, Ordering::Release);
        // A thread in the midst of connecting or writing is left behind: the process ends without it.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|_| self.shared.connected.load(Ordering::Acquire)) {
            let until = until.max(Instant::now() + GLANCE * 2);
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The thread: until closing, connect and send.
fn deliver(destination: &Destination, events: &Receiver<Event>, shared: &Arc<Shared>) {
    let mut unsettled = VecDeque::new();
    let mut pause = PAUSES.0;
    while !shared.closing.load(Ordering::Acquire) && !shared.refused.load(Ordering::Acquire) {
        let connected = Line::connect(destination);
        shared.connected.store(connected.is_ok(), Ordering::Release);
        shared.tried.store(true, Ordering::Release);
        if let Ok(line) = connected {
            pause = PAUSES.0;
            let ended = converse(line, destination, events, &mut unsettled, shared);
            shared.connected.store(false, Ordering::Release);
            if ended {
                return;
            }
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !shared.closing.load(Ordering::Acquire) {
            thread::sleep(GLANCE.min(pause));
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Sends until the connection breaks (false), or nothing is to be sent any more (true).
fn converse(
    mut line: Line,
    destination: &Destination,
    events: &Receiver<Event>,
    unsettled: &mut VecDeque<Event>,
    shared: &Arc<Shared>,
) -> bool {
    let broken = Arc::new(AtomicBool::new(false));
    line.listen(Arc::clone(shared), Arc::clone(&broken));
    let hello = Opening::Hello {
        version: EVENT_VERSION,
        job: destination.job.clone(),
        token: destination.token.clone(),
    };
    let mut bytes = encode(&hello);
    bytes.extend(unsettled.iter().flat_map(encode));
    if line.write(&bytes).is_err() {
        return false;
    }
    loop {
        let settled = shared.acknowledged.load(Ordering::Acquire);
        while unsettled.front().is_some_and(|event| event.sequence < settled) {
            unsettled.pop_front();
        }
        if broken.load(Ordering::Acquire) {
            return false;
        }
        match events.recv_timeout(GLANCE) {
            Ok(event) => {
                let sent = line.write(&encode(&event));
                unsettled.push_back(event);
                if unsettled.len() > QUEUE {
                    unsettled.pop_front();
                }
                if sent.is_err() {
                    return false;
                }
            }
            Err(RecvTimeoutError::Timeout) if !shared.closing.load(Ordering::Acquire) => {}
            Err(_) => return true,
        }
    }
}

fn encode(line: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("events have string keys only");
    bytes.push(b'\n');
    bytes
}

/// A connection to the logger.
enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Line {
    fn connect(destination: &Destination) -> io::Result<Self> {
        match &destination.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(CONNECTING))?;
                Ok(Self::Unix(stream))
            }
            Address::Tcp(host, port) => {
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECTING) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_write_timeout(Some(CONNECTING))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Takes acknowledgements on a thread of its own, until the connection ends.
    fn listen(&self, shared: Arc<Shared>, broken: Arc<AtomicBool>) {
        let reader: io::Result<Box<dyn Read + Send>> = match self {
            Self::Tcp(stream) => stream.try_clone().map(|stream| Box::new(stream) as _),
            Self::Unix(stream) => stream.try_clone().map(|stream| Box::new(stream) as _),
        };
        thread::spawn(move || {
            if let Ok(reader) = reader {
                hear(reader, &shared);
            }
            broken.store(true, Ordering::Release);
        });
    }
}

impl Drop for Line {
    /// Ends the thread that listens, too.
    fn drop(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }
}

fn hear(reader: Box<dyn Read + Send>, shared: &Shared) {
    for line in BufReader::new(reader.take(u64::MAX)).lines() {
        match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(Answer::Ack(sequence))) => {
                shared.acknowledged.fetch_max(sequence + 1, Ordering::AcqRel);
            }
            Ok(Ok(Answer::Error(reason))) => {
                tracing::warn!(reason, "the timing logger refused");
                shared.refused.store(true, Ordering::Release);
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
