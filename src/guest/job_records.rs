//! The records of job disks and of templates' disks, as they are written.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::job_disk::{HEADER_LENGTH, Identity, JobDiskError, MAGIC, MAX_BODY, VERSION};

/// Kinds of records.
pub(super) mod tag {
    pub(in crate::guest) const CLOCK: u16 = 1;
    pub(in crate::guest) const HOSTNAME: u16 = 2;
    pub(in crate::guest) const SEED: u16 = 3;
    pub(in crate::guest) const UID: u16 = 4;
    pub(in crate::guest) const GID: u16 = 5;
    pub(in crate::guest) const GROUP: u16 = 6;
    pub(in crate::guest) const USER: u16 = 7;
    pub(in crate::guest) const HOME: u16 = 8;
    pub(in crate::guest) const ARGUMENT: u16 = 9;
    pub(in crate::guest) const VARIABLE: u16 = 10;
    pub(in crate::guest) const FOLDER: u16 = 11;
    pub(in crate::guest) const UMASK: u16 = 12;
    pub(in crate::guest) const SHARE: u16 = 13;
    pub(in crate::guest) const INPUT: u16 = 14;
    pub(in crate::guest) const OUTPUT: u16 = 15;
    pub(in crate::guest) const NETWORK: u16 = 17;
    pub(in crate::guest) const SCRATCH: u16 = 19;
    pub(in crate::guest) const LIBRARIES: u16 = 20;
    pub(in crate::guest) const TOUCH: u16 = 21;
    pub(in crate::guest) const PRELOAD: u16 = 22;
    pub(in crate::guest) const OTHERS: u16 = 23;
    pub(in crate::guest) const SPOOL: u16 = 24;
    pub(in crate::guest) const HOLD: u16 = 25;
}

/// Records, one after the other.
#[derive(Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    /// With the header before it.
    pub(super) fn on_disk(self, state: u32) -> Result<Vec<u8>, JobDiskError> {
        let body = self.0;
        if body.len() > MAX_BODY {
            return Err(JobDiskError::TooLong(body.len()));
        }
        let length = u32::try_from(body.len()).expect("bodies are shorter than MAX_BODY");
        let mut disk = Vec::with_capacity(HEADER_LENGTH + body.len());
        disk.extend_from_slice(MAGIC);
        for number in [VERSION, length, crc32fast::hash(&body), state] {
            disk.extend_from_slice(&number.to_le_bytes());
        }
        disk.extend(body);
        Ok(disk)
    }

    pub(super) fn record(&mut self, tag: u16, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&[0; 2]);
        // A part longer than 4 GiB makes the body too long, which is found before it is used.
        self.0
            .extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    pub(super) fn number(&mut self, tag: u16, number: u32) {
        self.record(tag, &[&number.to_le_bytes()]);
    }

    /// Who the job runs as, without the groups.
    pub(super) fn account(&mut self, identity: &Identity) -> Result<(), JobDiskError> {
        self.number(tag::UID, identity.uid);
        self.number(tag::GID, identity.gid);
        self.string(tag::USER, identity.user.as_ref())?;
        self.string(tag::HOME, identity.home.as_ref())
    }

    pub(super) fn variables(&mut self, variables: &[(OsString, OsString)]) -> Result<(), JobDiskError> {
        variables.iter().try_for_each(|(name, value)| {
            let whole = [name.as_os_str(), value.as_os_str()].join(OsStr::new("="));
            self.string(tag::VARIABLE, &whole)
        })
    }

    pub(super) fn string(&mut self, tag: u16, string: &OsStr) -> Result<(), JobDiskError> {
        self.record(tag, &[&terminated(string)?]);
        Ok(())
    }
}

pub(super) fn terminated(string: &OsStr) -> Result<Vec<u8>, JobDiskError> {
    if string.as_bytes().contains(&0) {
        return Err(JobDiskError::Nul(string.to_owned()));
    }
    let mut bytes = string.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
}
