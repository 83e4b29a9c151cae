//! `hpcvm run`

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXCPU};
use signal_hook::iterator::Signals;

use super::run_request::{self, Boot, NetworkKind};
use super::{CliError, Context, Exit, accelerator, hypervisor, run_advice, run_libraries, run_scan, run_warm};
use crate::diagnostic::Problem;
use crate::guest::result_disk::Ending;
use crate::launch::slot::{self, SlotVm};
use crate::launch::{self, BootImage, Interrupt, LaunchError, LaunchRequest, Outcome, Streams};
use crate::remedy::Remedy;
use crate::scheduler::Warmth;
use crate::timing::{Phase, Timeline};
use crate::units::Bytes;

/// Arguments of `hpcvm run`.
#[derive(Debug, clap::Args)]
#[command(
    trailing_var_arg = true,
    after_long_help = "The VM is a filter: standard input, output, error and the exit status are the job's own. \
                       The working directory is shared with the guest at the same path. docs/exit-codes.md \
                       lists what 120 and above mean."
)]
pub struct Args {
    /// A name, NAME@DIGITS, the first digits of a digest, or the path of an image's folder
    pub(super) image: String,
    /// The command and its arguments
    #[arg(required = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(super) command: Vec<OsString>,
    #[command(flatten)]
    pub(super) options: JobOptions,
    #[command(flatten)]
    pub(super) templates: run_warm::PlaceArgs,
    #[command(flatten)]
    pub(super) site: run_warm::SiteArgs,
    /// Print the hypervisor's command line and start nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print where the time went to standard error
    #[arg(long)]
    pub(super) timing: bool,
    /// Write how it ended and where the time went to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

/// What the VM and its job are given, however they are started.
#[derive(Debug, clap::Args)]
pub(super) struct JobOptions {
    /// Virtual processors [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(super) cpus: Option<u32>,
    /// Guest memory, such as 512M [default: the recipe's]
    #[arg(long, value_name = "SIZE")]
    pub(super) memory: Option<Bytes>,
    /// An empty disk of this size at /scratch
    #[arg(long, value_name = "SIZE")]
    pub(super) scratch: Option<Bytes>,
    #[command(flatten)]
    pub(super) libraries: run_libraries::LibraryArgs,
    /// Set a variable for the job, or pass one of this environment on
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<OsString>,
    /// Share a host folder with the job; ends in :ro if the job may not write to it
    #[arg(long, value_name = "HOST[:GUEST][:ro]")]
    pub(super) share: Vec<OsString>,
    /// Do not share the working directory
    #[arg(long)]
    pub(super) no_cwd: bool,
    /// The job's working directory in the guest
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// Copy a file or folder into the guest before the job starts
    #[arg(long, value_name = "HOST[:GUEST]")]
    pub(super) input: Vec<OsString>,
    /// Copy a file or folder out of the guest after the job has ended
    #[arg(long, value_name = "GUEST[:HOST]")]
    pub(super) output: Vec<OsString>,
    /// The guest's network: none, or user for outgoing connections
    #[arg(long, value_name = "KIND", default_value = "none", hide_possible_values = true)]
    pub(super) net: NetworkKind,
    /// Stop the job after this time, such as 90s or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    /// Time between asking the job to stop and killing it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) grace: Duration,
    /// Time the guest may take to start [default: 3m, or 10m for guests with their own init]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) boot_timeout: Option<Duration>,
    /// How the guest starts: auto, direct, bios (q35 with AHCI) or bios-ide (440FX with IDE)
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    pub(super) boot: Boot,
    /// Start from nothing (cold), from a template that the first launch makes (warm), or auto: from a template where a
    /// node cache is named, which the second launch of a kind makes
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    pub(super) start: Warmth,
    /// What runs the machine: qemu, virtualbox, or auto (QEMU with KVM, else the other with its driver, else QEMU)
    #[arg(long, value_name = "NAME", default_value = "auto", hide_possible_values = true)]
    pub(super) hypervisor: hypervisor::Wanted,
    /// What executes the guest's instructions: auto, kvm (the processor itself) or tcg (emulation)
    #[arg(long, value_name = "KIND", default_value = "auto", hide_possible_values = true)]
    pub(super) accel: accelerator::Wanted,
    /// Write the guest's console to a file
    #[arg(long, value_name = "FILE")]
    pub(super) console: Option<PathBuf>,
    /// Keep the clone, the disks and the logs, and say where they are
    #[arg(long)]
    pub(super) keep: bool,
    /// Do not look beforehand whether a program of yours would find its libraries in the guest
    #[arg(long)]
    pub(super) no_scan: bool,
}

/// Reads `90`, `90s`, `5m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("'{text}' is not a time: write 90s, 5m or 2h"))?;
    Duration::try_from(span).map_err(|_| format!("'{text}' is less than nothing"))
}

/// Runs one job in a fresh VM.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut timeline = Timeline::since(Instant::now());
    // Before anything is made: from here on every signal ends in a clean removal.
    let interrupts = catch_signals();
    let image = context.store().find(&args.image)?;
    image.check_lengths()?;
    let boot_image = BootImage::from(&image);
    let options = &args.options;
    let (hypervisor, accelerator) =
        hypervisor::choose(context, options.hypervisor, options.accel, boot_image.architecture)?;
    let mut request = run_request::build(
        context,
        &args.options,
        args.command.clone(),
        boot_image,
        &image.manifest.run,
        accelerator,
    )?;
    run_libraries::attach(context, &image, &args.options.libraries, &mut request)?;
    hypervisor::apply(hypervisor, &mut request);
    let warmth = hypervisor::warmth(hypervisor, args.options.start);
    let site = args.site.site_templates.as_deref();
    run_warm::attach(context, &image, warmth, &args.templates, site, &mut request)?;
    if args.dry_run {
        context.ui.print(format!("{}\n", launch::dry_run(&request)?))?;
        return Ok(Exit::Done);
    }
    if !args.options.no_scan {
        run_scan::check(context, &image, &request)?;
    }
    let reaped = launch::reap(&request.scratch_parent);
    if reaped > 0 {
        tracing::info!(folders = reaped, "removed what killed launches had left");
    }
    timeline.mark(Phase::Checked);
    let (result, timeline) = launch_in_turn(context, &args.templates, &request, interrupts, timeline);
    let remedies = run_advice::of(context, &image, &request, &result);
    if args.timing {
        context.ui.complain(&timeline.table());
    }
    if let Some(path) = &args.report {
        crate::durable::write(path, report(&result, &timeline, &remedies).as_bytes())?;
    }
    let end = end(context, result);
    run_advice::tell(context, &remedies);
    Ok(end)
}

/// Launches it as a slot's only VM: it boots in turn with all others that this user starts on this machine.
fn launch_in_turn(
    context: &Context,
    place: &run_warm::PlaceArgs,
    request: &LaunchRequest,
    interrupts: Receiver<Interrupt>,
    timeline: Timeline,
) -> (Result<Outcome, LaunchError>, Timeline) {
    let begun = timeline.start();
    let vm = SlotVm {
        request: request.clone(),
        streams: streams(),
        timeline,
    };
    let admission = run_warm::admission(context, place);
    let ends = slot::run(&context.host, vec![vm], admission.as_ref(), interrupts, &|_, _| ());
    match ends.map(|mut ends| ends.pop()) {
        Ok(end) => {
            let end = end.expect("the slot had one VM");
            (end.result, end.timeline)
        }
        Err(error) => (Err(error), Timeline::since(begun)),
    }
}

/// The exit status of a launch; errors of the launch itself are told.
fn end(context: &Context, result: Result<Outcome, LaunchError>) -> Exit {
    let exit = exit_of(&result);
    if let Err(error) = result {
        super::program::report(&context.ui, &error.into());
    }
    exit
}

/// The exit status that tells how a launch ended.
pub(super) fn exit_of(result: &Result<Outcome, LaunchError>) -> Exit {
    match result {
        Ok(outcome) => match outcome.ending {
            Ending::Exited(status) => Exit::Job(status),
            Ending::Killed(signal) => Exit::Signal(signal),
            Ending::NotStarted(_) => Exit::NotFound,
        },
        Err(LaunchError::Command { source, .. }) if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
        Err(LaunchError::Command { .. }) => Exit::NotExecutable,
        Err(error @ (LaunchError::Interrupted(signal) | LaunchError::Killed(signal))) => {
            u8::try_from(*signal).map_or(Exit::Failed(error.blame()), Exit::Signal)
        }
        Err(error) => Exit::Failed(error.blame()),
    }
}

/// How it ended and where the time went, as JSON.
fn report(result: &Result<Outcome, LaunchError>, timeline: &Timeline, remedies: &[Remedy]) -> String {
    let ending = match result {
        Ok(Outcome {
            ending: Ending::Exited(status),
            stopped,
            ..
        }) => {
            serde_json::json!({"job": "exited", "status": status, "stopped": stopped})
        }
        Ok(Outcome {
            ending: Ending::Killed(signal),
            stopped,
            ..
        }) => {
            serde_json::json!({"job": "killed", "signal": signal, "stopped": stopped})
        }
        Ok(Outcome {
            ending: Ending::NotStarted(errno),
            ..
        }) => serde_json::json!({"job": "not-started", "errno": errno}),
        Err(error) => serde_json::json!({"error": error.code(), "blame": error.blame(), "message": error.to_string()}),
    };
    let mut report = serde_json::json!({"report": 1, "ending": ending, "timeline": timeline.marks()});
    if !remedies.is_empty() {
        report["remedies"] = serde_json::json!(remedies);
    }
    format!("{report:#}\n")
}

/// The process's own streams, unbuffered: the job's bytes pass as they come.
pub(super) fn streams() -> Streams {
    /// Locks standard output for each write only.
    struct Unbuffered;
    impl Write for Unbuffered {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Streams {
        stdin: Box::new(io::stdin()),
        stdout: Box::new(Unbuffered),
        stderr: Box::new(io::stderr()),
    }
}

/// The first signal asks the job to stop, a second one ends it at once.
pub(super) fn catch_signals() -> Receiver<Interrupt> {
    let (tell, interrupts) = channel();
    // Refused only for signals that cannot be caught, which these can.
    if let Ok(signals) = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXCPU]) {
        thread::spawn(move || pass_on(signals, &tell));
    }
    interrupts
}

fn pass_on(mut signals: Signals, tell: &Sender<Interrupt>) {
    for (count, signal) in signals.forever().enumerate() {
        let interrupt = if count == 0 {
            Interrupt::Stop(signal)
        } else {
            Interrupt::Kill
        };
        if tell.send(interrupt).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h 30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
