//! One launch, measured from outside: a process is started, its output watched for a line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::BenchError;
use crate::exec::{Host, Invocation};

/// How much of its output is kept to explain a launch that fails.
const KEPT: usize = 4096;

/// What one launch took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// From the start of the process until the line was there.
    pub first_line: Duration,
    /// From the start of the process until it had ended.
    pub total: Duration,
    /// Processor time of the process and all it started until the line was there, to 10 ms;
    /// `None` where the kernel does not tell.
    pub cpu_first_line: Option<Duration>,
    /// Processor time of the process and all it started, to 10 ms.
    pub cpu_total: Option<Duration>,
}

/// Starts `invocation`, waits until it has printed `line` on standard output or error, and until
/// it has ended. It must do both within `limit`, and end with status 0.
///
/// Nothing else that this process started may end meanwhile: its processor time would count.
pub fn measure(host: &Host, invocation: &Invocation, line: &str, limit: Duration) -> Result<Measured, BenchError> {
    measure_with(host, invocation, &[], line, limit)
}

/// The same for a process that inherits `descriptors` (see [`Host::spawn_tethered`]).
pub fn measure_with(
    host: &Host,
    invocation: &Invocation,
    descriptors: &[OwnedFd],
    line: &str,
    limit: Duration,
) -> Result<Measured, BenchError> {
    let (ours, theirs) = io::pipe().map_err(BenchError::io("a pipe"))?;
    let output = File::from(OwnedFd::from(theirs));
    let cpu_before = cpu_of_ended_children();
    let begun = Instant::now();
    let child = host.spawn_tethered(invocation, &output, descriptors)?;
    // Now only the child holds the pipe: it is at its end when the child is.
    drop(output);
    let mut watch = Watch {
        child,
        begun,
        deadline: begun + limit,
        said: Vec::new(),
        seen: None,
    };
    let ended = watch.until_end(ours, line);
    if !matches!(ended, Ok(true)) {
        // The only failure is that it has ended already.
        watch.child.kill().ok();
    }
    let status = watch.child.wait().map_err(BenchError::io("the launch"))?;
    let total = begun.elapsed();
    let cpu_total = cpu_of_ended_children()
        .zip(cpu_before)
        .and_then(|(after, before)| after.checked_sub(before));
    if !ended.map_err(BenchError::io("a pipe"))? {
        return Err(BenchError::Late {
            command: invocation.to_string(),
            limit,
            said_last: watch.last_words(),
        });
    }
    let (first_line, cpu_first_line) = watch.judge(invocation, status)?;
    Ok(Measured {
        first_line,
        total,
        cpu_first_line,
        cpu_total,
    })
}

/// A launch under way.
struct Watch {
    child: Child,
    begun: Instant,
    deadline: Instant,
    said: Vec<u8>,
    /// When the line was there, and the processor time until then.
    seen: Option<(Duration, Option<Duration>)>,
}

impl Watch {
    /// Reads until the output ends or the time is up; whether it ended.
    fn until_end(&mut self, mut output: impl Read + std::os::fd::AsFd, line: &str) -> io::Result<bool> {
        let mut buffer = [0; KEPT];
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&timeout)) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let count = output.read(&mut buffer)?;
            let now = self.begun.elapsed();
            if count == 0 {
                return Ok(true);
            }
            self.said.extend_from_slice(&buffer[..count]);
            if self.seen.is_none() && has_line(&self.said, line) {
                self.seen = Some((now, cpu_of_tree(self.child.id())));
            }
            // A line cannot be longer than what is kept: older bytes are done with.
            self.said.drain(..self.said.len().saturating_sub(KEPT));
        }
    }

    /// When the line was there, if all went well.
    fn judge(&self, invocation: &Invocation, status: ExitStatus) -> Result<(Duration, Option<Duration>), BenchError> {
        match self.seen {
            Some(seen) if status.success() => Ok(seen),
            _ => Err(BenchError::Launch {
                command: invocation.to_string(),
                status: match self.seen {
                    Some(_) => status.to_string(),
                    None => format!("{status}, without the line it was to print"),
                },
                said_last: self.last_words(),
            }),
        }
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.said).trim_end().replace('\r', "")
    }
}

/// Whether one of the lines is `line`; a serial console ends lines with a carriage return.
fn has_line(said: &[u8], line: &str) -> bool {
    let lines = said.split(|byte| *byte == b'\n');
    lines.into_iter().any(|one| one.trim_ascii_end() == line.as_bytes())
}

/// Processor time of all children that have ended, and of theirs (proc(5), `cutime`, `cstime`).
fn cpu_of_ended_children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    ticks(&stat, 15..17)
}

/// Processor time so far of a process and all it started.
fn cpu_of_tree(process: u32) -> Option<Duration> {
    let mut sum = ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?, 13..17)?;
    for task in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let children = fs::read_to_string(task.ok()?.path().join("children")).ok()?;
        for child in children.split_whitespace() {
            // One that has ended meanwhile counts among the ended ones, if not this time.
            sum += cpu_of_tree(child.parse().ok()?).unwrap_or_default();
        }
    }
    Some(sum)
}

/// The sum of these fields of a `stat` file, counted from 0 (proc(5)), in clock ticks.
fn ticks(stat: &str, fields: std::ops::Range<usize>) -> Option<Duration> {
    // The second field is a file name in brackets, which may hold blanks and brackets.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut sum: u64 = 0;
    for field in after_name.split_whitespace().skip(fields.start - 2).take(fields.len()) {
        sum += field.parse::<u64>().ok()?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(sum * 1000 / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Result<Measured, BenchError> {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        measure(&host, &Invocation::new("sh").args(["-c", script]), "now", limit)
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn the_line_and_the_end_are_timed() {
        let measured = run("echo before; sleep 0.2; printf 'now\\r\\n'; sleep 0.3", LONG).unwrap();
        assert!(measured.first_line >= Duration::from_millis(200), "{measured:?}");
        assert!(
            measured.total >= measured.first_line + Duration::from_millis(300),
            "{measured:?}"
        );
    }

    #[test]
    fn processor_time_is_that_of_the_whole_family() {
        // The inner shell counts, the outer one waits.
        let count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let measured = run(&format!("sh -c '{count}; echo now; {count}'; true"), LONG).unwrap();
        let (first, total) = (measured.cpu_first_line.unwrap(), measured.cpu_total.unwrap());
        assert!(first >= Duration::from_millis(20), "{measured:?}");
        assert!(total > first, "{measured:?}");
    }

    #[test]
    fn a_launch_without_its_line_or_with_a_failure_is_an_error() {
        for (script, says) in [
            ("echo nowhere", "without the line it was to print\n  | nowhere"),
            ("echo now; echo why >&2; exit 3", "exit status: 3\n  | now\n  | why"),
        ] {
            let text = run(script, LONG).unwrap_err().to_string();
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_late_launch_is_ended() {
        let begun = Instant::now();
        let error = run("echo now; exec sleep 60", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, BenchError::Late { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 2 3 4 100 200 300 400 20 0";
        assert_eq!(ticks(stat, 13..17), Some(Duration::from_secs(10)));
        assert_eq!(ticks(stat, 15..17), Some(Duration::from_secs(7)));
        assert_eq!(ticks("7", 13..17), None);
    }
}
