//! One launch from the private folder to its removal.
//!
//! Whatever happens, the hypervisor's process is gone and its folder removed when [`launch`]
//! returns; when the launcher is killed outright, the kernel kills the hypervisor and the next
//! launch removes the folder ([`super::reap`]).

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::backend::Backend;
use super::collect;
use super::error::LaunchError;
use super::failure_logs;
use super::logs::Logs;
use super::memory;
use super::prepare;
use super::relay::Relay;
use super::request::{Interrupt, LaunchRequest, Streams};
use super::restore::Restore;
use super::scratch::ScratchFolder;
use super::session::{End, Outcome, Session};
use super::template::{self, Template, TemplateError};
use super::virtualbox;
use crate::exec::Host;
use crate::guest::result_disk::Ending;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::machine::Machine;
use crate::image::hold::{Hold, hold};
use crate::timing::{Phase, Timeline};

/// Runs `request`'s job in a fresh VM. `interrupts` is asked for signals until the end.
///
/// Must be called from a thread that lives until it returns (the hypervisor is tied to it).
pub fn launch(
    host: &Host,
    request: &LaunchRequest,
    streams: Streams,
    interrupts: Receiver<Interrupt>,
    timeline: &mut Timeline,
) -> Result<Outcome, LaunchError> {
    memory::check(request.hypervisor, request.memory)?;
    let _hold = hold_image(request);
    let folder = ScratchFolder::create(&request.scratch_parent, request.keep)?;
    let machine = prepare::machine(request, folder.path())?;
    prepare::make_disks(host, request, folder.path())?;
    let backend = Backend::register(host, request, &machine, folder.path())?;
    timeline.mark(Phase::Cloned);
    let early: Vec<Interrupt> = interrupts.try_iter().collect();
    if let Some(signal) = early.iter().find_map(Interrupt::stop_signal) {
        return Err(LaunchError::Interrupted(signal));
    }
    let relay = Relay::new(interrupts);
    early.into_iter().rev().for_each(|interrupt| relay.keep(interrupt));
    let mut attempts = Attempts {
        host,
        request,
        folder: folder.path(),
        machine,
        backend,
        relay,
        streams: Some(streams),
        timeline,
    };
    let verdict = attempts
        .run()
        .map_err(|error| with_logs(named(error, request), request, folder.path()));
    // Outputs are worth having even when the job failed; its failure is worth more than theirs.
    let collected = match &verdict {
        Ok(outcome) if !matches!(outcome.ending, Ending::NotStarted(_)) => {
            collect::collect(&folder.path().join(prepare::RESULT_DISK), &request.outputs)
        }
        _ => Ok(()),
    };
    drop(attempts);
    drop(folder);
    timeline.mark(Phase::Discarded);
    let outcome = verdict?;
    match (collected, outcome.ending) {
        (Err(error), Ending::Exited(0)) => Err(error),
        (Err(error), _) => {
            tracing::warn!(%error, "the failed job's outputs are incomplete");
            Ok(outcome)
        }
        (Ok(()), _) => Ok(outcome),
    }
}

/// What the ways to start a machine for one job have in common: a restored one, and if that never reports, one
/// that is started cold.
struct Attempts<'a> {
    host: &'a Host,
    request: &'a LaunchRequest,
    folder: &'a Path,
    machine: Machine,
    backend: Backend,
    relay: Relay,
    streams: Option<Streams>,
    timeline: &'a mut Timeline,
}

/// Whether a machine that never ran is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    Another,
    Last,
}

impl Attempts<'_> {
    fn run(&mut self) -> Result<Outcome, LaunchError> {
        if let Some(template) = self.template()? {
            if let Some(verdict) = self.restore(&template)? {
                return verdict;
            }
            self.timeline.mark(Phase::RestoreFailed);
            tracing::warn!("the machine could not be restored from its template: it is started cold");
            if let Some(warm) = &self.request.warm {
                template::discard(warm, &template);
            }
        }
        let machine = self.machine.clone();
        self.backend.make_clone(self.host, self.request, &machine, None)?;
        if let Some(verdict) = self.attempt(&machine, None, Tries::Another)? {
            return verdict;
        }
        tracing::warn!("the hypervisor ended before the machine ran: it is started once more");
        self.attempt(&machine, None, Tries::Last)?
            .unwrap_or(Err(LaunchError::Interrupted(0)))
    }

    /// The template to restore the machine from, if it is to be and can be.
    fn template(&mut self) -> Result<Option<Template>, LaunchError> {
        let Some(warm) = &self.request.warm else {
            return Ok(None);
        };
        match template::obtain(self.host, self.request, warm, &self.relay) {
            Ok(obtained) => {
                if obtained.made {
                    self.timeline.mark(Phase::TemplateMade);
                }
                Ok(Some(obtained.template))
            }
            Err(TemplateError::Machine(error)) => Err(*error),
            Err(error @ TemplateError::Impossible { .. }) if warm.insist => Err(error.into()),
            Err(error @ TemplateError::First { key, .. }) => {
                tracing::info!(%error, "a cold start");
                // Later launches know from this how long they need not wait.
                if let Some(templates) = warm.templates.clone() {
                    let began = Instant::now();
                    let note = move || templates.note_boot(key, began.elapsed());
                    self.timeline.when(Phase::GuestReady, note);
                }
                Ok(None)
            }
            Err(
                error @ (TemplateError::Impossible { .. }
                | TemplateError::Busy { .. }
                | TemplateError::NotMade { .. }
                | TemplateError::FailedBefore { .. }
                | TemplateError::Stopped),
            ) => {
                tracing::info!(%error, "a cold start");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "there is no template: a cold start");
                Ok(None)
            }
        }
    }

    /// Runs the job in a copy of `template`; `None` when the copy never reported.
    fn restore(&mut self, template: &Template) -> Result<Option<Result<Outcome, LaunchError>>, LaunchError> {
        let restore = Restore::new(&template.folder, &self.folder.join(prepare::JOB_DISK))?;
        let mut machine = self.machine.clone();
        machine.template = Some(template::restored(&machine, &template.folder));
        let saved = Some(template.folder.as_path());
        self.backend.make_clone(self.host, self.request, &machine, saved)?;
        self.attempt(&machine, Some(&restore), Tries::Last)
    }

    /// Runs the job in `machine`; `None` when it was to be restored and never reported, or never ran and there is
    /// another try.
    fn attempt(
        &mut self,
        machine: &Machine,
        restore: Option<&Restore>,
        tries: Tries,
    ) -> Result<Option<Result<Outcome, LaunchError>>, LaunchError> {
        let logs = Logs {
            hypervisor: self.folder.join("hypervisor.log"),
            console: machine.console.clone(),
        };
        let spawned = self
            .backend
            .spawn(self.host, machine, &logs.hypervisor, restore, &self.relay)?;
        self.timeline.mark(Phase::HypervisorStarted);
        let mut session = Session::new(
            spawned,
            &mut self.streams,
            &self.relay,
            self.request.limits,
            self.timeline,
            logs,
        );
        let end = session.run();
        if session.is_not_restored() {
            tracing::info!(?end, said = session.last_words(), "the restored machine did not report");
            return Ok(None);
        }
        if tries == Tries::Another && matches!(end, End::Gone) && session.is_booting() && self.backend.may_try_again() {
            tracing::info!(said = session.last_words(), "the machine did not run");
            return Ok(None);
        }
        session.consult(&self.folder.join(prepare::RESULT_DISK));
        Ok(Some(session.judge(end)))
    }
}

/// Keeps `hpcvm image gc` from removing the image under the machine. A file system without locks is
/// no reason not to run: a sweep leaves images alone whose lock it cannot have.
fn hold_image(request: &LaunchRequest) -> Option<Hold> {
    let held = hold(request.image.disk.parent()?);
    held.inspect_err(|error| tracing::debug!(%error, "the image cannot be held"))
        .ok()
}

/// Keeps what a machine of `VirtualBox` said that failed its job.
fn with_logs(error: LaunchError, request: &LaunchRequest, folder: &Path) -> LaunchError {
    if matches!(error, LaunchError::HypervisorKilled) && virtualbox::is_disk_full(folder) {
        return LaunchError::Scratch {
            path: folder.to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
    }
    let place = request.failure_logs.as_ref().filter(|_| !request.keep);
    let is_ours = request.hypervisor == Hypervisor::VirtualBox && error.is_the_machine_s();
    let Some(place) = place.filter(|_| is_ours) else {
        return error;
    };
    match failure_logs::keep(folder, place) {
        Ok(folder) => LaunchError::Logged {
            error: Box::new(error),
            folder,
        },
        Err(reason) => {
            tracing::warn!(place = %place.display(), %reason, "the machine's logs are not kept");
            error
        }
    }
}

/// Adds what only the request knows to an error.
fn named(error: LaunchError, request: &LaunchRequest) -> LaunchError {
    match error {
        LaunchError::Folder { source, .. } => LaunchError::Folder {
            folder: request.job_folder(),
            source,
        },
        LaunchError::Command {
            source, interpreter, ..
        } => {
            let command = request
                .job
                .command
                .first()
                .map(|name| name.to_string_lossy().into_owned());
            LaunchError::Command {
                command: command.unwrap_or_default(),
                image: request.image.name.clone(),
                source,
                interpreter,
            }
        }
        other => other,
    }
}
