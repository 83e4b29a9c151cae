//! What a launch's end means: the job's, the image's, the host's or the user's doing.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use signal_hook::consts::SIGKILL;

use super::error::LaunchError;
use super::logs::{LINES_SHOWN, Logs, last_lines, words};
use super::request::Limits;
use super::session::{End, Outcome, StopReason};
use super::streams::Channel;
use crate::guest::control::Step;
use crate::guest::result_disk::{Ending, ResultHeader};
use crate::remedy::Lack;

/// All that is known when the hypervisor's process is gone.
pub(super) struct Evidence<'a> {
    pub(super) end: End,
    pub(super) hypervisor: Option<ExitStatus>,
    pub(super) booted: bool,
    pub(super) stopped: Option<StopReason>,
    pub(super) report: Option<(Step, ResultHeader)>,
    pub(super) problem: Option<String>,
    pub(super) interpreter: Option<String>,
    pub(super) lacks: Vec<Lack>,
    pub(super) arrived: [u64; 2],
    pub(super) unwritten: Option<&'a (Channel, io::Error)>,
    pub(super) limits: Limits,
    pub(super) logs: &'a Logs,
}

/// Decides what to tell the user.
pub(super) fn judge(evidence: &Evidence<'_>) -> Result<Outcome, LaunchError> {
    match &evidence.report {
        Some((Step::Ran, result)) => ran(evidence, *result),
        Some((step, result)) => Err(not_started(evidence, *step, *result)),
        None => Err(no_report(evidence)),
    }
}

fn ran(evidence: &Evidence<'_>, result: ResultHeader) -> Result<Outcome, LaunchError> {
    if evidence.stopped == Some(StopReason::TimeLimit) {
        return Err(LaunchError::TimeLimit(evidence.limits.job.unwrap_or_default()));
    }
    if let Some((channel, error)) = evidence.unwritten {
        return Err(LaunchError::UnwrittenOutput {
            stream: channel.name(),
            source: error
                .raw_os_error()
                .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
        });
    }
    if let Some(problem) = &evidence.problem {
        return Err(LaunchError::OutputTooLarge(problem.clone()));
    }
    let written = [result.stdout_bytes, result.stderr_bytes];
    for (stream, (written, arrived)) in [Channel::Stdout, Channel::Stderr]
        .map(Channel::name)
        .into_iter()
        .zip(written.into_iter().zip(evidence.arrived))
    {
        if arrived < written {
            return Err(LaunchError::LostOutput {
                stream,
                written,
                arrived,
            });
        }
    }
    Ok(Outcome {
        ending: result.ending,
        stopped: evidence.stopped,
        outputs_status: result.outputs,
        lacks: match result.ending {
            Ending::Exited(0) => Vec::new(),
            _ => evidence.lacks.clone(),
        },
    })
}

fn not_started(evidence: &Evidence<'_>, step: Step, result: ResultHeader) -> LaunchError {
    let errno = match result.ending {
        Ending::NotStarted(errno) => io::Error::from_raw_os_error(errno.cast_signed()),
        Ending::Exited(_) | Ending::Killed(_) => io::Error::other("no reason given"),
    };
    match step {
        Step::Folder => LaunchError::Folder {
            folder: PathBuf::new(),
            source: errno,
        },
        Step::Command => LaunchError::Command {
            command: String::new(),
            image: String::new(),
            source: errno,
            interpreter: evidence.interpreter.clone(),
        },
        Step::Stopped => interrupted(evidence.stopped),
        Step::Ran | Step::Prepare | Step::Identity => LaunchError::Refused {
            problem: evidence
                .problem
                .clone()
                .unwrap_or_else(|| format!("it could not become the job's user: {errno}")),
            said: last_lines(&evidence.logs.console, LINES_SHOWN),
        },
    }
}

fn interrupted(stopped: Option<StopReason>) -> LaunchError {
    match stopped {
        Some(StopReason::Signal(signal)) => LaunchError::Interrupted(signal),
        Some(StopReason::TimeLimit) | None => LaunchError::Interrupted(0),
    }
}

fn no_report(evidence: &Evidence<'_>) -> LaunchError {
    let said = words(evidence.logs);
    let status = evidence
        .hypervisor
        .map_or_else(|| "no status".to_owned(), |status| status.to_string());
    match (&evidence.end, evidence.stopped) {
        (End::BootTimeout, _) => LaunchError::BootTimeout {
            limit: evidence.limits.boot,
            said,
        },
        (End::Killed, Some(StopReason::TimeLimit)) => LaunchError::TimeLimit(evidence.limits.job.unwrap_or_default()),
        (End::Killed, Some(StopReason::Signal(signal))) if evidence.booted => LaunchError::Killed(signal),
        (End::Killed, stopped) if !evidence.booted => interrupted(stopped),
        (End::Killed, _) => LaunchError::Killed(0),
        // We kill it only where the end is another.
        (End::Gone, _) if evidence.hypervisor.and_then(|status| status.signal()) == Some(SIGKILL) => {
            LaunchError::HypervisorKilled
        }
        (End::Gone, _) if evidence.booted => LaunchError::GuestDied { status, said },
        (End::Gone, _) => LaunchError::Hypervisor { status, said },
    }
}
