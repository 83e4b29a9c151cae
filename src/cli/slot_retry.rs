//! A slot whose node failed it asks its scheduler for another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{CliError, Context, Exit};
use crate::diagnostic::Blame;
use crate::exec::Invocation;
use crate::scheduler::{Again, Client, JobFile, JobFolder, Kind, NODE_FAILED, Retry, Slot};

/// How often a command is given that Slurm may have killed together with the job's other processes.
const ATTEMPTS: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// A slot whose node failed it.
#[derive(Debug)]
pub(super) struct FailedSlot<'a> {
    pub(super) context: &'a Context,
    pub(super) job: &'a JobFile,
    pub(super) slot: &'a Slot,
    pub(super) folder: &'a JobFolder,
    /// Whether somebody wants the job to end.
    pub(super) stopped: &'a AtomicBool,
}

/// What came of asking.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What the timing log is told, where the scheduler was asked.
    pub(super) detail: Option<Value>,
    /// The exit status that this takes.
    pub(super) status: Option<u8>,
}

impl FailedSlot<'_> {
    /// Asks the scheduler to try this task on another node, if it has not been tried often enough. That the
    /// scheduler leaves out this node is asked for where it can be, and what comes of that changes nothing else.
    pub(super) fn ask(&self) -> Result<Asked, CliError> {
        let retry = self.job.scheduler.scheduler().retry();
        // A job that was deleted must not come back.
        if retry == Retry::Never || self.stopped.load(Ordering::Relaxed) {
            return Ok(Asked::default());
        }
        let ui = &self.context.ui;
        if self.folder.count_try(JobFile::task_number(self.slot.task))? >= self.job.retries {
            ui.complain("hpcvm: the node failed the job, and it was tried often enough\n");
            // LSF would go on for ever on the status it was told to look for.
            let last = (self.job.scheduler == Kind::Lsf).then(|| Exit::Failed(Blame::Guest).code());
            return Ok(Asked {
                detail: None,
                status: last,
            });
        }
        ui.complain("hpcvm: the node failed the job: asking for another\n");
        let variables = self.context.environment.all();
        let client = Client::new(self.job.scheduler, &self.context.host, &variables);
        let node = self.slot.node.clone().unwrap_or_else(super::launch::node);
        let again = Again {
            job: self.slot.job.as_deref().unwrap_or_default(),
            task: self.slot.task,
            node: &node,
        };
        let plan = client.avoid(&again);
        let give = |command: &Invocation| client.ask(command).map(drop);
        let (is_asked, status, avoided) = match retry {
            Retry::Never => (false, None, Ok(false)),
            Retry::Asked => (true, Some(NODE_FAILED), carry_out(plan, 1, give)),
            Retry::Exit(status) => (true, Some(status), carry_out(plan, 1, give)),
            Retry::Command(words) => {
                let is_asked = self.requeue(&client, words, &again);
                let avoided = if is_asked {
                    carry_out(plan, ATTEMPTS, give)
                } else {
                    Ok(false)
                };
                (is_asked, None, avoided)
            }
        };
        if let Err(why) = &avoided {
            ui.complain(&format!(
                "hpcvm: {} may choose {node} again: {why}\n",
                self.job.scheduler
            ));
        }
        Ok(Asked {
            detail: is_asked.then(|| detail(&node, &avoided)),
            status,
        })
    }

    /// Has the scheduler's command put this task back into the queue; whether it did.
    fn requeue(&self, client: &Client<'_>, words: &[&str], again: &Again<'_>) -> bool {
        let Some((program, arguments)) = words.split_first() else {
            return false;
        };
        let asked = client.ask(&Invocation::new(program).args(arguments).arg(again.name('_')));
        // Slurm tells all processes of the job to end as soon as it is asked, that command too.
        if self.stopped.load(Ordering::Relaxed) {
            return true;
        }
        if let Err(why) = &asked {
            self.context.ui.complain(&format!("hpcvm: {program}: {why}\n"));
        }
        asked.is_ok()
    }
}

/// Gives the command that was planned, if one was: whether the node will be left out, or why it may not be.
fn carry_out(
    plan: Result<Option<Invocation>, String>,
    attempts: u32,
    give: impl Fn(&Invocation) -> Result<(), String>,
) -> Result<bool, String> {
    let Some(command) = plan? else {
        return Ok(false);
    };
    let mut given = give(&command);
    for _ in 1..attempts {
        if given.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        given = give(&command);
    }
    given.map(|()| true)
}

/// What the timing log is told.
fn detail(node: &str, avoided: &Result<bool, String>) -> Value {
    let mut detail = json!({"reason": "the node failed the job"});
    match avoided {
        Ok(true) => detail["avoids"] = node.into(),
        Ok(false) => {}
        Err(why) => detail["not-avoided"] = why.as_str().into(),
    }
    detail
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_command_is_given_until_it_is_taken_and_not_for_ever() {
        let command = || Ok(Some(Invocation::new("scontrol")));
        for (plan, attempts, fails, expected, times) in [
            (command(), 3, 0, Ok(true), 1),
            (command(), 3, 2, Ok(true), 3),
            (command(), 3, 9, Err("busy"), 3),
            (command(), 1, 9, Err("busy"), 1),
            (Ok(None), 3, 0, Ok(false), 0),
            (Err("alone".to_owned()), 3, 0, Err("alone"), 0),
        ] {
            let given = Cell::new(0);
            let came = carry_out(plan, attempts, |_| {
                given.set(given.get() + 1);
                if given.get() > fails {
                    Ok(())
                } else {
                    Err("busy".to_owned())
                }
            });
            assert_eq!((came, given.get()), (expected.map_err(str::to_owned), times));
        }
    }

    #[test]
    fn the_log_is_told_what_came_of_it() {
        let why = Err("it is busy".to_owned());
        assert_eq!(detail("node1", &Ok(true))["avoids"], "node1");
        assert_eq!(detail("node1", &why)["not-avoided"], "it is busy");
        assert_eq!(
            detail("node1", &Ok(false)),
            json!({"reason": "the node failed the job"})
        );
    }
}
