//! The job's standard streams between the host and the sockets behind the guest's ports.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::events::Message;

const CHUNK: usize = 64 * 1024;

/// One of the job's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

/// Passes what the host reads on to the guest, in frames: a length (u32, little-endian) and as
/// many bytes; the length 0 is the end of file. The thread ends with the process when the host's
/// side never ends.
pub(super) fn pump_input(mut from: Box<dyn Read + Send>, to: &UnixStream) {
    let Ok(mut to) = to.try_clone() else { return };
    thread::spawn(move || {
        let mut frame = vec![0; 4 + CHUNK];
        loop {
            let length = match from.read(&mut frame[4..]) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            frame[..4].copy_from_slice(&u32::try_from(length).expect("chunks are small").to_le_bytes());
            if to.write_all(&frame[..4 + length]).is_err() || length == 0 {
                return;
            }
        }
    });
}

/// One of the job's outputs on its way to the host.
pub(super) struct Stream {
    channel: Channel,
    sink: Mutex<Sink>,
    /// That more has come by the port, or that no more will.
    moved: Condvar,
}

/// Hears each piece after the host has it.
type Listen = dyn FnMut(&[u8]) + Send;

struct Sink {
    to: Box<dyn Write + Send>,
    tell: Sender<Message>,
    listen: Box<Listen>,
    is_wanted: bool,
    arrived: u64,
    has_port_ended: bool,
}

impl Stream {
    /// 0 for standard output, 1 for standard error.
    pub(super) const fn number(&self) -> usize {
        self.channel as usize
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what came. Returns whether there is anybody to tell of it.
    pub(super) fn take(&self, bytes: &[u8]) -> bool {
        let mut sink = self.lock();
        if sink.is_wanted
            && let Err(error) = sink.to.write_all(bytes).and_then(|()| sink.to.flush())
        {
            sink.is_wanted = false;
            // A reader may go away; a file that takes no more is another matter.
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(channel = ?self.channel, %error, "the job's output is lost from here on");
            }
            let _ = sink.tell.send(Message::NobodyReads(self.channel));
        }
        (sink.listen)(bytes);
        sink.arrived += bytes.len() as u64;
        let told = sink.tell.send(Message::Arrived(self.channel, bytes.len() as u64));
        self.moved.notify_all();
        told.is_ok()
    }

    /// Waits until so many bytes have come; whether they have before the port ended.
    pub(super) fn has_had(&self, bytes: u64) -> bool {
        let is_missing = |sink: &mut Sink| sink.arrived < bytes && !sink.has_port_ended;
        let sink = self.moved.wait_while(self.lock(), is_missing);
        sink.unwrap_or_else(PoisonError::into_inner).arrived >= bytes
    }

    /// Tells of something besides.
    pub(super) fn tell(&self, message: Message) {
        let _ = self.lock().tell.send(message);
    }

    fn end_port(&self) {
        self.lock().has_port_ended = true;
        self.moved.notify_all();
        self.tell(Message::StreamEnded);
    }
}

/// Passes what the guest sends on to the host, and tells how much; what nobody reads any more
/// is counted and thrown away. `listen` gets each piece after the host has it. Returns the stream, if there is
/// anybody to tell of its end.
pub(super) fn pump_output(
    channel: Channel,
    from: &UnixStream,
    to: Box<dyn Write + Send>,
    tell: Sender<Message>,
    listen: impl FnMut(&[u8]) + Send + 'static,
) -> Option<Arc<Stream>> {
    let mut from = from.try_clone().ok()?;
    let stream = Arc::new(Stream {
        channel,
        sink: Mutex::new(Sink {
            to,
            tell,
            listen: Box::new(listen),
            is_wanted: true,
            arrived: 0,
            has_port_ended: false,
        }),
        moved: Condvar::new(),
    });
    let port = stream.clone();
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if !port.take(&chunk[..length]) {
                return;
            }
        }
        port.end_port();
    });
    Some(stream)
}
