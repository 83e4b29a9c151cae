//! The job disk of a machine that is about to be saved as a template: it holds no job, but what
//! to do before, and tells the guest to wait until the disk is another (`docs/job-protocol.md`).

use std::ffi::OsStr;

use super::job_disk::{Body, JobDiskError, tag};

/// The disk's last header number: there is no job yet.
const STATE_TEMPLATE: u32 = 1;
/// The guest keeps no more commands (`job-runner.c`).
const MOST_TOUCHES: usize = 64;

/// What every template has run once, since every job needs it: the shell, the C library, the
/// programs that unpack inputs and pack outputs. One that is not there does no harm.
const TOUCHED: [&str; 3] = ["echo | cat", "exec tar --version", "exec ls -l /"];

/// The disk's first bytes: `seed` for the guest kernel's generator, shell commands to run.
pub fn encode(seed: &[u8], touch: &[String]) -> Result<Vec<u8>, JobDiskError> {
    let commands = TOUCHED.iter().copied().chain(touch.iter().map(String::as_str));
    let count = TOUCHED.len() + touch.len();
    if count > MOST_TOUCHES {
        return Err(JobDiskError::TooMany {
            what: "commands to run before it is saved",
            count,
            limit: MOST_TOUCHES,
        });
    }
    let mut body = Body::default();
    body.record(tag::SEED, &[seed]);
    for command in commands {
        body.string(tag::TOUCH, OsStr::new(command))?;
    }
    body.on_disk(STATE_TEMPLATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::job_disk::{JobDescription, MAGIC};

    #[test]
    fn a_template_s_disk_is_no_job_s() {
        let disk = encode(&[7; 4], &["python3 -c 'import numpy'".to_owned()]).unwrap();
        assert_eq!((&disk[..8], disk[20]), (&MAGIC[..], 1));
        assert!(disk.windows(24).any(|bytes| bytes == b"python3 -c 'import numpy"));
        let error = JobDescription::decode(&disk).unwrap_err();
        assert_eq!(error, JobDiskError::Malformed("a template's"));
    }

    #[test]
    fn more_commands_than_the_guest_keeps_are_refused() {
        assert!(encode(&[], &vec![String::from("true"); MOST_TOUCHES]).is_err());
        assert!(encode(&[], &["a\0b".to_owned()]).is_err());
    }
}
