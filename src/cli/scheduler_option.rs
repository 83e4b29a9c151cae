//! `--scheduler`, which several verbs have; those that look jobs up say in their own help what it is to them.

use crate::scheduler::Kind;

/// Which scheduler is meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct SchedulerArgs {
    /// Which scheduler: gridengine, slurm, pbs, htcondor, lsf or local [default: the one that is here]
    #[arg(
        long,
        value_name = "NAME",
        env = "HPCVM_SCHEDULER",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub(super) scheduler: Option<Kind>,
}
