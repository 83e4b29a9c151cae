//! `hpcvm kill`

use super::{CliError, Context, Exit, job_request};
use crate::scheduler::{Kind, RecordError, Registry};

/// Arguments of `hpcvm kill`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The guests' jobs get SIGTERM and their grace time, as far as the scheduler lets them; \
                             docs/schedulers.md tells which does."
)]
pub struct Args {
    /// A job's number, or JOB.TASK for one task of it
    #[arg(required = true, value_name = "JOB[.TASK]")]
    jobs: Vec<String>,
    /// Whose job, where several schedulers have one of this number
    #[arg(
        long,
        value_name = "NAME",
        env = "HPCVM_SCHEDULER",
        hide_env_values = true,
        hide_possible_values = true
    )]
    scheduler: Option<Kind>,
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
        let (record, folder) = registry.find(job, args.scheduler)?;
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
