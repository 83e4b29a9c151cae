//! Makes a template: boots the machine, waits until it is ready for a job, and saves it.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::TemplateError;
use super::key;
use super::store::{STATE, Scope, Template, Templates};
use crate::digest::Digest;
use crate::exec::Host;
use crate::guest::control::Report;
use crate::guest::template_disk::Expected;
use crate::hypervisor::machine::{Machine, TemplateRole};
use crate::hypervisor::monitor::Monitor;
use crate::hypervisor::qemu_version::too_old_to_save;
use crate::launch::LaunchError;
use crate::launch::events::{Message, listen, watch};
use crate::launch::logs::{Logs, words};
use crate::launch::prepare;
use crate::launch::relay::Relay;
use crate::launch::request::{Interrupt, LaunchRequest, WarmStart};
use crate::launch::spawn::spawn;

/// How often a launch that waits for another's template looks for it.
const GLANCE: Duration = Duration::from_millis(20);
/// What the state takes on the disk besides the memory.
const STATE_ROOM: u64 = 8 << 20;
/// How long the hypervisor may take to end after it was told to.
const QUIT: Duration = Duration::from_secs(5);

/// A template and whether it was made for this launch.
#[derive(Debug)]
pub(in crate::launch) struct Obtained {
    pub(in crate::launch) template: Template,
    pub(in crate::launch) made: bool,
}

/// Makes the template of `request` where there is none, even if that failed a short time ago; returns whether it did.
///
/// Must be called from a thread that lives until it returns (the hypervisor is tied to it).
pub fn make(
    host: &Host,
    request: &LaunchRequest,
    warm: &WarmStart,
    interrupts: Receiver<Interrupt>,
) -> Result<bool, TemplateError> {
    let relay = Relay::new(interrupts);
    obtain(host, request, warm, &relay).map(|obtained| obtained.made)
}

/// The template for `request`: found, at the site first, or made. Who does not insist makes none for the first launch of its
/// kind, which may be the only one, and waits for another launch that makes it only if that is sooner than to boot.
pub(in crate::launch) fn obtain(
    host: &Host,
    request: &LaunchRequest,
    warm: &WarmStart,
    relay: &Relay,
) -> Result<Obtained, TemplateError> {
    let image = || request.image.name.clone();
    if let Some(why) = key::obstacle(request) {
        return Err(TemplateError::Impossible { image: image(), why });
    }
    let found = |template| Obtained { template, made: false };
    if let Some(template) = of_site(host, request, warm)? {
        return Ok(found(template));
    }
    let Some(templates) = &warm.templates else {
        return Err(TemplateError::NotMade { image: image() });
    };
    let key = key::key(host, request, warm, templates.scope())?;
    if let Some(template) = templates.find(key)? {
        return Ok(found(template));
    }
    if templates.failed_lately(key) && !warm.insist {
        return Err(TemplateError::FailedBefore { image: image() });
    }
    if !warm.insist && !templates.seen_before(key) {
        return Err(TemplateError::First { image: image(), key });
    }
    let _right = right_to_make(request, warm, templates, key, relay)?;
    if let Some(template) = templates.find(key)? {
        return Ok(found(template));
    }
    let made = boot_and_save(host, request, warm, templates, key, relay);
    if let Err(error) = &made
        && !matches!(error, TemplateError::Stopped | TemplateError::Full { .. })
    {
        templates.note_failure(key);
    }
    made?;
    let gone = || TemplateError::NotReady {
        image: image(),
        why: "it was removed at once".to_owned(),
    };
    let template = templates.find(key)?.ok_or_else(gone)?;
    Ok(Obtained { template, made: true })
}

/// The site's template, if there is one that has not failed this user.
fn of_site(host: &Host, request: &LaunchRequest, warm: &WarmStart) -> Result<Option<Template>, TemplateError> {
    let Some(site) = &warm.site else {
        return Ok(None);
    };
    let key = key::key(host, request, warm, Scope::Site)?;
    if !warm.insist && site.failed_lately(key) {
        tracing::info!(key = key.short(), "the site's template failed less than an hour ago");
        return Ok(None);
    }
    site.find(key).or_else(|error| {
        // One file of it is not as it should be: a mishap of the site's, not of this launch.
        tracing::warn!(%error, "the site's template is not used");
        Ok(None)
    })
}

/// The right to make `key`, or to look whether another launch has made it meanwhile.
fn right_to_make(
    request: &LaunchRequest,
    warm: &WarmStart,
    templates: &Templates,
    key: Digest,
    relay: &Relay,
) -> Result<File, TemplateError> {
    let image = || request.image.name.clone();
    let began = Instant::now();
    let mut patience = None;
    loop {
        if let Some(right) = templates.try_making(key)? {
            // Whoever had it may have failed.
            if !warm.insist && patience.is_some() && templates.failed_lately(key) {
                return Err(TemplateError::FailedBefore { image: image() });
            }
            return Ok(right);
        }
        let patience = *patience.get_or_insert_with(|| templates.worth_waiting(key));
        if !warm.insist && began.elapsed() >= patience {
            return Err(TemplateError::Busy { image: image() });
        }
        if relay.kept_signal().is_some() {
            return Err(TemplateError::Stopped);
        }
        thread::sleep(GLANCE);
    }
}

/// Has done with a template that could not be restored: an own one is removed, a site's is not tried again soon.
pub(in crate::launch) fn discard(warm: &WarmStart, template: &Template) {
    match (template.scope, &warm.templates, &warm.site) {
        (Scope::Own, Some(templates), _) => templates.discard(template),
        (Scope::Site, _, Some(site)) => site.note_failure(template.key),
        // Templates come from where they were looked for.
        _ => {}
    }
}

fn boot_and_save(
    host: &Host,
    request: &LaunchRequest,
    warm: &WarmStart,
    templates: &Templates,
    key: Digest,
    relay: &Relay,
) -> Result<(), TemplateError> {
    if let Some(found) = too_old_to_save(host, request.image.architecture.qemu_system()) {
        let image = request.image.name.clone();
        return Err(TemplateError::OldHypervisor { image, found });
    }
    let workshop = templates.workshop(request.memory.0.saturating_add(STATE_ROOM))?;
    let machine = machine(request, workshop.path())?;
    let expected = expected(request, templates.scope());
    prepare::make_template_disks(host, request, &machine, workshop.path(), &warm.preparation, expected)?;
    let log = workshop.path().join("hypervisor.log");
    let spawned = spawn(host, &machine, &log, None)?;
    let mut process = Process(spawned.child);
    let (tell, messages) = channel();
    let control = spawned.ports.first().expect("the control port comes first");
    listen(control, tell.clone());
    watch(&process.0, tell.clone());
    relay.pass_to(tell);
    let waited = wait_until_ready(request, &messages, relay);
    relay.take_back(&messages);
    let logs = Logs {
        hypervisor: log,
        console: machine.console,
    };
    waited.map_err(|error| error.with_words(&request.image.name, &logs))?;
    let not_saved = |source| TemplateError::NotSaved {
        image: request.image.name.clone(),
        source,
    };
    let socket = spawned.monitor.expect("a machine with a template has a monitor");
    let mut monitor = Monitor::begin(socket).map_err(not_saved)?;
    monitor.save(&workshop.path().join(STATE)).map_err(not_saved)?;
    // It may end before it has answered.
    let _ = monitor.quit();
    process.end();
    templates.adopt(key, &request.image.name, workshop)
}

/// Who will most likely launch from it: a site's template is for all.
fn expected(request: &LaunchRequest, scope: Scope) -> Option<Expected<'_>> {
    (scope == Scope::Own).then_some(Expected {
        hostname: &request.job.hostname,
        identity: &request.job.identity,
    })
}

/// The machine that is saved: `request`'s, with nothing of its job.
fn machine(request: &LaunchRequest, folder: &Path) -> Result<Machine, TemplateError> {
    let mut machine = prepare::machine(request, folder)?;
    for share in &mut machine.shares {
        share.folder = folder.join(prepare::NOTHING_SHARED);
        share.read_only = true;
    }
    machine.console = folder.join("console.log");
    machine.template = Some(key::template_use(&machine, folder, TemplateRole::Saved));
    Ok(machine)
}

/// Why a guest is not ready.
enum Unready {
    Stopped,
    Ended(&'static str),
    Said(String),
}

impl Unready {
    fn with_words(self, image: &str, logs: &Logs) -> TemplateError {
        let why = match self {
            Self::Stopped => return TemplateError::Stopped,
            Self::Ended(how) => how.to_owned(),
            Self::Said(problem) => problem,
        };
        let said = words(logs);
        let said = said.lines().fold(String::new(), |text, line| text + "\n  | " + line);
        TemplateError::NotReady {
            image: image.to_owned(),
            why: why + &said,
        }
    }
}

fn wait_until_ready(request: &LaunchRequest, messages: &Receiver<Message>, relay: &Relay) -> Result<(), Unready> {
    let deadline = Instant::now() + request.limits.boot;
    let mut problems = Vec::new();
    loop {
        match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Message::Reported(Report::Waiting { .. })) => {
                if !problems.is_empty() {
                    let by_folder = request.libraries.as_ref().is_some_and(|found| found.export.is_none());
                    let hint = if by_folder {
                        "; what is linked by folder comes after the restore: export the generation (hpcvm libs export)"
                    } else {
                        ""
                    };
                    tracing::warn!(
                        "the template lacks what the recipe wants in it: {}{hint}",
                        problems.join("; ")
                    );
                }
                return Ok(());
            }
            Ok(Message::Reported(Report::Problem(said))) => problems.push(said),
            Ok(Message::Reported(Report::Ended { .. })) => {
                return Err(problems
                    .pop()
                    .map_or(Unready::Ended("it would not wait for a job"), Unready::Said));
            }
            Ok(Message::Interrupted(interrupt)) => {
                relay.keep(interrupt);
                return Err(Unready::Stopped);
            }
            Ok(Message::HypervisorGone) => return Err(Unready::Ended("the hypervisor ended")),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Err(Unready::Ended("it did not report in time")),
            Err(RecvTimeoutError::Disconnected) => return Err(Unready::Ended("nothing can be heard of it")),
        }
    }
}

/// A hypervisor that does not outlive its maker.
struct Process(Child);

impl Process {
    /// Waits until it has ended, as it was told to.
    fn end(&mut self) {
        let began = Instant::now();
        while began.elapsed() < QUIT && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl From<TemplateError> for LaunchError {
    fn from(error: TemplateError) -> Self {
        Self::Template(Box::new(error))
    }
}
