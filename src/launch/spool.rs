//! The rest of a large output: off the result disk, where the guest's ports are slow.
//!
//! The guest sends the first bytes of each stream by its port and the others to the disk, and tells now and then how
//! much stands there (docs/job-protocol.md). They are passed on behind the first ones while the job runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::events::Message;
use super::request::LaunchRequest;
use super::streams::Stream;
use crate::guest::result_disk::Spool;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::units::{GIB, KIB};

/// Where the tar of the outputs must end on the result disk, and the spool begins.
pub(super) const OUTPUTS_END: u64 = 64 * GIB;
/// What goes by the serial ports, which take about a second for it.
const AFTER: u64 = 256 * KIB;
/// The same for a machine that is interpreted: its ports were seen to pass 8 kB/s.
const AFTER_INTERPRETED: u64 = 16 * KIB;
/// Room for each stream; only what is written takes space.
const ROOM: u64 = 32 * GIB;
const CHUNK: usize = 256 * 1024;

/// Whether `request`'s machine spools its output.
pub(super) fn of(request: &LaunchRequest) -> Option<Spool> {
    (request.hypervisor == Hypervisor::VirtualBox).then_some(Spool {
        after: if request.accelerator == Accelerator::Tcg {
            AFTER_INTERPRETED
        } else {
            AFTER
        },
        offset: OUTPUTS_END,
        room: ROOM,
    })
}

/// How long the result disk of `request`'s machine is.
pub(super) fn disk_length(request: &LaunchRequest) -> u64 {
    OUTPUTS_END + of(request).map_or(0, |spool| 2 * spool.room)
}

/// A spool and the disk it is on.
#[derive(Clone, Debug)]
pub(super) struct Spooling {
    pub(super) spool: Spool,
    pub(super) disk: PathBuf,
}

impl Spooling {
    /// Passes on what stands on the disk of `stream` each time it is told how much that is by now. The thread ends when
    /// the sender is dropped.
    pub(super) fn follow(&self, stream: Arc<Stream>) -> Sender<u64> {
        let (tell, told) = channel();
        let Self { spool, disk } = self.clone();
        thread::spawn(move || {
            let passed = File::open(&disk).and_then(|disk| {
                let mut done = 0;
                for count in told {
                    // A guest may say anything.
                    let count = spool.room.min(count);
                    if count > done && stream.has_had(spool.after) {
                        pass(&disk, spool.place(stream.number()) + done, count - done, &stream)?;
                        done = count;
                    }
                }
                Ok(())
            });
            if let Err(error) = passed {
                tracing::warn!(disk = %disk.display(), %error, "the job's output cannot be read off the result disk");
            }
            stream.tell(Message::SpoolEnded);
        });
        tell
    }
}

fn pass(disk: &File, mut at: u64, mut left: u64, stream: &Stream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let length = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        disk.read_exact_at(&mut chunk[..length], at)?;
        stream.take(&chunk[..length]);
        at += length as u64;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::super::streams::{Channel, pump_output};
    use super::*;

    /// Shows what was written to it.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SPOOL: Spool = Spool {
        after: 10,
        offset: 4096,
        room: 1000,
    };

    /// What comes of a stream when the guest sends `by_port`, and says `counts` with `on_disk` on the disk.
    fn joined(channel_: Channel, by_port: &[u8], on_disk: &[u8], counts: &[u64]) -> (Vec<u8>, u64) {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(8192).unwrap();
        disk.as_file()
            .write_all_at(on_disk, SPOOL.place(channel_ as usize))
            .unwrap();
        let (mut guest, port) = UnixStream::pair().unwrap();
        let (tell, messages) = channel();
        let shown = Shown::default();
        let stream = pump_output(channel_, &port, Box::new(shown.clone()), tell, |_| {}).unwrap();
        let spooling = Spooling {
            spool: SPOOL,
            disk: disk.path().to_owned(),
        };
        let count = spooling.follow(stream);
        // Told before the port has passed its bytes: their order is what counts.
        for &told in counts {
            count.send(told).unwrap();
        }
        drop(count);
        thread::sleep(Duration::from_millis(20));
        guest.write_all(by_port).unwrap();
        drop((guest, port));
        let (mut arrived, mut ends) = (0, 0);
        while ends < 2 {
            match messages.recv_timeout(Duration::from_mins(1)).unwrap() {
                Message::Arrived(_, bytes) => arrived += bytes,
                Message::StreamEnded | Message::SpoolEnded => ends += 1,
                other => panic!("{other:?}"),
            }
        }
        let shown = shown.0.lock().unwrap().clone();
        (shown, arrived)
    }

    #[test]
    fn what_stands_on_the_disk_follows_what_came_by_the_port() {
        let disk: Vec<u8> = (0..=255).cycle().take(900).collect();
        for channel_ in [Channel::Stdout, Channel::Stderr] {
            let (shown, arrived) = joined(channel_, b"0123456789", &disk, &[3, 3, 2, 900]);
            assert_eq!((&shown[..10], &shown[10..]), (&b"0123456789"[..], &disk[..]));
            assert_eq!(arrived, 910);
        }
    }

    #[test]
    fn a_guest_s_lies_end_at_the_room() {
        let (shown, arrived) = joined(Channel::Stdout, b"0123456789", &[7; 1000], &[u64::MAX]);
        assert_eq!((shown.len(), arrived), (1010, 1010));
    }

    #[test]
    fn nothing_of_the_disk_follows_half_of_what_the_port_owes() {
        let (shown, _) = joined(Channel::Stdout, b"0123", &[7; 1000], &[1000]);
        assert_eq!(shown, b"0123");
    }
}
