//! One launch from the private folder to its removal: the state machine of a VM's life.
//!
//! Threads turn everything that can happen (reports, output, signals, the hypervisor's end)
//! into messages; [`Session::run`] alone decides. Whatever happens, the hypervisor's process is
//! gone and its folder removed when [`launch`] returns; when the launcher is killed outright,
//! the kernel kills the hypervisor and the next launch removes the folder ([`super::reap`]).

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::collect;
use super::error::LaunchError;
use super::events::{Message, forward, listen, watch};
use super::logs::Logs;
use super::memory;
use super::patience::Patience;
use super::prepare;
use super::request::{Interrupt, LaunchRequest, Limits, Streams};
use super::scratch::ScratchFolder;
use super::streams::{Channel, pump_input, pump_output};
use super::verdict;
use crate::exec::{Host, Invocation};
use crate::guest::control::{Order, Report, Step};
use crate::guest::result_disk::{Ending, HEADER_LENGTH, ResultHeader};
use crate::hypervisor::qemu;
use crate::image::hold::{Hold, hold};
use crate::remedy::{Lack, Listener};
use crate::timing::{Phase, Timeline};

/// Time beyond the grace for the guest to pass on what its job wrote before it was killed.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Why a job was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// This signal came.
    Signal(i32),
    /// Its time was up.
    TimeLimit,
}

/// A job that ran to an end.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Why it was told to stop, if it was.
    pub stopped: Option<StopReason>,
    /// Exit status of the guest's tar that packed the outputs.
    pub outputs_status: u32,
    /// What a loader said on the job's standard error that it lacks; empty where it succeeded.
    pub lacks: Vec<Lack>,
}

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
    memory::check(request.memory)?;
    let _hold = hold_image(request);
    let folder = ScratchFolder::create(&request.scratch_parent, request.keep)?;
    let machine = prepare::machine(request, folder.path())?;
    prepare::make_disks(host, request, &machine, folder.path())?;
    timeline.mark(Phase::Cloned);
    let early: Vec<Interrupt> = interrupts.try_iter().collect();
    if let Some(signal) = early.iter().find_map(Interrupt::stop_signal) {
        return Err(LaunchError::Interrupted(signal));
    }
    let line = qemu::command_line(&machine)?;
    let log_path = folder.path().join("hypervisor.log");
    let log = File::create(&log_path).map_err(|source| LaunchError::Scratch {
        path: log_path.clone(),
        source,
    })?;
    let (ours, theirs) = sockets().map_err(|source| LaunchError::Scratch {
        path: folder.path().to_owned(),
        source,
    })?;
    let invocation = Invocation::new(line.program).args(line.arguments);
    let child = host.spawn_tethered(&invocation, &log, &theirs)?;
    drop(theirs);
    timeline.mark(Phase::HypervisorStarted);
    let logs = Logs {
        hypervisor: log_path,
        console: machine.console,
    };
    let mut session = Session::new(child, ours, streams, interrupts, request, timeline, logs);
    for interrupt in early {
        session.take(Message::Interrupted(interrupt));
    }
    let end = session.run();
    session.consult(&folder.path().join("result.disk"));
    let verdict = session.judge(end).map_err(|error| named(error, request));
    drop(session);
    // Outputs are worth having even when the job failed; its failure is worth more than theirs.
    let collected = match &verdict {
        Ok(outcome) if !matches!(outcome.ending, Ending::NotStarted(_)) => {
            collect::collect(&folder.path().join("result.disk"), &request.outputs)
        }
        _ => Ok(()),
    };
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

/// Keeps `hpcvm image gc` from removing the image under the machine. A file system without locks is
/// no reason not to run: a sweep leaves images alone whose lock it cannot have.
fn hold_image(request: &LaunchRequest) -> Option<Hold> {
    let held = hold(request.image.disk.parent()?);
    held.inspect_err(|error| tracing::debug!(%error, "the image cannot be held"))
        .ok()
}

fn sockets() -> std::io::Result<(Vec<UnixStream>, Vec<OwnedFd>)> {
    let pairs = prepare::PORTS
        .iter()
        .map(|_| UnixStream::pair())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(pairs
        .into_iter()
        .map(|(ours, theirs)| (ours, OwnedFd::from(theirs)))
        .unzip())
}

/// How the session itself came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// The hypervisor's process ended by itself or after the guest's power-off.
    Gone,
    /// The guest did not report in time.
    BootTimeout,
    /// Killed: this signal came and nothing had started, or the grace time was over.
    Killed,
}

/// How far the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Booting,
    /// The job runner mounts and unpacks what the job needs.
    Preparing,
    Running,
    /// The job is over; its output may still be on its way.
    Draining,
    PoweringOff,
}

struct Session<'a> {
    child: Child,
    exited: Option<ExitStatus>,
    control: UnixStream,
    /// Held open: QEMU throws away what it has not read when its peer hangs up.
    _stdin: UnixStream,
    messages: Receiver<Message>,
    limits: Limits,
    timeline: &'a mut Timeline,
    logs: Logs,
    state: State,
    /// When patience with the present state ends.
    patience: Patience,
    boot_began: Duration,
    arrived: [u64; 2],
    streams_open: u8,
    stopped: Option<StopReason>,
    report: Option<(Step, ResultHeader)>,
    problem: Option<String>,
    interpreter: Option<String>,
    /// Reads the job's standard error along.
    listener: Arc<Mutex<Listener>>,
}

impl<'a> Session<'a> {
    fn new(
        child: Child,
        ours: Vec<UnixStream>,
        streams: Streams,
        interrupts: Receiver<Interrupt>,
        request: &LaunchRequest,
        timeline: &'a mut Timeline,
        logs: Logs,
    ) -> Self {
        let (tell, messages) = channel();
        let mut ports = ours.into_iter();
        let mut port = || ports.next().expect("a socket for each port");
        let control = port();
        let stdin = port();
        pump_input(streams.stdin, &stdin);
        pump_output(Channel::Stdout, port(), streams.stdout, tell.clone(), |_| {});
        let listener = Arc::new(Mutex::new(Listener::default()));
        let reader = listener.clone();
        pump_output(Channel::Stderr, port(), streams.stderr, tell.clone(), move |bytes| {
            reader.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        });
        listen(&control, tell.clone());
        forward(interrupts, tell.clone());
        watch(&child, tell);
        Self {
            child,
            exited: None,
            control,
            _stdin: stdin,
            messages,
            limits: request.limits,
            boot_began: timeline.elapsed(),
            timeline,
            logs,
            state: State::Booting,
            patience: Patience::of(request.limits.boot),
            arrived: [0; 2],
            streams_open: 3,
            stopped: None,
            report: None,
            problem: None,
            interpreter: None,
            listener,
        }
    }

    /// Runs until the hypervisor's process is gone and all it had sent has been passed on.
    fn run(&mut self) -> End {
        loop {
            let end = match self.next_message() {
                Ok(Message::HypervisorGone) => Some(End::Gone),
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.lose_patience(),
                Err(RecvTimeoutError::Disconnected) => Some(End::Killed),
            };
            if let Some(end) = end {
                self.reap();
                self.drain_streams();
                self.timeline.mark(Phase::PoweredOff);
                return end;
            }
        }
    }

    fn next_message(&mut self) -> Result<Message, RecvTimeoutError> {
        self.patience.wait(&self.messages)
    }

    fn take(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Reported(report) => self.take_report(report),
            Message::Babble(line) => tracing::warn!(line, "the guest sent no report"),
            Message::Arrived(channel, bytes) => {
                self.timeline.mark(Phase::FirstOutput);
                self.arrived[channel as usize] += bytes;
                self.acknowledge_when_complete();
            }
            Message::NobodyReads(Channel::Stdout) => self.order(Order::CloseStdout),
            Message::NobodyReads(Channel::Stderr) => self.order(Order::CloseStderr),
            Message::StreamEnded => self.streams_open = self.streams_open.saturating_sub(1),
            Message::Interrupted(Interrupt::Kill) => return Some(End::Killed),
            Message::Interrupted(Interrupt::Stop(signal)) => {
                self.go_on();
                return self.stop(StopReason::Signal(signal));
            }
            Message::Interrupted(Interrupt::Pause) => self.pause(),
            Message::Interrupted(Interrupt::Continue) => self.go_on(),
            Message::HypervisorGone => return Some(End::Gone),
        }
        None
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Ready { uptime, init } => {
                self.timeline.mark(Phase::GuestReady);
                self.mark_guest_time(uptime, init);
                self.state = State::Preparing;
                self.patience = Patience::of(self.limits.boot);
            }
            Report::Started { .. } => {
                self.timeline.mark(Phase::JobStarted);
                self.state = State::Running;
                if self.stopped.is_none() {
                    self.patience = self.limits.job.map_or_else(Patience::endless, Patience::of);
                }
            }
            Report::Problem(problem) => self.problem = Some(problem),
            Report::Interpreter(path) => self.interpreter = Some(path),
            Report::Ended { step, result, .. } => {
                self.report = Some((step, result));
                self.state = State::Draining;
                self.patience = Patience::endless();
                self.acknowledge_when_complete();
            }
        }
    }

    /// Places the start of the guest's init, known in the guest's time, on our clock.
    fn mark_guest_time(&mut self, uptime: Duration, init: Option<Duration>) {
        let now = self.timeline.elapsed();
        if let Some(before) = init.and_then(|init| uptime.checked_sub(init))
            && let Some(at) = now.checked_sub(before)
            && at >= self.boot_began
        {
            self.timeline.mark_at(Phase::InitStarted, at);
        }
    }

    /// Lets the guest power off once all that the job wrote is here.
    fn acknowledge_when_complete(&mut self) {
        let Some((_, result)) = &self.report else { return };
        let complete = self.arrived[0] >= result.stdout_bytes && self.arrived[1] >= result.stderr_bytes;
        if self.state == State::Draining && complete {
            self.timeline.mark(Phase::JobEnded);
            self.order(Order::Acknowledge);
            self.state = State::PoweringOff;
            self.patience = Patience::of(self.limits.power_off);
        }
    }

    /// Asks the guest to end the job; a guest that has not started it is simply killed.
    fn stop(&mut self, reason: StopReason) -> Option<End> {
        match self.state {
            State::Booting => {
                self.stopped = Some(reason);
                Some(End::Killed)
            }
            State::Preparing | State::Running if self.stopped.is_none() => {
                self.stopped = Some(reason);
                self.order(Order::Stop {
                    grace: self.limits.grace,
                });
                self.patience = Patience::of(self.limits.grace + STOP_MARGIN);
                None
            }
            // Told twice: whoever sends signals has no more patience.
            State::Preparing | State::Running => Some(End::Killed),
            State::Draining | State::PoweringOff => {
                self.patience = Patience::of(STOP_MARGIN);
                None
            }
        }
    }

    fn lose_patience(&mut self) -> Option<End> {
        match self.state {
            State::Booting => Some(End::BootTimeout),
            State::Preparing if self.stopped.is_none() => Some(End::BootTimeout),
            State::Running if self.stopped.is_none() => self.stop(StopReason::TimeLimit),
            State::Preparing | State::Running | State::Draining | State::PoweringOff => Some(End::Killed),
        }
    }

    /// Stops the hypervisor's process, all threads of it, and the clocks of our patience.
    fn pause(&mut self) {
        self.patience.pause();
        self.signal(Signal::STOP);
    }

    fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.patience.go_on();
    }

    fn signal(&self, signal: Signal) {
        // Our child keeps its number until it is waited for; one that has ended needs no signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    fn order(&mut self, order: Order) {
        // A guest that is gone is noticed by the hypervisor's end.
        let _ = self.control.write_all(order.line().as_bytes());
    }

    /// Kills the hypervisor if it still runs, and waits for it.
    fn reap(&mut self) {
        let _ = self.child.kill();
        self.exited = self.child.wait().ok();
    }

    /// Passes on what the hypervisor had sent before it ended. Somebody who reads no more cannot
    /// hold up a launch that was told to stop.
    fn drain_streams(&mut self) {
        // A session that is told to stop while it waits has as much patience from then on.
        self.patience = self
            .stopped
            .map_or_else(Patience::endless, |_| Patience::of(STOP_MARGIN));
        while self.streams_open > 0 {
            match self.next_message() {
                Ok(Message::Arrived(channel, bytes)) => self.arrived[channel as usize] += bytes,
                Ok(Message::StreamEnded) => self.streams_open -= 1,
                Ok(Message::Reported(Report::Ended { step, result, .. })) => self.report = Some((step, result)),
                Ok(Message::Reported(Report::Problem(problem))) => self.problem = Some(problem),
                Ok(Message::Reported(Report::Interpreter(path))) => self.interpreter = Some(path),
                Ok(Message::Interrupted(Interrupt::Stop(signal))) => {
                    self.stopped = Some(StopReason::Signal(signal));
                    self.patience = Patience::of(STOP_MARGIN);
                }
                Ok(Message::Interrupted(Interrupt::Kill)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Takes the result disk's word where the guest's own did not arrive.
    fn consult(&mut self, disk: &std::path::Path) {
        let mut header = [0; HEADER_LENGTH];
        let read = File::open(disk).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
        if self.report.is_none() && read.is_ok() {
            let ran = |result: &ResultHeader| !matches!(result.ending, Ending::NotStarted(_));
            self.report = ResultHeader::decode(&header)
                .filter(ran)
                .map(|result| (Step::Ran, result));
        }
    }

    fn judge(&self, end: End) -> Result<Outcome, LaunchError> {
        verdict::judge(&verdict::Evidence {
            end,
            hypervisor: self.exited,
            booted: self.timeline.at(Phase::GuestReady).is_some(),
            stopped: self.stopped,
            report: self.report,
            problem: self.problem.clone(),
            interpreter: self.interpreter.clone(),
            lacks: std::mem::take(&mut *self.listener.lock().unwrap_or_else(PoisonError::into_inner)).finish(),
            arrived: self.arrived,
            limits: self.limits,
            logs: &self.logs,
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // Reached without reap() only when something panicked.
        if self.exited.is_none() {
            self.reap();
        }
    }
}
