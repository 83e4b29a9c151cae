//! Answers who asks for events, without keeping senders waiting.

use std::io::{BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::connection::{Connection, Stream};
use super::wire::Answer;
use crate::timing::event::JobKey;
use crate::timing::journal;

/// How long a reader may let the logger wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the events of `job`, or of all jobs, that the user `uid` may see: their own, and all for
/// the user who runs the logger. A thread of its own does it.
pub(super) fn answer(connection: &Connection, journal: PathBuf, uid: u32, job: Option<JobKey>) {
    let Stream::Unix(stream) = &connection.stream else {
        return;
    };
    let Ok(stream) = stream.try_clone() else { return };
    thread::spawn(move || {
        if let Err(error) = send(&stream, &journal, uid, job.as_ref()) {
            tracing::debug!(%error, "a reader of events hung up");
        }
    });
}

fn send(stream: &UnixStream, journal: &std::path::Path, uid: u32, job: Option<&JobKey>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let all = uid == rustix::process::geteuid().as_raw();
    let events = journal::read(journal, |stamped| {
        (all || stamped.uid == uid) && job.is_none_or(|job| stamped.event.job == *job)
    })?;
    let mut writer = BufWriter::new(stream);
    for event in &events {
        serde_json::to_writer(&mut writer, event)?;
        writer.write_all(b"\n")?;
    }
    writer.write_all(&Answer::End(events.len() as u64).line())?;
    writer.flush()
}
