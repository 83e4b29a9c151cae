//! What a job slot is: read from the environment that the scheduler gives it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::interface::JobId;
use super::tasks::Tasks;

/// The names of the variables in which a scheduler tells a slot what it is; the first that is set counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotNames {
    /// The job's number.
    pub job: &'static [&'static str],
    /// The task's number.
    pub task: &'static [&'static str],
    /// Whether `task` counts from 0 through the tasks, whatever their numbers are.
    pub task_is_index: bool,
    /// Processors of the slot.
    pub slots: &'static [&'static str],
    /// The slot's own folder.
    pub scratch: &'static [&'static str],
    /// How often the job was started before.
    pub restarts: &'static [&'static str],
    /// The node's name.
    pub node: &'static [&'static str],
    /// The job number that the task has for itself, where its scheduler lists tasks by such numbers.
    pub own: &'static [&'static str],
    /// What the names begin with of variables that the guest's job may want; a name that ends
    /// in `=` stands for itself alone.
    pub passed: &'static [&'static str],
}

/// What a slot knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The job's number, as the scheduler writes it.
    pub job: Option<String>,
    /// The task's number; `None` for a job that is no array.
    pub task: Option<u32>,
    /// Processors of the slot.
    pub slots: Option<u32>,
    /// The slot's own folder.
    pub scratch: Option<PathBuf>,
    /// How often the job was started before.
    pub restarts: u32,
    /// The node, as the scheduler calls it, where it tells.
    pub node: Option<String>,
    /// The task's own job number, where it is not listed as one of the job's tasks.
    pub own: Option<JobId>,
    /// Variables for the guest's job.
    pub passed: Vec<(OsString, OsString)>,
}

impl Slot {
    /// Reads `variables`; `tasks` are those of the job.
    #[must_use]
    pub fn read(names: &SlotNames, variables: &[(OsString, OsString)], tasks: Option<&Tasks>) -> Self {
        let get = |names: &[&str]| -> Option<&str> {
            names.iter().find_map(|name| {
                let found = variables.iter().find(|(key, _)| key == name);
                // Grid Engine says "undefined" where there is nothing to say.
                let value = found.and_then(|(_, value)| value.to_str());
                value.filter(|value| !value.is_empty() && *value != "undefined")
            })
        };
        let number = |names: &[&str]| -> Option<u32> { get(names).and_then(|text| text.parse().ok()) };
        let task = number(names.task).and_then(|task| match tasks {
            Some(tasks) if names.task_is_index => tasks.nth(task.into()),
            // HTCondor numbers the only process of a job too, and LSF gives it the index 0.
            None if names.task_is_index || task == 0 => None,
            _ => Some(task),
        });
        Self {
            job: get(names.job).map(str::to_owned),
            task,
            slots: number(names.slots).filter(|&slots| slots > 0),
            scratch: get(names.scratch).map(PathBuf::from),
            restarts: number(names.restarts).unwrap_or(0),
            node: get(names.node).map(str::to_owned),
            own: get(names.own).filter(|_| task.is_some()).and_then(JobId::new),
            passed: passed(names.passed, variables),
        }
    }
}

fn passed(wanted: &[&str], variables: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let is_wanted = |name: &OsStr| {
        let Some(name) = name.to_str() else { return false };
        wanted.iter().any(|wish| match wish.strip_suffix('=') {
            Some(exact) => name == exact,
            None => name.starts_with(wish),
        })
    };
    let mut passed: Vec<(OsString, OsString)> = variables.iter().filter(|(name, _)| is_wanted(name)).cloned().collect();
    passed.sort();
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Kind;

    fn read(kind: Kind, variables: &[(&str, &str)], tasks: Option<&str>) -> Slot {
        let variables: Vec<(OsString, OsString)> = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let tasks = tasks.map(|text| text.parse().unwrap());
        Slot::read(&kind.scheduler().slot(), &variables, tasks.as_ref())
    }

    #[test]
    fn each_scheduler_tells_its_slots_what_they_are() {
        type Case<'a> = (
            Kind,
            &'a [(&'a str, &'a str)],
            Option<&'a str>,
            (&'a str, Option<u32>, Option<u32>, u32),
        );
        let cases: [Case<'_>; 7] = [
            (
                Kind::GridEngine,
                &[
                    ("JOB_ID", "7"),
                    ("SGE_TASK_ID", "3"),
                    ("NSLOTS", "2"),
                    ("RESTARTED", "1"),
                ],
                Some("1-8"),
                ("7", Some(3), Some(2), 1),
            ),
            (
                Kind::GridEngine,
                &[
                    ("JOB_ID", "7"),
                    ("SGE_TASK_ID", "undefined"),
                    ("NSLOTS", "1"),
                    ("RESTARTED", "0"),
                ],
                None,
                ("7", None, Some(1), 0),
            ),
            (
                Kind::Slurm,
                &[
                    ("SLURM_JOB_ID", "9"),
                    ("SLURM_ARRAY_JOB_ID", "8"),
                    ("SLURM_ARRAY_TASK_ID", "0"),
                    ("SLURM_CPUS_ON_NODE", "4"),
                ],
                Some("0-3"),
                ("8", Some(0), Some(4), 0),
            ),
            (
                Kind::Slurm,
                &[("SLURM_JOB_ID", "9"), ("SLURM_RESTART_COUNT", "2")],
                None,
                ("9", None, None, 2),
            ),
            (
                Kind::Pbs,
                &[("PBS_JOBID", "12[3].head"), ("PBS_ARRAYID", "3")],
                Some("1-8"),
                ("12[3].head", Some(3), None, 0),
            ),
            (
                Kind::HtCondor,
                &[("HPCVM_CONDOR_CLUSTER", "5"), ("HPCVM_CONDOR_PROCESS", "2")],
                Some("10-30:10"),
                ("5", Some(30), None, 0),
            ),
            (
                Kind::Lsf,
                &[("LSB_JOBID", "44"), ("LSB_JOBINDEX", "6"), ("LSB_DJOB_NUMPROC", "1")],
                Some("1-8"),
                ("44", Some(6), Some(1), 0),
            ),
        ];
        for (kind, variables, tasks, (job, task, slots, restarts)) in cases {
            let slot = read(kind, variables, tasks);
            assert_eq!(slot.job.as_deref(), Some(job), "{kind}");
            assert_eq!(
                (slot.task, slot.slots, slot.restarts),
                (task, slots, restarts),
                "{kind}"
            );
        }
    }

    #[test]
    fn the_host_s_own_variables_stay_out_of_the_guest() {
        let variables = [
            ("SGE_TASK_ID", "3"),
            ("JOB_ID", "7"),
            ("JOB_IDENTITY", "x"),
            ("PATH", "/p"),
            ("TMPDIR", "/scratch/7.3.main.q"),
            ("LD_PRELOAD", "/evil"),
        ];
        let slot = read(Kind::GridEngine, &variables, Some("1-8"));
        let names: Vec<_> = slot.passed.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["JOB_ID", "SGE_TASK_ID"]);
        assert_eq!(slot.scratch, Some("/scratch/7.3.main.q".into()));
    }
}
