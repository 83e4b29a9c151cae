//! The result disk: what the guest leaves for the launcher.
//!
//! A raw disk that begins with a header of 48 bytes, written by the launcher as "nothing yet"
//! and by the guest when the job has ended; from byte 4096 a tar of the job's output files.
//! `overlays/job-runner/src/job.h` is the guest's side.

/// The first eight bytes of a result disk.
pub const MAGIC: &[u8; 8] = b"HPCVMRES";
/// The version of the format.
pub const VERSION: u32 = 1;
/// Where the tar of output files begins, in bytes.
pub const TAR_OFFSET: u64 = 4096;
/// Bytes of the header.
pub const HEADER_LENGTH: usize = 48;

/// Output that goes to the host by the result disk instead of by a port that is slow.
///
/// The first bytes of each stream go by its port; all that follow stand on the disk, standard output's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Bytes of each stream that go by its port.
    pub after: u64,
    /// Where standard output goes on, in bytes from the disk's start.
    pub offset: u64,
    /// Room for each of the two streams, in bytes.
    pub room: u64,
}

impl Spool {
    /// Where standard output (0) or standard error (1) goes on.
    #[must_use]
    pub const fn place(&self, stream: usize) -> u64 {
        if stream == 0 {
            self.offset
        } else {
            self.offset + self.room
        }
    }

    /// The payload of the job disk's record.
    pub(super) fn encode(self) -> Vec<u8> {
        [self.after, self.offset, self.room].map(u64::to_le_bytes).concat()
    }

    /// Reads a record's payload; `None` where it is cut short.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            after: long(0)?,
            offset: long(8)?,
            room: long(16)?,
        })
    }
}

/// How the guest says a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The job exited with this status.
    Exited(u8),
    /// A signal killed the job.
    Killed(u8),
    /// The job was not started; the errno that says why, or 0 when it was told to stop first.
    NotStarted(u32),
}

/// What stands in a result disk's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultHeader {
    /// How the job ended.
    pub ending: Ending,
    /// Exit status of the guest's tar that packed the outputs; 0 when there were none.
    pub outputs: u32,
    /// Bytes the job wrote to standard output.
    pub stdout_bytes: u64,
    /// Bytes the job wrote to standard error.
    pub stderr_bytes: u64,
}

/// The header of a result disk that no guest has written to yet.
#[must_use]
pub fn blank() -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

impl ResultHeader {
    /// Reads a header; `None` where the guest has written nothing, or nothing that makes sense.
    #[must_use]
    pub fn decode(header: &[u8]) -> Option<Self> {
        let header = header.get(..HEADER_LENGTH)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        if &header[..8] != MAGIC || word(8) != VERSION {
            return None;
        }
        let ending = match (word(12), word(16)) {
            (1, status) => Ending::Exited(u8::try_from(status).ok()?),
            (2, signal @ 1..=64) => Ending::Killed(u8::try_from(signal).ok()?),
            (3, errno) => Ending::NotStarted(errno),
            _ => return None,
        };
        Some(Self {
            ending,
            outputs: word(20),
            stdout_bytes: long(24),
            stderr_bytes: long(32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_guest_writes_them() {
        let mut header = blank();
        assert_eq!(ResultHeader::decode(&header), None, "nothing yet");
        header[12] = 1;
        header[16] = 7;
        header[24..32].copy_from_slice(&100u64.to_le_bytes());
        let expected = ResultHeader {
            ending: Ending::Exited(7),
            outputs: 0,
            stdout_bytes: 100,
            stderr_bytes: 0,
        };
        assert_eq!(ResultHeader::decode(&header), Some(expected));
        header[17] = 1;
        assert_eq!(ResultHeader::decode(&header), None, "no exit status is 263");
        header[0] = b'x';
        assert_eq!(ResultHeader::decode(&header), None);
        assert_eq!(ResultHeader::decode(&header[..20]), None);
    }
}
