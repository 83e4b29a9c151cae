//! `hpcvm log`, `hpcvm timeline` and `hpcvm explain`: the timing logger and what it knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CliError, Context, Exit};
use crate::timing::LoggerError;
use crate::timing::client;
use crate::timing::event::{EventKind, JobKey, Stamped};
use crate::timing::explain::explain;
use crate::timing::export;
use crate::timing::history::JobHistory;
use crate::timing::journal::{self, JOURNAL_FILE};
use crate::timing::logger::{Limits, Logger, SOCKET_FILE};

/// Connections a logger has at once.
const CONNECTIONS: usize = 4096;
/// Slots that `explain` tells of one by one.
const MOST_SLOTS: usize = 16;

/// Arguments of `hpcvm log`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The job whose events are printed: the scheduler's number or hpcvm's key [default: list all jobs]
    job: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Which log is meant.
#[derive(Debug, clap::Args)]
struct Place {
    /// The timing log's folder [default: hpcvm/log in the XDG state folder]
    #[arg(long, value_name = "DIR", env = "HPCVM_LOG", hide_env_values = true)]
    log: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run the timing logger until SIGTERM
    Serve(ServeArgs),
}

/// Arguments of `hpcvm log serve`.
#[derive(Debug, clap::Args)]
struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// TCP address to listen on besides the Unix socket; port 0 is any that is free
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Let every user of this host ask for tokens and see their own jobs
    #[arg(long)]
    shared: bool,
    /// End when nobody was connected for this long, such as 30m
    #[arg(long, value_name = "TIME", value_parser = super::run::duration)]
    idle: Option<Duration>,
}

/// Arguments of `hpcvm timeline`.
#[derive(Debug, clap::Args)]
pub struct TimelineArgs {
    /// The scheduler's number of the job, or hpcvm's key
    job: String,
    #[command(flatten)]
    place: Place,
    /// One line for each moment of each VM
    #[arg(long)]
    csv: bool,
    /// A trace for Chrome's about:tracing and for Perfetto
    #[arg(long, conflicts_with = "csv")]
    trace: bool,
}

/// Arguments of `hpcvm explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The scheduler's number of the job, or hpcvm's key
    job: String,
    #[command(flatten)]
    place: Place,
    /// Tell of every slot, however many there are
    #[arg(long)]
    all: bool,
}

/// Serves, lists jobs, or prints a job's events.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if let Some(Verb::Serve(serve_args)) = &args.verb {
        return serve(context, serve_args);
    }
    let folder = folder(context, &args.place);
    let events = events(&folder)?;
    let ui = &context.ui;
    let Some(job) = &args.job else {
        let jobs = jobs(&events);
        if ui.json() {
            ui.print_json(&jobs)?;
        } else {
            ui.print(job_table(&jobs))?;
        }
        return Ok(Exit::Done);
    };
    let key = find(&events, job, &folder)?;
    let mut text = String::new();
    for stamped in events.iter().filter(|stamped| stamped.event.job == key) {
        text += &serde_json::to_string(stamped).expect("events have string keys only");
        text.push('\n');
    }
    ui.print(text)?;
    Ok(Exit::Done)
}

/// Tells where a job's time went.
pub(super) fn run_timeline(context: &Context, args: &TimelineArgs) -> Result<Exit, CliError> {
    let history = history(context, &args.job, &args.place)?;
    let ui = &context.ui;
    if args.csv {
        ui.print(export::csv(&history))?;
    } else if args.trace {
        ui.print_json(&export::chrome_trace(&history))?;
    } else if ui.json() {
        let phases = history.phases();
        let slot_seconds = history.slot_seconds();
        ui.print_json(&serde_json::json!({
            "timeline": 1, "job": history, "phases": phases, "slot-seconds": slot_seconds,
            "until-job": history.until(EventKind::JobStarted),
            "until-first-output": history.until(EventKind::FirstOutput),
        }))?;
    } else {
        ui.print(export::text(&history))?;
    }
    Ok(Exit::Done)
}

/// Tells what became of a job.
pub(super) fn run_explain(context: &Context, args: &ExplainArgs) -> Result<Exit, CliError> {
    let history = history(context, &args.job, &args.place)?;
    let most = if args.all { usize::MAX } else { MOST_SLOTS };
    context.ui.print(explain(&history, most))?;
    Ok(Exit::Done)
}

fn serve(context: &Context, args: &ServeArgs) -> Result<Exit, CliError> {
    let folder = folder(context, &args.place);
    let logger = Logger::open(&folder, args.listen.as_deref(), args.shared)?;
    let (stop, stopped) = UnixStream::pair().map_err(|source| LoggerError::Folder {
        path: folder.clone(),
        source,
    })?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let registered = stop
            .try_clone()
            .and_then(|stop| signal_hook::low_level::pipe::register(signal, stop));
        registered.map_err(|source| LoggerError::Folder {
            path: folder.clone(),
            source,
        })?;
    }
    let address = logger.tcp().map(|tcp| format!(" and tcp:{tcp}")).unwrap_or_default();
    let socket = logger.socket();
    context.ui.note(&format!(
        "the timing logger listens on unix:{}{address}",
        socket.display()
    ));
    let limits = Limits {
        connections: CONNECTIONS,
        idle: args.idle,
    };
    logger.serve(stopped.as_fd(), &limits)?;
    Ok(Exit::Done)
}

fn folder(context: &Context, place: &Place) -> PathBuf {
    place.log.clone().unwrap_or_else(|| context.places.log.clone())
}

/// Every event that the caller may see: from the journal where they may read it, else from the
/// logger that serves it.
fn events(folder: &Path) -> Result<Vec<Stamped>, CliError> {
    let path = folder.join(JOURNAL_FILE);
    match journal::read(&path, |_| true) {
        Ok(events) => Ok(events),
        Err(_) if folder.join(SOCKET_FILE).exists() => Ok(client::events(&folder.join(SOCKET_FILE), None)?),
        Err(source) => Err(LoggerError::Folder { path, source }.into()),
    }
}

fn history(context: &Context, job: &str, place: &Place) -> Result<JobHistory, CliError> {
    let folder = folder(context, place);
    let events = events(&folder)?;
    let key = find(&events, job, &folder)?;
    Ok(JobHistory::of(&key, &events).ok_or_else(|| unknown(job, &folder))?)
}

fn unknown(job: &str, folder: &Path) -> LoggerError {
    LoggerError::UnknownJob {
        job: job.to_owned(),
        journal: folder.join(JOURNAL_FILE),
    }
}

/// The job that `name` means: a key or the beginning of one, or the scheduler's number; of several
/// with the same number, the latest.
fn find(events: &[Stamped], name: &str, folder: &Path) -> Result<JobKey, LoggerError> {
    let by_number = events.iter().rev().find(|stamped| {
        let id = stamped.event.detail.get("id").and_then(|id| id.as_str());
        stamped.event.event == EventKind::Submitted && id == Some(name)
    });
    let by_key = || {
        let begins = |stamped: &&Stamped| name.len() >= 6 && stamped.event.job.as_str().starts_with(name);
        events.iter().rev().find(begins)
    };
    let found = by_number.or_else(by_key).ok_or_else(|| unknown(name, folder))?;
    Ok(found.event.job.clone())
}

/// One job of the log.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct LoggedJob {
    job: JobKey,
    id: Option<String>,
    name: Option<String>,
    scheduler: Option<String>,
    events: usize,
    /// Nanoseconds since 1970.
    first: u64,
}

fn jobs(events: &[Stamped]) -> Vec<LoggedJob> {
    let mut jobs: BTreeMap<&JobKey, LoggedJob> = BTreeMap::new();
    for stamped in events {
        let job = jobs.entry(&stamped.event.job).or_insert_with(|| LoggedJob {
            job: stamped.event.job.clone(),
            id: None,
            name: None,
            scheduler: None,
            events: 0,
            first: stamped.at,
        });
        job.events += 1;
        job.first = job.first.min(stamped.at);
        if stamped.event.event == EventKind::Submitted {
            let word = |key: &str| Some(stamped.event.detail.get(key)?.as_str()?.to_owned());
            (job.id, job.name, job.scheduler) = (word("id"), word("name"), word("scheduler"));
        }
    }
    let mut jobs: Vec<LoggedJob> = jobs.into_values().collect();
    jobs.sort_by(|a, b| (a.first, &a.job).cmp(&(b.first, &b.job)));
    jobs
}

fn job_table(jobs: &[LoggedJob]) -> String {
    let mut text = format!(
        "{:<12} {:<14} {:<24} {:>7}  {}\n",
        "JOB", "SCHEDULER", "NAME", "EVENTS", "KEY"
    );
    for job in jobs {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let (id, scheduler, name) = (word(&job.id), word(&job.scheduler), word(&job.name));
        let _ = writeln!(
            text,
            "{id:<12} {scheduler:<14} {name:<24} {:>7}  {}",
            job.events, job.job
        );
    }
    text
}
