//! `hpcvm kill`

use super::scheduler_option::SchedulerArgs;
use super::{CliError, Context, Exit, job_request};
use crate::scheduler::{RecordError, Registry};

/// Arguments of `hpcvm kill`.
#[derive(Debug, clap::Args)]
#[command(
    mut_arg("scheduler", |arg| arg.help("Whose job, where several schedulers have one of this number")),
    after_long_help = "The guests' jobs get SIGTERM and their grace time, as far as the scheduler lets them; \
                             docs/schedulers.md tells which does."
)]
pub struct Args {
    /// A job's number, or JOB.TASK for one task of it
    #[arg(required = true, value_name = "JOB[.TASK]")]
    jobs: Vec<String>,
    #[command(flatten)]
    of: SchedulerArgs,
}

/// Deletes jobs.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let registry = Registry::below(&context.places.state);
    for wanted in &args.jobs {
        let (job, task) = match wanted.split_once('.') {
            Some((job, task)) => (job, Some(task)),
            None => (wanted.as_str(), None),
        };
        let unknown = || RecordError::NotFound { job: wanted.clone() };
        let (record, folder) = registry.find(job, args.of.scheduler)?;
        let task = task
            .map(|text| text.parse::<u32>().map_err(|_| unknown()))
            .transpose()?;
        let number = match task {
            Some(task) => {
                let tasks = record.tasks.as_ref();
                let place = tasks.and_then(|tasks| tasks.index_of(task)).ok_or_else(unknown)?;
                // HTCondor knows tasks by their place in the array.
                let by_place = record.scheduler.scheduler().slot().task_is_index;
                Some(if by_place { place } else { task })
            }
            None => None,
        };
        job_request::client(context, record.scheduler).delete(&record.job, number)?;
        folder.note_deleted(task)?;
        context
            .ui
            .note(&format!("{} was told to delete {wanted}", record.scheduler));
    }
    Ok(Exit::Done)
}
