//! The job's standard streams between the host and the sockets behind the guest's ports.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::events::Message;

const CHUNK: usize = 64 * 1024;

/// One of the job's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

impl Channel {
    /// As people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        }
    }
}

/// Between two tries to write to what another process has set not to wait.
const GLANCE: Duration = Duration::from_millis(5);

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
            && let Err(error) = write_whole(&mut *sink.to, bytes)
        {
            sink.is_wanted = false;
            // A reader may go away; a file that takes no more is another matter.
            let _ = sink.tell.send(match error.kind() {
                io::ErrorKind::BrokenPipe => Message::NobodyReads(self.channel),
                _ => Message::Unwritten(self.channel, error),
            });
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

/// Writes all of `bytes`, also where the other programs that have `to` open do not want to wait for it.
fn write_whole(to: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GLANCE),
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// What is told of a guest that writes `bytes`, until its stream has ended.
    fn pumped(to: Box<dyn Write + Send>, bytes: &[u8]) -> Vec<Message> {
        let (guest, host) = UnixStream::pair().unwrap();
        let (tell, told): (_, Receiver<Message>) = channel();
        assert!(pump_output(Channel::Stderr, &host, to, tell, |_| {}).is_some());
        let mut guest = guest;
        guest.write_all(bytes).unwrap();
        drop(guest);
        told.iter().collect()
    }

    #[test]
    fn a_disk_that_is_full_is_told_and_a_reader_who_left_is_another_matter() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let told = pumped(Box::new(full), b"line\n");
        let [
            Message::Unwritten(Channel::Stderr, error),
            Message::Arrived(_, 5),
            Message::StreamEnded,
        ] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let (here, gone) = UnixStream::pair().unwrap();
        drop(gone);
        let told = pumped(Box::new(here), b"line\n");
        assert!(matches!(told[0], Message::NobodyReads(Channel::Stderr)), "{told:?}");
    }

    #[test]
    fn a_pipe_that_others_do_not_wait_for_takes_all() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let reading = thread::spawn(move || {
            // Until the pipe is full.
            thread::sleep(Duration::from_millis(100));
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all.len()
        });
        let told = pumped(Box::new(writer), &vec![b'x'; 4 << 20]);
        assert!(matches!(told.last(), Some(Message::StreamEnded)), "{told:?}");
        assert!(
            !told.iter().any(|message| matches!(message, Message::Unwritten(..))),
            "{told:?}"
        );
        assert_eq!(reading.join().unwrap(), 4 << 20);
    }
}
