//! The job's standard streams between the host and the sockets behind the guest's ports.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
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

/// Passes what the guest sends on to the host, and tells how much; what nobody reads any more
/// is counted and thrown away. `listen` gets each piece after the host has it. Returns whether there is
/// anybody to tell of the end.
pub(super) fn pump_output(
    channel: Channel,
    from: &UnixStream,
    mut to: Box<dyn Write + Send>,
    tell: Sender<Message>,
    mut listen: impl FnMut(&[u8]) + Send + 'static,
) -> bool {
    let Ok(mut from) = from.try_clone() else { return false };
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        let mut wanted = true;
        loop {
            let length = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let written = if wanted {
                to.write_all(&chunk[..length]).and_then(|()| to.flush())
            } else {
                Ok(())
            };
            if let Err(error) = written {
                wanted = false;
                // A reader may go away; a file that takes no more is another matter.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    tracing::warn!(?channel, %error, "the job's output is lost from here on");
                }
                let _ = tell.send(Message::NobodyReads(channel));
            }
            listen(&chunk[..length]);
            if tell.send(Message::Arrived(channel, length as u64)).is_err() {
                return;
            }
        }
        let _ = tell.send(Message::StreamEnded);
    });
    true
}
