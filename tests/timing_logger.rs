//! The timing logger with real sockets: many senders, restarts, and what must be refused.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hpcvm::timing::address::Address;
use hpcvm::timing::client;
use hpcvm::timing::event::{Detail, EventKind, JobKey, Stamped};
use hpcvm::timing::journal::{self, JOURNAL_FILE};
use hpcvm::timing::logger::{Limits, Logger};
use hpcvm::timing::sender::{Destination, Sender};

/// A logger on a thread; stopped when dropped.
struct Running {
    socket: std::path::PathBuf,
    tcp: String,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(folder: &Path, tcp: &str) -> Self {
        let logger = Logger::open(folder, Some(tcp), false).unwrap();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let (socket, tcp) = (logger.socket(), logger.tcp().unwrap());
        let limits = Limits {
            connections: 200,
            idle: None,
        };
        let thread = thread::spawn(move || logger.serve(stopped.as_fd(), &limits).unwrap());
        Self {
            socket,
            tcp,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn destination(&self, job: &JobKey, over_tcp: bool) -> Destination {
        let address = if over_tcp {
            format!("tcp:{}", self.tcp).parse().unwrap()
        } else {
            Address::Unix(self.socket.clone())
        };
        Destination {
            address,
            job: job.clone(),
            token: client::token(&self.socket, job).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn job() -> JobKey {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    JobKey::of([NEXT.fetch_add(1, Ordering::Relaxed); 16])
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{what} did not happen in 30 s"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn recorded(folder: &Path) -> Vec<Stamped> {
    journal::read(&folder.join(JOURNAL_FILE), |_| true).unwrap()
}

#[test]
fn every_event_of_many_senders_is_kept_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let logger = Running::start(folder.path(), "127.0.0.1:0");
    let job = job();
    let senders: Vec<Sender> = (0..100)
        .map(|task| Sender::start(logger.destination(&job, task % 2 == 0), Some(task), task))
        .collect();
    for vm in 0..20 {
        for sender in &senders {
            sender.tell(EventKind::JobStarted, Some(vm), Detail::new());
        }
    }
    for sender in senders {
        wait_until("an acknowledgement", || sender.is_settled());
        sender.close(Duration::from_secs(5));
    }
    let events = client::events(&logger.socket, Some(&job)).unwrap();
    assert_eq!(events.len(), 2000);
    for task in 0..100 {
        let vms: Vec<_> = events
            .iter()
            .filter(|stamped| stamped.event.task == Some(task))
            .map(|stamped| stamped.event.vm)
            .collect();
        assert_eq!(vms, (0..20).map(Some).collect::<Vec<_>>());
    }
    assert_eq!(client::status(&logger.socket).unwrap().events, 2000);
}

#[test]
fn a_restart_loses_nothing_that_was_acknowledged_and_senders_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let job = job();
    let logger = Running::start(folder.path(), "127.0.0.1:0");
    let tcp = logger.tcp.clone();
    let sender = Sender::start(logger.destination(&job, true), None, 7);
    for vm in 0..50 {
        sender.tell(EventKind::Cloned, Some(vm), Detail::new());
    }
    wait_until("the first acknowledgements", || sender.is_settled());
    drop(logger);
    assert_eq!(recorded(folder.path()).len(), 50);
    for vm in 50..100 {
        sender.tell(EventKind::Cloned, Some(vm), Detail::new());
    }
    let logger = Running::start(folder.path(), &tcp);
    wait_until("the rest", || sender.is_settled());
    sender.close(Duration::from_secs(5));
    drop(logger);
    let vms: Vec<_> = recorded(folder.path()).iter().map(|stamped| stamped.event.vm).collect();
    assert_eq!(vms, (0..100).map(Some).collect::<Vec<_>>());
}

#[test]
fn without_a_logger_or_with_one_that_does_not_read_nothing_waits() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("tcp:{}", silent.local_addr().unwrap());
    let secret_folder = tempfile::tempdir().unwrap();
    let logger = Running::start(secret_folder.path(), "127.0.0.1:0");
    let job = job();
    let token = client::token(&logger.socket, &job).unwrap();
    for address in [
        "tcp:127.0.0.1:1",
        "unix:/nonexistent/socket",
        "tcp:no.such.host.invalid:9",
        &deaf,
    ] {
        let destination = Destination {
            address: address.parse().unwrap(),
            job: job.clone(),
            token: token.clone(),
        };
        let began = Instant::now();
        let sender = Sender::start(destination, None, 1);
        for _ in 0..20_000 {
            sender.tell(EventKind::Cloned, None, Detail::new());
        }
        assert!(sender.lost() > 0, "{address}: the queue is bounded");
        sender.close(Duration::from_millis(50));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "{address}: {took:?}");
    }
}

/// Sends lines on a connection of its own and returns what comes back until it is closed.
fn answers(logger: &Running, lines: &[u8]) -> String {
    let mut stream = TcpStream::connect(&logger.tcp).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(lines).unwrap();
    let mut said = String::new();
    // A reset after the refusal is as good as an end.
    let _ = stream.read_to_string(&mut said);
    said
}

#[test]
fn who_breaks_a_rule_is_told_and_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let logger = Running::start(folder.path(), "127.0.0.1:0");
    let (own, other) = (job(), job());
    let token = client::token(&logger.socket, &own).unwrap();
    let hello = |job: &JobKey| format!("{{\"hello\":{{\"version\":1,\"job\":\"{job}\",\"token\":\"{token}\"}}}}\n");
    let event = |job: &JobKey| {
        format!(
            "{{\"version\":1,\"job\":\"{job}\",\"sender\":1,\"sequence\":0,\"monotonic\":0,\"event\":\"cloned\"}}\n"
        )
    };
    let bystander = Sender::start(logger.destination(&own, true), None, 99);
    let long = [hello(&own).into_bytes(), vec![b'x'; 100_000]].concat();
    let flood = hello(&own) + &event(&own).repeat(5000);
    let strange_event = [hello(&own), event(&other)].concat();
    let greeting = hello(&other);
    let no_event = [hello(&own), "{}\n".to_owned()].concat();
    let question = format!("{{\"events\":{{\"job\":\"{own}\"}}}}\n");
    let cases: [(&[u8], &str); 8] = [
        (b"GET / HTTP/1.1\r\n\r\n", "no greeting"),
        (b"\xff\xfe\n", "no greeting"),
        (greeting.as_bytes(), "token does not fit"),
        (strange_event.as_bytes(), "another job"),
        (no_event.as_bytes(), "no event"),
        (&long, "longer than"),
        (flood.as_bytes(), "more events"),
        (question.as_bytes(), "only the Unix socket"),
    ];
    for (lines, expected) in cases {
        let said = answers(&logger, lines);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    bystander.tell(EventKind::Discarded, None, Detail::new());
    wait_until("the bystander's acknowledgement", || bystander.is_settled());
    bystander.close(Duration::from_secs(1));
    let strange: Vec<_> = recorded(folder.path())
        .into_iter()
        .filter(|stamped| stamped.event.job != own)
        .collect();
    assert_eq!(strange, []);
}

#[test]
fn one_folder_has_one_logger_and_a_taken_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let logger = Running::start(folder.path(), "127.0.0.1:0");
    let second = Logger::open(folder.path(), None, false).unwrap_err();
    assert!(second.to_string().contains("already"), "{second}");
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = Logger::open(elsewhere.path(), Some(&logger.tcp), false).unwrap_err();
    assert!(taken.to_string().contains("cannot listen on 127.0.0.1:"), "{taken}");
}

#[test]
fn a_peer_that_never_greets_is_let_go_and_an_idle_logger_ends() {
    let folder = tempfile::tempdir().unwrap();
    let logger = Logger::open(folder.path(), Some("127.0.0.1:0"), false).unwrap();
    let tcp = logger.tcp().unwrap();
    let (_keep, stopped) = UnixStream::pair().unwrap();
    let limits = Limits {
        connections: 4,
        idle: Some(Duration::from_millis(100)),
    };
    let serving = thread::spawn(move || logger.serve(stopped.as_fd(), &limits));
    let silent = TcpStream::connect(&tcp).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut line = String::new();
    assert_eq!(BufReader::new(silent).read_line(&mut line).unwrap(), 0);
    serving.join().unwrap().unwrap();
    assert!(!folder.path().join("logger.sock").exists());
}
