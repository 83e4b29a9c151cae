//! The job disk of a machine that is about to be saved as a template: it holds no job, but what
//! to do before, and tells the guest to wait until the disk is another (`docs/job-protocol.md`).

use std::ffi::{OsStr, OsString};

use super::job_disk::{Identity, JobDiskError, LibraryMount, LibrarySource, encode_libraries};
use super::job_records::{Body, tag, terminated};

/// The disk's last header number: there is no job yet.
const STATE_TEMPLATE: u32 = 1;
/// The guest keeps no more commands (`description.h`).
pub const MOST_TOUCHES: usize = 64;
/// The guest starts an interpreter with no more modules (`preload.h`).
pub const MOST_MODULES: usize = 64;

/// What every template has run once, since every job needs it: the shell, the C library, the
/// programs that unpack inputs and pack outputs. One that is not there does no harm.
const TOUCHED: [&str; 3] = ["echo | cat", "exec tar --version", "exec ls -l /"];

/// What waits in every template: jobs are shell scripts more than anything else.
const HELD: [&str; 1] = ["/bin/sh"];

/// Where Debian has Python.
const PYTHON: &str = "/usr/bin/python3";
/// What Python does until it is the job.
const PRELOAD_PROGRAM: &str = include_str!("preload.py");

/// What a machine does before it is saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Shell commands that are run once.
    pub touch: Vec<String>,
    /// Modules of Python, which starts, imports them and waits for the job; without any, it does not start.
    pub python: Vec<String>,
    /// The environment of both.
    pub environment: Vec<(OsString, OsString)>,
}

/// Whose job is expected: the guest makes host name, account and home before it is saved. Another's job finds its own.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The guest's name.
    pub hostname: &'a str,
    /// The job's user.
    pub identity: &'a Identity,
}

/// The disk's first bytes: `seed` for the guest kernel's generator, what to do. `libraries` are mounted if they are
/// a disk, which is the same for every copy.
pub fn encode(
    seed: &[u8],
    preparation: &Preparation,
    libraries: Option<&LibraryMount>,
    expected: Option<Expected<'_>>,
) -> Result<Vec<u8>, JobDiskError> {
    let Preparation {
        touch,
        python,
        environment,
    } = preparation;
    let counts = [
        (
            "commands to run before it is saved",
            TOUCHED.len() + touch.len(),
            MOST_TOUCHES,
        ),
        ("modules to import before it is saved", python.len(), MOST_MODULES),
    ];
    if let Some((what, count, limit)) = counts.into_iter().find(|(_, count, limit)| count > limit) {
        return Err(JobDiskError::TooMany { what, count, limit });
    }
    let mut body = Body::default();
    body.record(tag::SEED, &[seed]);
    if let Some(Expected { hostname, identity }) = expected {
        body.string(tag::HOSTNAME, hostname.as_ref())?;
        body.account(identity)?;
    }
    body.variables(environment)?;
    for command in TOUCHED.iter().copied().chain(touch.iter().map(String::as_str)) {
        body.string(tag::TOUCH, OsStr::new(command))?;
    }
    if !touch.is_empty() || !python.is_empty() {
        body.record(tag::OTHERS, &[]);
    }
    for program in HELD {
        body.string(tag::HOLD, OsStr::new(program))?;
    }
    if !python.is_empty() {
        let words = [PYTHON, "-c", PRELOAD_PROGRAM].into_iter();
        let words = words.chain(python.iter().map(String::as_str));
        let words = words
            .map(|word| terminated(word.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        body.record(tag::PRELOAD, &[&words.concat()]);
    }
    if let Some(libraries) = libraries.filter(|libraries| libraries.source == LibrarySource::Disk) {
        encode_libraries(libraries, &mut body)?;
    }
    body.on_disk(STATE_TEMPLATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::job_disk::{JobDescription, MAGIC};

    fn touching(touch: &[&str], python: &[&str]) -> Preparation {
        Preparation {
            touch: touch.iter().map(|&word| word.to_owned()).collect(),
            python: python.iter().map(|&word| word.to_owned()).collect(),
            environment: vec![("A".into(), "b".into())],
        }
    }

    fn holds(disk: &[u8], text: &str) -> bool {
        disk.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    #[test]
    fn a_template_s_disk_is_no_job_s() {
        let disk = encode(&[7; 4], &touching(&["octave --version"], &["numpy"]), None, None).unwrap();
        assert_eq!((&disk[..8], disk[20]), (&MAGIC[..], 1));
        for text in [
            "octave --version\0",
            "A=b\0",
            "/usr/bin/python3\0-c\0# Python",
            "\0numpy\0",
        ] {
            assert!(holds(&disk, text), "{text}");
        }
        let error = JobDescription::decode(&disk).unwrap_err();
        assert_eq!(error, JobDiskError::Malformed("a template's"));
        let without = encode(&[], &touching(&[], &[]), None, None).unwrap();
        assert!(!holds(&without, PYTHON));
    }

    #[test]
    fn only_a_disk_of_libraries_is_mounted_before() {
        let mount = |source| LibraryMount {
            source,
            generation: 1,
            digest: crate::digest::Digest::of(b"x"),
            path: "/usr/lib/hpcvm/libs".into(),
        };
        for (source, mounted) in [
            (LibrarySource::Disk, true),
            (LibrarySource::Folder("tag".into()), false),
        ] {
            let disk = encode(&[], &Preparation::default(), Some(&mount(source)), None).unwrap();
            assert_eq!(holds(&disk, "/usr/lib/hpcvm/libs"), mounted);
        }
    }

    #[test]
    fn more_than_the_guest_keeps_is_refused() {
        assert!(encode(&[], &touching(&["true"; MOST_TOUCHES], &[]), None, None).is_err());
        assert!(encode(&[], &touching(&[], &["os"; MOST_MODULES + 1]), None, None).is_err());
        assert!(encode(&[], &touching(&["a\0b"], &[]), None, None).is_err());
    }
}
