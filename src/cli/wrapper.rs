//! `hpcvm wrapper`

use super::job_request::{self, JobArgs};
use super::{CliError, Context, Exit};

/// Prints what `hpcvm submit` with the same arguments would give to the scheduler.
pub(super) fn run(context: &Context, args: &JobArgs) -> Result<Exit, CliError> {
    let plan = job_request::plan(context, args, false)?;
    // The real one has a random name in place of JOB.
    let wrapper = plan.wrapper(&plan.parent.join(".hpcvm/JOB/job.json"))?;
    context.ui.print(wrapper.text)?;
    Ok(Exit::Done)
}
