//! `hpcvm bench`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use super::bench_launch::LaunchArgs;
use super::{CliError, Context, Exit, Steps, accelerator, bench_launch, run_request, run_warm};
use crate::bench::cold::ColdStarts;
use crate::bench::job::Job;
use crate::bench::report::{Launch, Report};
use crate::bench::warm::WarmStarts;
use crate::bench::{BenchError, table};
use crate::durable;
use crate::image::StoredImage;
use crate::launch::BootImage;
use crate::progress::Progress;

/// Arguments of `hpcvm bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure cold starts: the floor of this host, an image, and an image nothing was done for
    #[command(
        after_long_help = "Launches follow each other in turn, so that what else the host does meets all alike. \
                           Figures are printed and not judged: docs/benchmarks.md says how to read them."
    )]
    Cold(StartArgs),
    /// Measure warm starts: a bare restore of the same files, an image warm and cold, and an image nothing was done for
    #[command(
        after_long_help = "The job of all is a shell that prints a line, with nothing shared; warm starts are also measured with \
                           the working directory shared, and with a program that is not the waiting shell. \
                           docs/benchmarks.md says how to read the figures."
    )]
    Warm(StartArgs),
    /// Measure launches through a scheduler: images x VMs in a slot x jobs at once
    #[command(
        after_long_help = "Writes launches.jsonl, launches.csv, figure.json and figure.svg after every launch. The same \
                           command goes on where it was interrupted. docs/benchmarks.md tells more."
    )]
    Launch(LaunchArgs),
}

/// Arguments of `hpcvm bench cold` and `hpcvm bench warm`.
#[derive(Debug, clap::Args)]
struct StartArgs {
    /// Launches of each that count, after one that does not
    #[arg(short = 'n', long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// The image to measure
    #[arg(long, value_name = "IMAGE", default_value = "minimal-i386")]
    image: String,
    /// The image to compare with
    #[arg(long, value_name = "IMAGE", default_value = "unoptimised-i386")]
    baseline: String,
    /// Launches of the baseline, which takes a minute each; 0 leaves it out
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(0..=1000))]
    baseline_runs: u32,
    /// What executes the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "KIND", default_value = "auto", hide_possible_values = true)]
    accel: accelerator::Wanted,
    /// Write every launch and all figures to a file, as JSON, after each launch
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Measures.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    match &args.what {
        What::Cold(args) => starts(context, args, false),
        What::Warm(args) => starts(context, args, true),
        What::Launch(args) => bench_launch::run(context, args),
    }
}

fn starts(context: &Context, args: &StartArgs, is_warm: bool) -> Result<Exit, CliError> {
    let image = find(context, &args.image, false)?;
    let baseline = (args.baseline_runs > 0)
        .then(|| find(context, &args.baseline, true))
        .transpose()?;
    let program = std::env::current_exe().map_err(BenchError::io("this program's own file"))?;
    let folder = tempfile::Builder::new()
        .prefix("hpcvm-bench-")
        .tempdir_in(&context.places.scratch)
        .map_err(BenchError::io(&context.places.scratch))?;
    let cold = ColdStarts {
        program: &program,
        options: &folders(context),
        image: &image,
        baseline: baseline.as_ref(),
        job: if is_warm { Job::SHELL } else { Job::ECHO },
        runs: args.runs,
        baseline_runs: args.baseline_runs,
        accelerator: accelerator::choose(context, args.accel, image.manifest.architecture)?,
        folder: folder.path(),
    };
    let steps = Steps::new(&context.ui);
    let name = if is_warm { "warm" } else { "cold" };
    steps.step(
        name,
        &format!("{} launches of each, after one that does not count", args.runs),
    );
    let each = |report: &Report, launch: &Launch| -> Result<(), CliError> {
        steps.step(name, &told(launch));
        keep(args, report)
    };
    let report = if is_warm {
        run_warm_starts(context, cold, each)?
    } else {
        cold.run(&context.host, each)?
    };
    steps.finish();
    // Some figures come after the last launch.
    keep(args, &report)?;
    if context.ui.json() {
        context.ui.print_json(&report.json())?;
    } else {
        context.ui.print(table::render(&report))?;
    }
    Ok(Exit::Done)
}

/// Warm starts with templates of the benchmark's own, in its folder.
fn run_warm_starts(
    context: &Context,
    cold: ColdStarts<'_>,
    each: impl FnMut(&Report, &Launch) -> Result<(), CliError>,
) -> Result<Report, CliError> {
    let node = cold.folder.join("node");
    durable::create_private_folder(&node)?;
    let (image, defaults) = (cold.image, &cold.image.manifest.run);
    let command = cold.job.command.iter().map(OsString::from).collect();
    let mut request = run_request::plain(context, BootImage::from(image), defaults, cold.accelerator, command);
    let templates = run_warm::templates(context, &run_warm::PlaceArgs::below(&node))?;
    let warm = run_warm::start(image, templates);
    request.warm = Some(warm.clone());
    let options = ["--start", "warm", "--node-cache"].map(OsString::from);
    let starts = WarmStarts {
        options: options.into_iter().chain([node.into()]).collect(),
        request: &request,
        warm: &warm,
        cold,
    };
    starts.run(&context.host, each)
}

pub(super) fn find(context: &Context, name: &str, is_baseline: bool) -> Result<StoredImage, BenchError> {
    context.store().find(name).map_err(|source| BenchError::Image {
        name: name.to_owned(),
        is_baseline,
        source: Box::new(source),
    })
}

/// The launched hpcvm uses the folders that this one uses.
pub(super) fn folders(context: &Context) -> [OsString; 4] {
    let places = &context.places;
    [
        "--store".into(),
        places.store.clone().into(),
        "--cache".into(),
        places.cache.clone().into(),
    ]
}

fn told(launch: &Launch) -> String {
    let Launch {
        round,
        subject,
        first_line,
        ..
    } = launch;
    format!("round {round}: {subject} {first_line:.2} s")
}

/// What is found so far outlives a launch that fails later.
fn keep(args: &StartArgs, report: &Report) -> Result<(), CliError> {
    if let Some(path) = &args.output {
        durable::write(path, format!("{:#}\n", report.json()).as_bytes())?;
    }
    Ok(())
}
