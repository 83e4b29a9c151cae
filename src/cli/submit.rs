//! `hpcvm submit`

use std::thread;
use std::time::{Duration, Instant};

use super::job_request::{self, JobArgs, JobPlan};
use super::{CliError, Context, Exit, timing_log};
use crate::diagnostic::Problem as _;
use crate::scheduler::{JobFolder, Kind, Record, Registry, State};
use crate::timing::event::{Detail, EventKind};

/// Arguments of `hpcvm submit`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Prints the job's number. The job's output goes to NAME.oJOB[.TASK] and \
                             NAME.eJOB[.TASK] unless its own options say otherwise. docs/submitting.md tells more."
)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Let the job wait in the queue until it is released
    #[arg(long)]
    hold: bool,
    /// Wait for the job's end, and end with its exit status: the first that is not 0
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    timing: timing_log::TimingArgs,
}

/// Gives a job to the scheduler.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let began = Instant::now();
    let mut plan = job_request::plan(context, &args.job, args.hold)?;
    warn_of_places(context, &plan);
    plan.timing = timing_log::destination(context, &args.timing, plan.kind)?;
    let log = plan
        .timing
        .as_ref()
        .and_then(|destination| timing_log::sender(destination, None));
    let folder = JobFolder::create(&plan.parent)?;
    let record = match give(context, &plan, args.hold, &folder) {
        Ok(record) => record,
        Err(error) => {
            // Nothing was submitted: nothing stays.
            folder.discard();
            return Err(error);
        }
    };
    if let Some(log) = &log {
        log.tell(EventKind::Submitted, None, told(&record, began));
    }
    // From here on the job is the scheduler's: a record that cannot be kept is no failure of it.
    let kept = folder
        .keep_record(&record)
        .and_then(|()| Registry::below(&context.places.state).add(&record, &folder));
    if let Err(error) = kept {
        context.ui.note(&format!("hpcvm ps will not list the job: {error}"));
    }
    if context.ui.json() {
        context.ui.print_json(&record)?;
    } else {
        context.ui.print(format!("{}\n", record.job))?;
        let tasks = record.count();
        let plural = if tasks == 1 { "" } else { "s" };
        context.ui.note(&format!(
            "{} has job {}: {tasks} task{plural}",
            record.scheduler, record.job
        ));
    }
    if let Some(log) = log {
        log.close(timing_log::PATIENCE);
    }
    if args.wait {
        return wait(context, &record, &folder);
    }
    Ok(Exit::Done)
}

fn give(context: &Context, plan: &JobPlan, hold: bool, folder: &JobFolder) -> Result<Record, CliError> {
    let wrapper = plan.wrapper(&folder.job_file())?;
    let script = match &plan.script {
        Some(script) => Some(folder.keep_script(&script.bytes)?),
        None => None,
    };
    plan.job_file(&wrapper, script).write(&folder.job_file())?;
    let path = folder.keep_wrapper(&wrapper.text)?;
    let job = job_request::client(context, plan.kind).submit(&path, hold, plan.folder())?;
    Ok(Record {
        version: Record::version(),
        scheduler: plan.kind,
        job,
        name: wrapper.name,
        tasks: wrapper.tasks,
        vms_per_slot: plan.vms_per_slot(),
        image: plan.image.reference(),
        digest: plan.image.digest,
        command: plan.command_line(),
        submitted: jiff::Timestamp::now(),
    })
}

/// What the timing log is told of the submission; `took` is the seconds since it began.
fn told(record: &Record, began: Instant) -> Detail {
    let told = serde_json::json!({
        "id": record.job,
        "scheduler": record.scheduler,
        "name": record.name,
        "image": record.image,
        "tasks": record.count(),
        "vms": record.vms_per_slot,
        "took": began.elapsed().as_secs_f64(),
    });
    serde_json::from_value(told).expect("it is an object")
}

/// A memory file system is this machine's alone, which is the one thing about other nodes that
/// can be told from here.
fn warn_of_places(context: &Context, plan: &JobPlan) {
    if plan.kind == Kind::Local {
        return;
    }
    for (what, path) in [
        ("the image", plan.image.folder.as_path()),
        ("the job's folder", &plan.parent),
    ] {
        if is_memory(path) {
            context.ui.note(&format!(
                "{what} is in this machine's memory ({}): nodes will not see it",
                path.display()
            ));
        }
    }
}

fn is_memory(path: &std::path::Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
    const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    rustix::fs::statfs(path).is_ok_and(|status| MEMORY.contains(&status.f_type))
}

/// Between two questions: short for short jobs, and no burden on the scheduler for long ones.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Waits until the scheduler has no task of the job any more.
fn wait(context: &Context, record: &Record, folder: &JobFolder) -> Result<Exit, CliError> {
    let client = job_request::client(context, record.scheduler);
    let (uid, user) = super::ps::ourselves(context);
    let mut pause = FIRST_PAUSE;
    loop {
        // Each task tells its own end, which is quicker to see than the scheduler's list.
        let ended = folder.statuses()?;
        if ended.len() as u64 >= record.count() {
            break;
        }
        thread::sleep(pause);
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
        match client.states(uid, &user) {
            Ok(entries) => {
                let is_left = entries
                    .iter()
                    .any(|entry| entry.job == record.job.as_str() && entry.state != State::Ended);
                if !is_left {
                    break;
                }
            }
            // It may be back in a minute; the job is not its list.
            Err(error) => tracing::warn!(code = error.code(), %error, "the jobs cannot be listed at present"),
        }
    }
    let statuses = folder.statuses()?;
    if (statuses.len() as u64) < record.count() {
        context.ui.note(&format!(
            "{} of {} tasks ended without a word: deleted, or killed with their node",
            record.count() - statuses.len() as u64,
            record.count()
        ));
        return Ok(Exit::Failed(crate::diagnostic::Blame::Host));
    }
    let first = statuses.iter().map(|status| status.status).find(|&status| status != 0);
    Ok(first.map_or(Exit::Done, Exit::Job))
}
