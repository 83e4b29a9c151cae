//! The state machine of a VM's life, from its hypervisor's start to that process's end.
//!
//! Threads turn everything that can happen (reports, output, signals, the hypervisor's end)
//! into messages; [`Session::run`] alone decides.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::error::LaunchError;
use super::events::{Message, listen, watch};
use super::logs::{Logs, words};
use super::patience::Patience;
use super::relay::Relay;
use super::request::{Interrupt, Limits, Streams};
use super::spawn::Spawned;
use super::spool::Spooling;
use super::streams::{Channel, pump_input, pump_output};
use super::template::Watchdog;
use super::verdict;
use crate::guest::control::{Order, Report, Step};
use crate::guest::result_disk::{Ending, HEADER_LENGTH, ResultHeader};
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

pub(super) struct Session<'a> {
    child: Child,
    exited: Option<ExitStatus>,
    control: UnixStream,
    /// The other ports. Held open: QEMU throws away what it has not read when its peer hangs up.
    ports: Vec<UnixStream>,
    /// The orders of a restored machine; held open for the same reason.
    _monitor: Option<UnixStream>,
    /// The job's streams, until the guest has reported.
    streams: &'a mut Option<Streams>,
    tell: Sender<Message>,
    messages: Receiver<Message>,
    relay: &'a Relay,
    limits: Limits,
    timeline: &'a mut Timeline,
    logs: Logs,
    state: State,
    /// When patience with the present state ends.
    patience: Patience,
    /// Watches a restored machine until it reports.
    watchdog: Option<Watchdog>,
    boot_began: Duration,
    arrived: [u64; 2],
    /// The stream that the host took no more of, and why.
    unwritten: Option<(Channel, io::Error)>,
    streams_open: u8,
    /// Whether the hypervisor's process may be killed when its guest needs it no more.
    may_be_killed: bool,
    /// Where large output stands, and who is told how much by now.
    spooling: Option<Spooling>,
    spools: Vec<Sender<u64>>,
    spools_open: u8,
    stopped: Option<StopReason>,
    report: Option<(Step, ResultHeader)>,
    problem: Option<String>,
    interpreter: Option<String>,
    /// Reads the job's standard error along.
    listener: Arc<Mutex<Listener>>,
}

impl<'a> Session<'a> {
    /// Of the hypervisor `spawned`. `streams` are taken when its guest reports, so that they can be another
    /// session's if it does not.
    pub(super) fn new(
        spawned: Spawned,
        streams: &'a mut Option<Streams>,
        relay: &'a Relay,
        limits: Limits,
        timeline: &'a mut Timeline,
        logs: Logs,
    ) -> Self {
        let (tell, messages) = channel();
        let mut ports = spawned.ports;
        let control = ports.remove(0);
        let is_restored = spawned.monitor.is_some();
        let watchdog = is_restored.then(|| Watchdog::new(spawned.child.id()));
        listen(&control, tell.clone());
        watch(&spawned.child, tell.clone());
        relay.pass_to(tell.clone());
        Self {
            child: spawned.child,
            exited: None,
            control,
            ports,
            _monitor: spawned.monitor,
            streams,
            tell,
            messages,
            relay,
            limits,
            boot_began: timeline.elapsed(),
            timeline,
            logs,
            state: State::Booting,
            patience: Patience::of(watchdog.as_ref().map_or(limits.boot, Watchdog::left)),
            watchdog,
            arrived: [0; 2],
            unwritten: None,
            streams_open: 1,
            may_be_killed: spawned.may_be_killed,
            spooling: spawned.spooling,
            spools: Vec::new(),
            spools_open: 0,
            stopped: None,
            report: None,
            problem: None,
            interpreter: None,
            listener: Arc::default(),
        }
    }

    /// Joins the job's streams to the guest's ports.
    fn join_streams(&mut self) {
        let Some(streams) = self.streams.take() else { return };
        let [stdin, stdout, stderr] = &self.ports[..] else {
            return;
        };
        pump_input(streams.stdin, stdin);
        let reader = self.listener.clone();
        let outputs = [
            pump_output(Channel::Stdout, stdout, streams.stdout, self.tell.clone(), |_| {}),
            pump_output(
                Channel::Stderr,
                stderr,
                streams.stderr,
                self.tell.clone(),
                move |bytes| {
                    reader.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
                },
            ),
        ];
        for output in outputs.into_iter().flatten() {
            self.streams_open += 1;
            if let Some(spooling) = &self.spooling {
                self.spools.push(spooling.follow(output));
                self.spools_open += 1;
            }
        }
    }

    /// Whether the machine was to be restored, and never reported although nobody told it to stop.
    pub(super) fn is_not_restored(&self) -> bool {
        self.watchdog.is_some() && self.timeline.at(Phase::Restored).is_none() && self.stopped.is_none()
    }

    /// Whether the guest has never reported, and nobody told it to stop.
    pub(super) fn is_booting(&self) -> bool {
        self.state == State::Booting && self.stopped.is_none()
    }

    /// Runs until the hypervisor's process is gone and all it had sent has been passed on.
    pub(super) fn run(&mut self) -> End {
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
                self.relay.take_back(&self.messages);
                if !self.is_not_restored() {
                    self.timeline.mark(Phase::PoweredOff);
                }
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
            Message::NobodyReads(channel) => self.close(channel),
            Message::Unwritten(channel, error) => {
                self.unwritten = Some((channel, error));
                self.close(channel);
            }
            Message::StreamEnded => self.streams_open = self.streams_open.saturating_sub(1),
            Message::SpoolEnded => self.spools_open = self.spools_open.saturating_sub(1),
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
                self.begin_preparing();
            }
            Report::Resumed { .. } => {
                self.timeline.mark(Phase::Restored);
                self.order(Order::Go);
                self.begin_preparing();
            }
            // Only who makes a template waits for this; a job's guest does not say it.
            Report::Waiting { .. } => tracing::warn!("the guest waits for another job disk"),
            Report::Started { .. } => {
                self.timeline.mark(Phase::JobStarted);
                self.state = State::Running;
                if self.stopped.is_none() {
                    self.patience = self.limits.job.map_or_else(Patience::endless, Patience::of);
                }
            }
            Report::Spooled(counts) => self.pass_spooled(counts),
            Report::Problem(problem) => self.problem = Some(problem),
            Report::Interpreter(path) => self.interpreter = Some(path),
            Report::Ended {
                step, result, synced, ..
            } => {
                self.may_be_killed &= synced;
                self.report = Some((step, result));
                self.state = State::Draining;
                self.patience = Patience::endless();
                self.acknowledge_when_complete();
            }
        }
    }

    fn pass_spooled(&self, counts: [u64; 2]) {
        for (spool, count) in self.spools.iter().zip(counts) {
            // One that cannot read the disk has said so.
            let _ = spool.send(count);
        }
    }

    fn begin_preparing(&mut self) {
        self.join_streams();
        self.state = State::Preparing;
        self.patience = Patience::of(self.limits.boot);
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
            if self.may_be_killed {
                // A tenth of a warm launch is the guest's power-off.
                self.signal(Signal::KILL);
            } else {
                self.order(Order::Acknowledge);
            }
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
            State::Booting => {
                // A host that was busy with others owes a restored machine that time.
                let more = self.watchdog.as_ref().map_or(Duration::ZERO, Watchdog::left);
                self.patience = Patience::of(more);
                more.is_zero().then_some(End::BootTimeout)
            }
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

    /// Tells the job's programs that nobody takes what they write.
    fn close(&mut self, channel: Channel) {
        self.order(match channel {
            Channel::Stdout => Order::CloseStdout,
            Channel::Stderr => Order::CloseStderr,
        });
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
        while self.streams_open > 0 || self.spools_open > 0 {
            if self.streams_open == 0 {
                // The guest has said its last: what it told is passed on, and no more comes.
                self.spools.clear();
            }
            match self.next_message() {
                Ok(Message::SpoolEnded) => self.spools_open = self.spools_open.saturating_sub(1),
                Ok(Message::Reported(Report::Spooled(counts))) => self.pass_spooled(counts),
                Ok(Message::Arrived(channel, bytes)) => self.arrived[channel as usize] += bytes,
                Ok(Message::StreamEnded) => self.streams_open -= 1,
                Ok(Message::Unwritten(channel, error)) => self.unwritten = Some((channel, error)),
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

    /// What the hypervisor said last.
    pub(super) fn last_words(&self) -> String {
        words(&self.logs)
    }

    /// Takes the result disk's word where the guest's own did not arrive.
    pub(super) fn consult(&mut self, disk: &std::path::Path) {
        let mut header = [0; HEADER_LENGTH];
        let read = File::open(disk).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
        if self.report.is_none() && read.is_ok() {
            let ran = |result: &ResultHeader| !matches!(result.ending, Ending::NotStarted(_));
            self.report = ResultHeader::decode(&header)
                .filter(ran)
                .map(|result| (Step::Ran, result));
        }
    }

    pub(super) fn judge(&self, end: End) -> Result<Outcome, LaunchError> {
        verdict::judge(&verdict::Evidence {
            end,
            hypervisor: self.exited,
            booted: self.state != State::Booting,
            stopped: self.stopped,
            report: self.report,
            problem: self.problem.clone(),
            interpreter: self.interpreter.clone(),
            lacks: std::mem::take(&mut *self.listener.lock().unwrap_or_else(PoisonError::into_inner)).finish(),
            arrived: self.arrived,
            unwritten: self.unwritten.as_ref(),
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
