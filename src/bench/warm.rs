//! Warm starts: from a saved machine to the first line of a job's output.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::BenchError;
use super::cold::{ColdStarts, RUN_LIMIT, launch};
use super::crowd::{self, HELD, IN_FLIGHT};
use super::job;
use super::machine;
use super::process::{Measured, measure, measure_with};
use super::report::{Launch, Report};
use super::subject::{Subject, turns};
use crate::exec::Host;
use crate::launch::slot::Admission;
use crate::launch::template::BareRestore;
use crate::launch::{LaunchError, LaunchRequest, WarmStart};

/// A restore takes less than a second; a host that needs more than this is no place to measure.
const FLOOR_LIMIT: Duration = Duration::from_mins(1);

/// What is launched, how often, and with what.
#[derive(Debug)]
pub struct WarmStarts<'a> {
    /// What cold starts are compared with, and the program, folders and numbers of launches.
    pub cold: ColdStarts<'a>,
    /// Options of the program that make it start the job warm.
    pub options: Vec<OsString>,
    /// The job of the bare restore and of those at once, which is the same as the others'.
    pub request: &'a LaunchRequest,
    /// How that job starts warm.
    pub warm: &'a WarmStart,
}

impl WarmStarts<'_> {
    /// Makes all launches in turn and gives `report_to` what is found after each, the next turn with it.
    pub fn run<E: From<BenchError>>(
        &self,
        host: &Host,
        mut report_to: impl FnMut(&Report, &Launch) -> Result<(), E>,
    ) -> Result<Report, E> {
        let bare = self.bare(host)?;
        let mut report = self.cold.empty_report(host, "warm")?;
        for turn in turns(&Subject::WARM, self.cold.runs, self.cold.baseline_turns()) {
            let load = machine::load();
            let measured = self.launch(host, turn.1, &bare)?;
            let launch = launch(turn, &measured, load);
            report.launches.push(launch);
            report_to(&report, &launch)?;
        }
        self.crowds(host, &mut report)?;
        Ok(report)
    }

    /// Many at once: what they take, and how many start in a second.
    fn crowds(&self, host: &Host, report: &mut Report) -> Result<(), BenchError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let admission = Admission::new(&self.cold.folder.join("admission"), cores)?;
        for vms in HELD {
            match crowd::memory(host, self.request, &admission, vms) {
                Ok(memory) => report.memory.push(memory),
                // A host that cannot hold them has no figure.
                Err(BenchError::Launching(error)) if matches!(*error, LaunchError::MemoryOfAll { .. }) => {
                    tracing::warn!(%error, "not measured");
                }
                Err(error) => return Err(error),
            }
        }
        for in_flight in IN_FLIGHT {
            report.rates.push(crowd::rate(host, self.request, in_flight)?);
        }
        Ok(())
    }

    fn launch(&self, host: &Host, subject: Subject, bare: &BareRestore) -> Result<Measured, BenchError> {
        match subject {
            Subject::RestoreFloor => restore(host, bare),
            Subject::Warm | Subject::WarmShared | Subject::WarmProgram => self.launch_warm(host, subject),
            _ => self.cold.launch_job(host, subject),
        }
    }

    fn launch_warm(&self, host: &Host, subject: Subject) -> Result<Measured, BenchError> {
        let words = ["--boot".into(), "direct".into()];
        let words = words.iter().chain(&self.options);
        let run = self.cold.run_of(self.cold.job.of(subject), self.cold.image, words);
        measure(host, &run, job::LINE, RUN_LIMIT)
    }

    fn bare(&self, host: &Host) -> Result<BareRestore, BenchError> {
        let folder = self.cold.folder.join("bare");
        std::fs::create_dir(&folder).map_err(BenchError::io(&folder))?;
        Ok(BareRestore::prepare(host, self.request, self.warm, &folder)?)
    }
}

fn restore(host: &Host, bare: &BareRestore) -> Result<Measured, BenchError> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for said in &bare.sockets {
        let (mut our, their) = UnixStream::pair().map_err(BenchError::io("a socket"))?;
        our.write_all(said).map_err(BenchError::io("a socket"))?;
        ours.push(our);
        theirs.push(OwnedFd::from(their));
    }
    measure_with(host, &bare.invocation, &theirs, job::LINE, FLOOR_LIMIT)
}
