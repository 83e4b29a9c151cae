//! What schedulers say of their jobs.

use serde::Serialize;

use super::tasks::Tasks;

/// Where tasks of a job stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waiting for a slot.
    Waiting,
    /// Waiting until someone releases it.
    Held,
    /// In a slot.
    Running,
    /// In a slot, stopped for the time being.
    Suspended,
    /// Being deleted or cleaned up after.
    Ending,
    /// Set aside by the scheduler after a failure, until someone looks.
    Failed,
    /// Over, and still listed.
    Ended,
    /// Something that this version does not know.
    Unknown,
}

/// One line of a scheduler's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The job's number without tasks.
    pub job: String,
    /// Which of its tasks; `None` for a job that is no array, or whose tasks are not told.
    pub tasks: Option<Tasks>,
    /// Where they stand.
    pub state: State,
    /// What the scheduler says about it, as it says it.
    pub reason: Option<String>,
}

impl Entry {
    /// How many tasks it stands for.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tasks.as_ref().map_or(1, Tasks::count)
    }
}
