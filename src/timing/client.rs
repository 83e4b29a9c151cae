//! What is asked of a logger on its Unix socket.

use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::LoggerError;
use super::event::{JobKey, Stamped};
use super::logger::{Answer, Opening};
use super::token::Token;

/// How long a logger may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers at a socket.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoggerStatus {
    /// Version of its hpcvm.
    pub hpcvm: String,
    /// Its TCP address, where it has one.
    pub tcp: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Events it has taken since it began.
    pub events: u64,
}

/// Asks the logger at `socket` who it is.
pub fn status(socket: &Path) -> Result<LoggerStatus, LoggerError> {
    match first(socket, &Opening::Status)? {
        Answer::Status {
            hpcvm,
            tcp,
            pid,
            events,
        } => Ok(LoggerStatus {
            hpcvm,
            tcp,
            pid,
            events,
        }),
        other => Err(refused(socket, &other)),
    }
}

/// Asks for the token of the caller's job `job`.
pub fn token(socket: &Path, job: &JobKey) -> Result<Token, LoggerError> {
    match first(socket, &Opening::Token { job: job.clone() })? {
        Answer::Token(token) => Ok(token),
        other => Err(refused(socket, &other)),
    }
}

/// All events of `job`, or of all jobs, that the caller may see.
pub fn events(socket: &Path, job: Option<&JobKey>) -> Result<Vec<Stamped>, LoggerError> {
    let mut lines = ask(socket, &Opening::Events { job: job.cloned() })?;
    let mut events = Vec::new();
    loop {
        let line = next(socket, &mut lines)?;
        if let Ok(event) = serde_json::from_str(&line) {
            events.push(event);
            continue;
        }
        return match answer(socket, &line)? {
            Answer::End(count) if count == events.len() as u64 => Ok(events),
            other => Err(refused(socket, &other)),
        };
    }
}

type Lines = io::Lines<BufReader<UnixStream>>;

fn unreachable(socket: &Path, source: io::Error) -> LoggerError {
    LoggerError::Unreachable {
        address: socket.display().to_string(),
        source,
    }
}

fn refused(socket: &Path, answer: &Answer) -> LoggerError {
    let reason = match answer {
        Answer::Error(reason) => reason.clone(),
        other => format!("it answered {other:?}"),
    };
    LoggerError::Refused {
        address: socket.display().to_string(),
        reason,
    }
}

fn ask(socket: &Path, opening: &Opening) -> Result<Lines, LoggerError> {
    let mut line = serde_json::to_vec(opening).expect("an opening has string keys only");
    line.push(b'\n');
    let connected = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&line)?;
        Ok(BufReader::new(stream).lines())
    });
    connected.map_err(|source| unreachable(socket, source))
}

fn next(socket: &Path, lines: &mut Lines) -> Result<String, LoggerError> {
    let ended = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    lines
        .next()
        .unwrap_or_else(ended)
        .map_err(|source| unreachable(socket, source))
}

fn answer(socket: &Path, line: &str) -> Result<Answer, LoggerError> {
    serde_json::from_str(line).map_err(|error| unreachable(socket, error.into()))
}

fn first(socket: &Path, opening: &Opening) -> Result<Answer, LoggerError> {
    let line = next(socket, &mut ask(socket, opening)?)?;
    answer(socket, &line)
}
