//! The control conversation between the launcher and the job runner: lines of words over the
//! virtio-serial port `hpcvm.control` (`docs/job-protocol.md`).

use std::time::Duration;

use super::result_disk::{Ending, ResultHeader};

/// A line from the guest. Times are since the guest's kernel started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The job runner runs: `ready UPTIME [init UPTIME]`.
    Ready {
        /// When, in the guest's time.
        uptime: Duration,
        /// When the initial RAM disk's program began, where hpcvm's own started the guest.
        init: Option<Duration>,
    },
    /// The guest is ready to be saved as a template: `waiting UPTIME`.
    Waiting {
        /// When, in the guest's time.
        uptime: Duration,
    },
    /// The guest was restored from a template and has seen its job: `resumed UPTIME`.
    Resumed {
        /// When, in the time of the guest, which goes on from the template's.
        uptime: Duration,
    },
    /// The job's program was started: `started UPTIME`.
    Started {
        /// When, in the guest's time.
        uptime: Duration,
    },
    /// So many bytes of standard output and standard error stand on the result disk: `spooled OUT ERR`.
    Spooled([u64; 2]),
    /// What kept the guest from starting the job: `problem TEXT`; an ending follows.
    Problem(String),
    /// The command is there and cannot be executed, because this program that starts it, its
    /// dynamic loader or the one that its first line names, is not: `interpreter PATH`.
    Interpreter(String),
    /// The job is over: `HOW UPTIME VALUE STDOUT STDERR OUTPUTS`, and ` synced` after that.
    Ended {
        /// When, in the guest's time.
        uptime: Duration,
        /// At which step, when the job was not started.
        step: Step,
        /// How, and how much it wrote.
        result: ResultHeader,
        /// Whether the guest has written everything to its disks and folders, and may be killed.
        synced: bool,
    },
}

/// How far a job got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It ran.
    Ran,
    /// The guest could not be prepared for it.
    Prepare,
    /// The user's identity could not be taken.
    Identity,
    /// The working directory could not be entered.
    Folder,
    /// The command could not be executed.
    Command,
    /// The launcher asked to stop before it was started.
    Stopped,
}

/// A guest sent something that is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest's job runner said {0:?}, which is no report")]
pub struct NotAReport(pub String);

/// Longest line a guest may send.
pub const MAX_LINE: usize = 1200;

impl Report {
    /// Reads one line, without its newline.
    pub fn parse(line: &str) -> Result<Self, NotAReport> {
        Self::read(line).ok_or_else(|| NotAReport(line.chars().take(200).collect()))
    }

    fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        if word == "problem" {
            return Some(Self::Problem(rest.trim().to_owned()));
        }
        if word == "interpreter" {
            return Some(Self::Interpreter(rest.to_owned()));
        }
        if word == "ready" {
            let (uptime, init) = rest
                .split_once(" init ")
                .map_or((rest, None), |(uptime, init)| (uptime, Some(init)));
            let time = |text: &str| text.parse().ok().map(Duration::from_nanos);
            let init = init.map(time);
            return Some(Self::Ready {
                uptime: time(uptime)?,
                init: init.flatten(),
            });
        }
        let mut numbers = rest.split(' ').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        if word == "spooled" {
            return Some(Self::Spooled([next()?, next()?]));
        }
        let uptime = Duration::from_nanos(next()?);
        let (step, ending): (Step, fn(u64) -> Option<Ending>) = match word {
            "waiting" => return Some(Self::Waiting { uptime }),
            "resumed" => return Some(Self::Resumed { uptime }),
            "started" => return Some(Self::Started { uptime }),
            "exit" => (Step::Ran, |value| Some(Ending::Exited(u8::try_from(value).ok()?))),
            "signal" => (Step::Ran, |value| Some(Ending::Killed(u8::try_from(value).ok()?))),
            "refused" => (Step::Prepare, errno),
            "noidentity" => (Step::Identity, errno),
            "nofolder" => (Step::Folder, errno),
            "nocommand" => (Step::Command, errno),
            "stopped" => (Step::Stopped, errno),
            _ => return None,
        };
        let ending = ending(next()?)?;
        let (stdout_bytes, stderr_bytes) = (next()?, next()?);
        let outputs = u32::try_from(next()?).ok()?;
        Some(Self::Ended {
            uptime,
            synced: rest.ends_with(" synced"),
            step,
            result: ResultHeader {
                ending,
                outputs,
                stdout_bytes,
                stderr_bytes,
            },
        })
    }
}

fn errno(value: u64) -> Option<Ending> {
    Some(Ending::NotStarted(u32::try_from(value).ok()?))
}

/// A line to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send the job SIGTERM, and SIGKILL after the grace time.
    Stop {
        /// How long the job has to end by itself.
        grace: Duration,
    },
    /// Nobody reads the job's standard output any more: close its pipe.
    CloseStdout,
    /// Nobody reads the job's standard error any more.
    CloseStderr,
    /// All output has arrived: power off.
    Acknowledge,
    /// The job may start: what a restored guest waits for.
    Go,
    /// To a restored guest instead of [`job_line`]: the job's description stands on the disk.
    ReadDisk,
}

impl Order {
    /// The line, with its newline.
    #[must_use]
    pub fn line(self) -> String {
        match self {
            Self::Stop { grace } => format!("stop {}\n", grace.as_millis().min(u128::from(u32::MAX))),
            Self::CloseStdout => "closed 1\n".to_owned(),
            Self::CloseStderr => "closed 2\n".to_owned(),
            Self::Acknowledge => "ack\n".to_owned(),
            Self::Go => "go\n".to_owned(),
            Self::ReadDisk => "disk\n".to_owned(),
        }
    }
}

/// The line that tells a restored guest its job: a job disk's header and body, less the bytes that end lines.
#[must_use]
pub fn job_line(description: &[u8]) -> Vec<u8> {
    let mut line = b"job ".to_vec();
    for &byte in description {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            _ => line.push(byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_are_read_as_the_guest_writes_them() {
        let uptime = Duration::from_nanos(1_448_887_524);
        assert_eq!(
            Report::parse("ready 1448887524"),
            Ok(Report::Ready { uptime, init: None })
        );
        let init = Some(Duration::from_nanos(950));
        assert_eq!(
            Report::parse("ready 1448887524 init 950"),
            Ok(Report::Ready { uptime, init })
        );
        assert_eq!(Report::parse("waiting 1448887524"), Ok(Report::Waiting { uptime }));
        assert_eq!(Report::parse("resumed 1448887524"), Ok(Report::Resumed { uptime }));
        let result = ResultHeader {
            ending: Ending::Exited(7),
            outputs: 0,
            stdout_bytes: 100,
            stderr_bytes: 31,
        };
        assert_eq!(
            Report::parse("exit 1448887524 7 100 31 0"),
            Ok(Report::Ended {
                uptime,
                step: Step::Ran,
                result,
                synced: false,
            })
        );
        let synced = Report::parse("exit 1448887524 7 100 31 0 synced").unwrap();
        assert!(matches!(synced, Report::Ended { synced: true, result: same, .. } if same == result));
        let refused = Report::parse("nocommand 5 2 0 0 0").unwrap();
        assert!(
            matches!(refused, Report::Ended { step: Step::Command, result, .. } if result.ending == Ending::NotStarted(2))
        );
        assert_eq!(Report::parse("spooled 4194304 0"), Ok(Report::Spooled([4_194_304, 0])));
        assert_eq!(
            Report::parse("problem no job disk "),
            Ok(Report::Problem("no job disk".into()))
        );
        assert_eq!(
            Report::parse("interpreter /opt/my python"),
            Ok(Report::Interpreter("/opt/my python".into()))
        );
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for line in [
            "",
            "ready",
            "ready x",
            "exit 1 300 0 0 0",
            "exit 1 7 0 0",
            "hello 1",
            "spooled 1",
        ] {
            assert_eq!(Report::parse(line), Err(NotAReport(line.to_owned())), "{line}");
        }
    }

    #[test]
    fn orders_are_lines() {
        assert_eq!(
            Order::Stop {
                grace: Duration::from_secs(5)
            }
            .line(),
            "stop 5000\n"
        );
        assert_eq!(Order::Acknowledge.line(), "ack\n");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".*") {
            let _ = Report::parse(&line);
        }
    }
}
