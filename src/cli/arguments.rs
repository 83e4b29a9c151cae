//! The shape of the command line. Doc comments are the help text.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use super::ui::{ColourChoice, Wishes};
use super::{
    CliError, Context, Exit, bench, build, check, completions, doctor, image, job_request, kill, launch, libs,
    local_queue, lock, log, man, ps, run, scan, schema, submit, template, test, wrapper,
};

/// Run batch jobs inside virtual machines that live exactly as long as the job
#[derive(Debug, Parser)]
#[command(
    name = "hpcvm",
    bin_name = "hpcvm",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    infer_long_args = false,
    after_long_help = "Exit codes: 0 done, 1 problems found, 2 usage, 120 to 125 hpcvm's own failures \
                       (user, image, host, guest, time limit, defect); `hpcvm run` passes the job's through."
)]
pub struct Arguments {
    /// What every verb understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb understands.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of the image store [default: hpcvm in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR", env = "HPCVM_STORE", hide_env_values = true)]
    pub store: Option<PathBuf>,
    /// Folder of what can be fetched or made again [default: hpcvm in the XDG cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "HPCVM_CACHE", hide_env_values = true)]
    pub cache: Option<PathBuf>,
    /// Say more on standard error; twice, each command that is started
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say less: errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        long_help = "Use colours: auto (on a terminal, unless NO_COLOR is set), always or never"
    )]
    pub color: ColourChoice,
    /// Print results, steps and errors as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// What is wished for about output.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        Wishes {
            verbosity: if self.quiet {
                -1
            } else {
                i8::try_from(self.verbose).unwrap_or(i8::MAX)
            },
            colour: self.color,
            json: self.json,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Tell every problem of a recipe at once
    Check(check::Args),
    /// Tell what building a recipe would do
    Plan(build::PlanArgs),
    /// Write down the exact packages of a recipe, for other hosts and later years
    Lock(lock::Args),
    /// Build an image from a recipe
    Build(build::Args),
    /// Run one job in a fresh VM of an image
    Run(Box<run::Args>),
    /// Give a job, or an array of jobs, to a scheduler
    Submit(Box<submit::Args>),
    /// Print the script that `submit` would give to the scheduler
    Wrapper(Box<job_request::JobArgs>),
    /// List the jobs that were submitted, and how they stand
    Ps(ps::Args),
    /// Delete submitted jobs
    Kill(kill::Args),
    /// Run the VMs of one job slot: what a wrapper calls
    Launch(launch::Args),
    /// The queue of this machine, used where there is no scheduler
    LocalQueue(local_queue::Args),
    /// Prove an image valid by its recipe's own commands, each in a fresh VM
    Test(test::Args),
    /// Look at what warm starts are copied from
    Template(template::Args),
    /// Look at the images of the store
    Image(image::Args),
    /// Keep libraries and data that images link to in one shared place
    Libs(Box<libs::Args>),
    /// Measure how long launches take on this host
    Bench(bench::Args),
    /// List the jobs of the timing log, print one's events, or serve as the timing logger
    Log(log::Args),
    /// Tell where a job's time went, over all its VMs
    Timeline(log::TimelineArgs),
    /// Tell in words what became of a job
    Explain(log::ExplainArgs),
    /// Tell what programs load, and what they miss
    Scan(scan::Args),
    /// Try what this host can do: tools, rights, hypervisors, space
    Doctor(doctor::Args),
    /// Print the JSON Schema of recipes
    Schema(schema::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page, or write all of them
    Man(man::Args),
}

impl Verb {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Check(args) => check::run(context, &args),
            Self::Plan(args) => build::run_plan(context, &args),
            Self::Lock(args) => lock::run(context, &args),
            Self::Build(args) => build::run(context, &args),
            Self::Run(args) => run::run(context, &args),
            Self::Submit(args) => submit::run(context, &args),
            Self::Wrapper(args) => wrapper::run(context, &args),
            Self::Ps(args) => ps::run(context, &args),
            Self::Kill(args) => kill::run(context, &args),
            Self::Launch(args) => launch::run(context, &args),
            Self::LocalQueue(args) => local_queue::run(context, &args),
            Self::Test(args) => test::run(context, &args),
            Self::Template(args) => template::run(context, &args),
            Self::Image(args) => image::run(context, args),
            Self::Libs(args) => libs::run(context, &args),
            Self::Bench(args) => bench::run(context, &args),
            Self::Log(args) => log::run(context, &args),
            Self::Timeline(args) => log::run_timeline(context, &args),
            Self::Explain(args) => log::run_explain(context, &args),
            Self::Scan(args) => scan::run(context, &args),
            Self::Doctor(args) => doctor::run(context, &args),
            Self::Schema(args) => schema::run(context, &args),
            Self::Completions(args) => completions::run(context, &args),
            Self::Man(args) => man::run(context, args),
        }
    }
}

/// The whole command line, as the reference, the manual pages and the completions need it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn global_options_go_before_and_after_the_verb() {
        for line in ["hpcvm --store /s -vv image ls", "hpcvm image ls --store /s -v -v"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.global.store, Some("/s".into()), "{line}");
            assert_eq!(arguments.global.wishes().verbosity, 2, "{line}");
        }
        assert!(Arguments::try_parse_from(["hpcvm", "-q", "-v", "doctor"]).is_err());
    }
}
