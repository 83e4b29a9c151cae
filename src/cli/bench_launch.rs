//! `hpcvm bench launch`: the paper's Figure 4 on this cluster.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::scheduler_option::SchedulerArgs;
use super::{CliError, Context, Exit, Steps, bench, job_request};
use crate::bench::BenchError;
use crate::bench::grid::{self, Grid, Launched, Scenario};
use crate::bench::machine::{self, Facts};
use crate::bench::outcome::{Outcome, outcome};
use crate::bench::results::{Ground, Results};
use crate::digest::Digest;
use crate::exec::{Invocation, Runner as _};
use crate::hypervisor::accelerator::Accelerator;
use crate::image::StoredImage;
use crate::progress::Progress as _;
use crate::scheduler::{Kind, Stage};
use crate::timing::LoggerError;
use crate::timing::event::EventKind;
use crate::timing::history::JobHistory;
use crate::timing::journal::{self, JOURNAL_FILE};
use crate::timing::logger::{Limits, Logger};

/// Between two looks at the log; the times themselves come from the launches.
const GLANCE: Duration = Duration::from_millis(100);
/// Connections to a launch's logger at once.
const CONNECTIONS: usize = 4096;

/// Arguments of `hpcvm bench launch`.
#[derive(Debug, clap::Args)]
pub(super) struct LaunchArgs {
    #[command(flatten)]
    of: SchedulerArgs,
    /// The images to launch
    #[arg(
        long,
        value_name = "IMAGE,...",
        value_delimiter = ',',
        default_value = "minimal-i386,unoptimised-i386"
    )]
    images: Vec<String>,
    /// VMs in each slot
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8", value_parser = clap::value_parser!(u32).range(1..=1000))]
    vms: Vec<u32>,
    /// Jobs submitted at once, as an array
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8,16", value_parser = clap::value_parser!(u32).range(1..=10000))]
    jobs: Vec<u32>,
    /// Launches of each scenario
    #[arg(short = 'n', long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Folder for the results, which all nodes share
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Options for the scheduler, as it takes them
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    native: Vec<String>,
    /// Whether nodes get a copy of the images: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    stage: Stage,
    /// How long one launch of a scenario may take
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::run::duration)]
    limit: Duration,
}

/// What all launches of a grid have in common.
struct Bench<'a> {
    context: &'a Context,
    args: &'a LaunchArgs,
    kind: Kind,
    program: PathBuf,
    output: PathBuf,
    interrupted: Arc<AtomicBool>,
}

/// Launches what is left of the grid.
pub(super) fn run(context: &Context, args: &LaunchArgs) -> Result<Exit, CliError> {
    let kind = job_request::scheduler_kind(context, args.of.scheduler);
    let mut images = Vec::new();
    for name in &args.images {
        images.push((name.clone(), bench::find(context, name, false)?));
    }
    let digests: Vec<(String, Digest)> = images
        .iter()
        .map(|(name, image)| (name.clone(), image.digest))
        .collect();
    let mut results = Results::open(&args.output, kind.name(), &digests)?;
    let bench = Bench {
        context,
        args,
        kind,
        program: std::env::current_exe().map_err(BenchError::io("this program's own file"))?,
        output: fs::canonicalize(&args.output).map_err(BenchError::io(&args.output))?,
        interrupted: Arc::default(),
    };
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Refused only for signals that cannot be caught, which these can.
        let _ = signal_hook::flag::register(signal, bench.interrupted.clone());
    }
    let failed = bench.launch_all(&mut results, &images)?;
    if context.ui.json() {
        context.ui.print_json(&results.launches())?;
    } else {
        context.ui.print(grid::table(results.launches()))?;
    }
    if !failed.is_empty() {
        return Err(BenchError::Scenarios { failed }.into());
    }
    Ok(Exit::Done)
}

impl Bench<'_> {
    /// Launches everything that has no result yet; what failed, with reasons.
    fn launch_all(&self, results: &mut Results, images: &[(String, StoredImage)]) -> Result<Vec<String>, CliError> {
        let grid = Grid {
            images: self.args.images.clone(),
            vms: self.args.vms.clone(),
            jobs: self.args.jobs.clone(),
            repeats: self.args.runs,
        };
        let left = grid.left(results.launches());
        let steps = Steps::new(&self.context.ui);
        let machine = self.machine(images);
        let mut failed = Vec::new();
        for (number, (scenario, repeat)) in left.iter().enumerate() {
            let remaining = results.remaining(&left[number..]).map(about).unwrap_or_default();
            steps.step(
                "launch",
                &format!("{} of {}: {scenario}{remaining}", number + 1, left.len()),
            );
            let digest = images
                .iter()
                .find(|(name, _)| *name == scenario.image)
                .map(|(_, image)| image.digest);
            match self.launch(scenario, *repeat, digest.unwrap_or_else(|| Digest::of(b""))) {
                Ok(launched) => {
                    let ground = Ground {
                        scheduler: self.kind.name().to_owned(),
                        machine: machine.clone(),
                        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
                    };
                    results.add(launched, &ground)?;
                }
                Err(why) => {
                    self.context.ui.note(&format!("{scenario}: {why}"));
                    failed.push(format!("{scenario}: {why}"));
                }
            }
            if self.interrupted.load(Ordering::Relaxed) {
                failed.push("the rest: interrupted".to_owned());
                break;
            }
        }
        steps.finish();
        Ok(failed)
    }

    /// One launch with a logger of its own; why there is no result in words.
    fn launch(&self, scenario: &Scenario, repeat: u32, digest: Digest) -> Result<Launched, String> {
        // A socket's name has to be short, and the results' folder may be anywhere.
        let scratch = &self.context.places.scratch;
        let made = tempfile::Builder::new().prefix("hpcvm-bench-").tempdir_in(scratch);
        let folder = made.map_err(|error| format!("no folder can be made in {}: {error}", scratch.display()))?;
        let logger = Logger::open(folder.path(), Some("0.0.0.0:0"), false).map_err(|error| error.to_string())?;
        let (stop, stopped) = UnixStream::pair().map_err(|error| error.to_string())?;
        thread::scope(|scope| {
            let serving = scope.spawn(move || {
                let limits = Limits {
                    connections: CONNECTIONS,
                    idle: None,
                };
                logger.serve(stopped.as_fd(), &limits)
            });
            let launched = self.measure(scenario, repeat, digest, folder.path());
            drop(stop);
            let served: Result<(), LoggerError> = serving.join().expect("the logger does not panic");
            served.map_err(|error| error.to_string())?;
            launched
        })
    }

    fn measure(&self, scenario: &Scenario, repeat: u32, digest: Digest, log: &Path) -> Result<Launched, String> {
        let jobs = self.output.join("jobs");
        fs::create_dir_all(&jobs).map_err(|error| format!("{}: {error}", jobs.display()))?;
        let submit = self.submit(scenario, &jobs, log);
        let load = machine::load();
        let answer = self.context.host.run(&submit).map_err(|error| error.to_string())?;
        let job = answer.text().trim().to_owned();
        let until = Instant::now() + self.args.limit;
        let done = loop {
            match look(log, scenario) {
                Outcome::Done {
                    first_line,
                    all_discarded,
                } => break Ok((first_line, all_discarded)),
                Outcome::Failed(why) => break Err(why),
                Outcome::Running if self.interrupted.load(Ordering::Relaxed) => break Err("interrupted".to_owned()),
                Outcome::Running if Instant::now() > until => {
                    break Err(format!("it did not end within {} s", self.args.limit.as_secs()));
                }
                Outcome::Running => thread::sleep(GLANCE),
            }
        };
        match done {
            Ok((first_line, all_discarded)) => {
                // What the jobs wrote is the one line each that was measured.
                let _ = fs::remove_dir_all(&jobs);
                Ok(Launched {
                    scenario: scenario.clone(),
                    repeat,
                    digest: digest.to_string(),
                    job,
                    first_line,
                    all_discarded,
                    load,
                })
            }
            Err(why) => {
                let kill = self.ourselves().args(["kill", "--scheduler", self.kind.name(), &job]);
                let _ = self.context.host.run(&kill);
                Err(format!("job {job}: {why}"))
            }
        }
    }

    /// This program with the folders that this one uses and the user's whole environment.
    fn ourselves(&self) -> Invocation {
        let invocation = Invocation::new(&self.program)
            .arg("-q")
            .args(bench::folders(self.context));
        let variables = self.context.environment.all();
        variables
            .into_iter()
            .filter(|(name, _)| name != "HPCVM_LOG")
            .fold(invocation, |invocation, (name, value)| invocation.env(name, value))
    }

    fn submit(&self, scenario: &Scenario, jobs: &Path, log: &Path) -> Invocation {
        let Scenario {
            image,
            vms,
            jobs: tasks,
        } = scenario;
        let mut timing_log = OsString::from("--timing-log=");
        timing_log.push(log);
        let mut invocation = self
            .ourselves()
            .current_dir(jobs)
            .args([
                "submit",
                "--scheduler",
                self.kind.name(),
                "--name",
                "bench",
                "--retries",
                "0",
                // Each launch is to cost what the first one of a user does.
                "--start",
                "cold",
            ])
            .arg(timing_log)
            .args(["-t", &format!("1-{tasks}"), "--vms-per-slot", &vms.to_string()])
            .args(["--stage", &stage_word(self.args.stage)]);
        for native in &self.args.native {
            invocation = invocation.arg("--native").arg(native);
        }
        invocation.args([image.as_str(), "--", "echo", "started"])
    }

    /// The host that submits; where it cannot start a VM itself, without what would start it.
    fn machine(&self, images: &[(String, StoredImage)]) -> String {
        let architecture = images.first().map(|(_, image)| image.manifest.architecture);
        let facts = architecture
            .and_then(|architecture| Facts::gather(&self.context.host, architecture, Accelerator::Tcg).ok());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match facts {
            Some(facts) => format!("{} cores of {}", facts.cores, facts.processor),
            None => format!("{cores} cores"),
        }
    }
}

fn stage_word(stage: Stage) -> String {
    use clap::ValueEnum as _;
    stage
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// What the log in `folder` says of its only job.
fn look(folder: &Path, scenario: &Scenario) -> Outcome {
    let events = journal::read(&folder.join(JOURNAL_FILE), |_| true).unwrap_or_default();
    let submitted = events
        .iter()
        .find(|stamped| stamped.event.event == EventKind::Submitted);
    let history = submitted.and_then(|stamped| JobHistory::of(&stamped.event.job, &events));
    history.map_or(Outcome::Running, |history| outcome(&history, scenario))
}

fn about(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("; about {seconds:.0} s left"),
        ..5400.0 => format!("; about {:.0} min left", seconds / 60.0),
        _ => format!("; about {:.1} h left", seconds / 3600.0),
    }
}
