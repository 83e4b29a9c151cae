//! The job disk: what the launcher tells the guest about its job.
//!
//! A raw disk that begins with a header of 24 bytes (magic `HPCVMJOB`, version, length and CRC-32
//! of the body, reserved; all numbers little-endian), then the body: records of tag (u16),
//! reserved (u16), length (u32) and payload. Strings end with a NUL that counts. A tar of input
//! files may follow at an offset that a record names. `overlays/job-runner/src/job.h` is the
//! guest's side; `docs/job-protocol.md` the description.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::job_records::{Body, tag, terminated};
use super::result_disk::Spool;
use crate::digest::Digest;

/// The first eight bytes of a job disk.
pub const MAGIC: &[u8; 8] = b"HPCVMJOB";
/// The version of the format written, and the only one read.
pub const VERSION: u32 = 1;
/// Bytes before the records.
pub const HEADER_LENGTH: usize = 24;
/// The guest reads no longer body.
pub const MAX_BODY: usize = 4 << 20;

/// What a guest is told about its job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobDescription {
    /// Time of the launch: seconds since 1970 and nanoseconds.
    pub clock: (u64, u32),
    /// The guest's host name.
    pub hostname: String,
    /// Random bytes for the guest kernel's generator.
    pub seed: Vec<u8>,
    /// Who the job runs as.
    pub identity: Identity,
    /// The command and its arguments; at least one.
    pub command: Vec<OsString>,
    /// The job's whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The job's working directory in the guest.
    pub folder: OsString,
    /// The job's file mode creation mask.
    pub umask: u32,
    /// Host folders to mount.
    pub shares: Vec<SharedFolder>,
    /// A tar of input files on the job disk, to be unpacked at the guest's root.
    pub input: Option<InputArchive>,
    /// Guest paths to bring back, absolute or relative to the working directory.
    pub outputs: Vec<OsString>,
    /// Settings of the guest's network interface, when it has one.
    pub network: Option<NetworkSettings>,
    /// Where the scratch disk is mounted, when there is one.
    pub scratch: Option<OsString>,
    /// The shared library repository, when the image links to it.
    pub libraries: Option<LibraryMount>,
    /// Where large output goes, when the ports are slow.
    pub spool: Option<Spool>,
}

/// The generation of the shared library repository that a guest mounts, read-only, before it runs
/// any program of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryMount {
    /// How it gets there.
    pub source: LibrarySource,
    /// The generation's number.
    pub generation: u32,
    /// SHA-256 of the generation's index.
    pub digest: Digest,
    /// Where it is mounted in the guest.
    pub path: OsString,
}

/// How the shared library repository gets into a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LibrarySource {
    /// A folder of the host over 9p, by its mount tag.
    Folder(String),
    /// The generation's export: a disk known by its trailer.
    Disk,
}

/// The numeric identity a job runs under, and the names it has in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Numeric user, as on the host.
    pub uid: u32,
    /// Numeric group, as on the host.
    pub gid: u32,
    /// Supplementary groups, as on the host.
    pub groups: Vec<u32>,
    /// The user's name in the guest.
    pub user: String,
    /// The user's home in the guest.
    pub home: String,
}

/// A host folder that the guest mounts over 9p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFolder {
    /// The 9p mount tag.
    pub tag: String,
    /// Where it is mounted in the guest.
    pub path: OsString,
    /// Whether the guest may not write to it.
    pub read_only: bool,
}

/// Where the tar of input files stands on the job disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputArchive {
    /// First byte.
    pub offset: u64,
    /// Length.
    pub length: u64,
}

/// Static IPv4 settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Its network mask.
    pub netmask: Ipv4Addr,
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// The name server.
    pub nameserver: Ipv4Addr,
    /// The interface's hardware address.
    pub hardware: [u8; 6],
}

/// A job cannot be described to a guest, or a description cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobDiskError {
    /// The command, environment and paths together are too long.
    #[error("the job's command line and environment are {0} bytes together; a guest takes at most {MAX_BODY}")]
    TooLong(usize),
    /// There is no command.
    #[error("the job has no command")]
    NoCommand,
    /// There are more of something than a guest keeps.
    #[error("the job has {count} {what}; a guest takes at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The guest's limit.
        limit: usize,
    },
    /// A string holds a NUL byte.
    #[error("{0:?} holds a NUL byte")]
    Nul(OsString),
    /// The bytes are not a job disk of this version, or are damaged.
    #[error("not a job disk: {0}")]
    Malformed(&'static str),
}

/// The disk's last header number: it holds a job.
const STATE_JOB: u32 = 0;

/// The repository is a folder of the host.
const LIBRARIES_FOLDER: u32 = 1;
/// It is a disk.
const LIBRARIES_DISK: u32 = 2;

/// How many bytes follow `header`, the first [`HEADER_LENGTH`] of a job disk.
#[must_use]
pub fn body_length(header: &[u8]) -> u32 {
    let length = header.get(12..16).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(length.unwrap_or_default())
}

impl JobDescription {
    /// The header and body, to stand at the start of the job disk.
    pub fn encode(&self) -> Result<Vec<u8>, JobDiskError> {
        if self.command.is_empty() {
            return Err(JobDiskError::NoCommand);
        }
        self.check_counts()?;
        let mut body = Body::default();
        self.encode_machine(&mut body)?;
        self.encode_job(&mut body)?;
        body.on_disk(STATE_JOB)
    }

    /// The guest keeps records in arrays of these lengths (`description.h`).
    fn check_counts(&self) -> Result<(), JobDiskError> {
        let counts = [
            ("arguments", self.command.len(), 16383),
            ("environment variables", self.environment.len(), 16383),
            ("groups", self.identity.groups.len(), 256),
            ("shared folders", self.shares.len(), 32),
            ("outputs", self.outputs.len(), 255),
        ];
        match counts.into_iter().find(|(_, count, limit)| count > limit) {
            Some((what, count, limit)) => Err(JobDiskError::TooMany { what, count, limit }),
            None => Ok(()),
        }
    }

    fn encode_machine(&self, body: &mut Body) -> Result<(), JobDiskError> {
        body.record(tag::CLOCK, &[&self.clock.0.to_le_bytes(), &self.clock.1.to_le_bytes()]);
        body.string(tag::HOSTNAME, self.hostname.as_ref())?;
        body.record(tag::SEED, &[&self.seed]);
        for share in &self.shares {
            let (tag, path) = (terminated(share.tag.as_ref())?, terminated(&share.path)?);
            body.record(tag::SHARE, &[&u32::from(share.read_only).to_le_bytes(), &tag, &path]);
        }
        if let Some(network) = &self.network {
            let of = network;
            let addresses = [of.address, of.netmask, of.gateway, of.nameserver].map(|address| address.octets());
            body.record(tag::NETWORK, &[addresses.as_flattened(), &of.hardware]);
        }
        if let Some(path) = &self.scratch {
            body.string(tag::SCRATCH, path)?;
        }
        if let Some(spool) = self.spool {
            body.record(tag::SPOOL, &[&spool.encode()]);
        }
        let encode = |libraries: &LibraryMount| encode_libraries(libraries, body);
        self.libraries.iter().try_for_each(encode)
    }

    fn encode_job(&self, body: &mut Body) -> Result<(), JobDiskError> {
        let identity = &self.identity;
        body.account(identity)?;
        for &group in &identity.groups {
            body.number(tag::GROUP, group);
        }
        for argument in &self.command {
            body.string(tag::ARGUMENT, argument)?;
        }
        body.variables(&self.environment)?;
        body.string(tag::FOLDER, &self.folder)?;
        body.number(tag::UMASK, self.umask);
        if let Some(input) = self.input {
            body.record(tag::INPUT, &[&input.offset.to_le_bytes(), &input.length.to_le_bytes()]);
        }
        self.outputs
            .iter()
            .try_for_each(|output| body.string(tag::OUTPUT, output))
    }

    /// Reads what [`JobDescription::encode`] wrote. Unknown records are passed over.
    pub fn decode(disk: &[u8]) -> Result<Self, JobDiskError> {
        let malformed = JobDiskError::Malformed;
        let (header, rest) = disk.split_at_checked(HEADER_LENGTH).ok_or(malformed("cut short"))?;
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if &header[..8] != MAGIC {
            return Err(malformed("wrong magic"));
        }
        if number(8) != VERSION {
            return Err(malformed("unknown version"));
        }
        if number(20) != STATE_JOB {
            return Err(malformed("a template's"));
        }
        let body = rest.get(..number(12) as usize).ok_or(malformed("body cut short"))?;
        if crc32fast::hash(body) != number(16) {
            return Err(malformed("damaged body"));
        }
        let mut job = Self::default();
        let mut rest = body;
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(8).ok_or(malformed("record cut short"))?;
            let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
            let (payload, after) = after.split_at_checked(length).ok_or(malformed("record cut short"))?;
            job.take(u16::from_le_bytes([head[0], head[1]]), payload)?;
            rest = after;
        }
        if job.command.is_empty() {
            Err(JobDiskError::NoCommand)
        } else {
            Ok(job)
        }
    }

    fn take(&mut self, tag: u16, payload: &[u8]) -> Result<(), JobDiskError> {
        match tag {
            tag::CLOCK => self.clock = (long(payload)?, word(payload.get(8..).unwrap_or_default())?),
            tag::HOSTNAME => self.hostname = text(payload)?,
            tag::SEED => self.seed = payload.to_vec(),
            tag::UID => self.identity.uid = word(payload)?,
            tag::GID => self.identity.gid = word(payload)?,
            tag::GROUP => self.identity.groups.push(word(payload)?),
            tag::USER => self.identity.user = text(payload)?,
            tag::HOME => self.identity.home = text(payload)?,
            tag::ARGUMENT => self.command.push(string(payload)?),
            tag::VARIABLE => self.environment.push(variable(payload)?),
            tag::FOLDER => self.folder = string(payload)?,
            tag::UMASK => self.umask = word(payload)?,
            tag::SHARE => self.shares.push(share(payload)?),
            tag::INPUT => {
                self.input = Some(InputArchive {
                    offset: long(payload)?,
                    length: long(payload.get(8..).unwrap_or_default())?,
                });
            }
            tag::OUTPUT => self.outputs.push(string(payload)?),
            tag::NETWORK => self.network = Some(network(payload)?),
            tag::SCRATCH => self.scratch = Some(string(payload)?),
            tag::LIBRARIES => self.libraries = Some(libraries(payload)?),
            tag::SPOOL => self.spool = Spool::decode(payload),
            _ => {}
        }
        Ok(())
    }
}

fn word(payload: &[u8]) -> Result<u32, JobDiskError> {
    let bytes = payload.get(..4).ok_or(JobDiskError::Malformed("number cut short"))?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}

fn long(payload: &[u8]) -> Result<u64, JobDiskError> {
    let bytes = payload.get(..8).ok_or(JobDiskError::Malformed("number cut short"))?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

fn string(payload: &[u8]) -> Result<OsString, JobDiskError> {
    match payload.split_last() {
        Some((0, bytes)) if !bytes.contains(&0) => Ok(OsString::from_vec(bytes.to_vec())),
        _ => Err(JobDiskError::Malformed("string without its end")),
    }
}

fn text(payload: &[u8]) -> Result<String, JobDiskError> {
    string(payload)?
        .into_string()
        .map_err(|_| JobDiskError::Malformed("text that is not UTF-8"))
}

fn variable(payload: &[u8]) -> Result<(OsString, OsString), JobDiskError> {
    let whole = string(payload)?;
    let equals = whole
        .as_bytes()
        .iter()
        .position(|&b| b == b'=')
        .ok_or(JobDiskError::Malformed("variable without ="))?;
    let (name, value) = whole.as_bytes().split_at(equals);
    Ok((
        OsStr::from_bytes(name).to_owned(),
        OsStr::from_bytes(&value[1..]).to_owned(),
    ))
}

/// A 9p mount tag and a guest path.
fn tag_and_path(strings: &[u8]) -> Result<(String, OsString), JobDiskError> {
    let end = strings
        .iter()
        .position(|&b| b == 0)
        .ok_or(JobDiskError::Malformed("share without a tag"))?;
    let (tag, path) = strings.split_at(end + 1);
    Ok((text(tag)?, string(path)?))
}

fn share(payload: &[u8]) -> Result<SharedFolder, JobDiskError> {
    let (tag, path) = tag_and_path(payload.get(4..).unwrap_or_default())?;
    Ok(SharedFolder {
        tag,
        path,
        read_only: word(payload)? & 1 == 1,
    })
}

pub(super) fn encode_libraries(libraries: &LibraryMount, body: &mut Body) -> Result<(), JobDiskError> {
    let (kind, tag) = match &libraries.source {
        LibrarySource::Folder(tag) => (LIBRARIES_FOLDER, tag.as_str()),
        LibrarySource::Disk => (LIBRARIES_DISK, ""),
    };
    let (tag, path) = (terminated(tag.as_ref())?, terminated(&libraries.path)?);
    let numbers = [kind.to_le_bytes(), libraries.generation.to_le_bytes()].concat();
    body.record(tag::LIBRARIES, &[&numbers, libraries.digest.as_bytes(), &tag, &path]);
    Ok(())
}

fn libraries(payload: &[u8]) -> Result<LibraryMount, JobDiskError> {
    let (kind, generation) = (word(payload)?, word(payload.get(4..).unwrap_or_default())?);
    let digest: [u8; 32] = payload
        .get(8..40)
        .and_then(|digest| digest.try_into().ok())
        .ok_or(JobDiskError::Malformed("digest cut short"))?;
    let (tag, path) = tag_and_path(&payload[40..])?;
    let source = match kind {
        LIBRARIES_FOLDER => LibrarySource::Folder(tag),
        LIBRARIES_DISK => LibrarySource::Disk,
        _ => return Err(JobDiskError::Malformed("unknown kind of library repository")),
    };
    Ok(LibraryMount {
        source,
        generation,
        digest: Digest::from_bytes(digest),
        path,
    })
}

fn network(payload: &[u8]) -> Result<NetworkSettings, JobDiskError> {
    let address = |at: usize| -> Result<Ipv4Addr, JobDiskError> {
        let bytes = payload
            .get(at..at + 4)
            .ok_or(JobDiskError::Malformed("address cut short"))?;
        Ok(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
    };
    Ok(NetworkSettings {
        address: address(0)?,
        netmask: address(4)?,
        gateway: address(8)?,
        nameserver: address(12)?,
        hardware: payload
            .get(16..22)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(JobDiskError::Malformed("hardware address cut short"))?,
    })
}

#[cfg(test)]
#[path = "job_disk_tests.rs"]
mod tests;
