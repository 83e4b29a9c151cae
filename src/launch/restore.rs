//! What a restored machine finds in its sockets when it starts: where its state is, and its job.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::LaunchError;
use super::template::STATE;
use crate::guest::control::{Order, job_line};
use crate::guest::job_disk::{HEADER_LENGTH, body_length};
use crate::hypervisor::monitor;

/// A longer line might not wait in a socket until somebody reads it (unix(7)); the guest then reads its disk.
const LONGEST_LINE: usize = 64 << 10;

/// What is said before anybody listens.
#[derive(Debug)]
pub(super) struct Restore {
    /// To the hypervisor's monitor.
    pub(super) monitor: String,
    /// To the guest's control port.
    pub(super) control: Vec<u8>,
}

impl Restore {
    /// From the template in `template`, for the job on the disk `job_disk`.
    pub(super) fn new(template: &Path, job_disk: &Path) -> Result<Self, LaunchError> {
        let failed = |source| LaunchError::Scratch {
            path: job_disk.to_owned(),
            source,
        };
        let mut disk = File::open(job_disk).map_err(failed)?;
        let mut description = vec![0; HEADER_LENGTH];
        disk.read_exact(&mut description).map_err(failed)?;
        let body = u64::from(body_length(&description));
        disk.take(body).read_to_end(&mut description).map_err(failed)?;
        let line = job_line(&description);
        Ok(Self {
            monitor: monitor::restore_orders(&template.join(STATE))?,
            control: if line.len() > LONGEST_LINE {
                Order::ReadDisk.line().into_bytes()
            } else {
                line
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::job_disk::JobDescription;

    fn said(arguments: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("job.disk");
        let job = JobDescription {
            command: vec!["true".into(); arguments],
            ..JobDescription::default()
        };
        let mut bytes = job.encode().unwrap();
        bytes.resize(bytes.len() + 4096, 0);
        std::fs::write(&disk, bytes).unwrap();
        Restore::new(folder.path(), &disk).unwrap().control
    }

    #[test]
    fn a_job_is_told_at_once_unless_it_is_too_long_for_a_socket() {
        let told = said(2);
        assert!(told.starts_with(b"job HPCVMJOB"), "{told:?}");
        assert!(
            told.ends_with(b"\n") && !told[..told.len() - 1].contains(&b'\n'),
            "{told:?}"
        );
        assert_eq!(said(10_000), b"disk\n");
    }
}
