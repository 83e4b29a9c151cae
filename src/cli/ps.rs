//! `hpcvm ps`

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::image_table::flush_left;
use super::scheduler_option::SchedulerArgs;
use super::{CliError, Context, Exit, job_request};
use crate::scheduler::{Entry, JobFolder, JobId, Kind, Record, Registry, State, Tasks};

/// Arguments of `hpcvm ps`.
#[derive(Debug, clap::Args)]
#[command(
    mut_arg("scheduler", |arg| arg.help("Only jobs of this scheduler")),
    after_long_help = "Jobs are listed until their folders below .hpcvm are removed. One command asks each \
                             scheduler for all of them."
)]
pub struct Args {
    /// Only this job
    #[arg(value_name = "JOB")]
    job: Option<String>,
    #[command(flatten)]
    of: SchedulerArgs,
}

/// A job as it stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    #[serde(flatten)]
    record: RecordView,
    /// Tasks in each state; a task that the scheduler no longer has and that told no end is `lost`.
    states: BTreeMap<&'static str, u64>,
    /// Exit statuses of ended tasks other than 0, with how many ended so.
    failures: BTreeMap<u8, u64>,
    /// What the scheduler says of tasks that do not run.
    reasons: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct RecordView {
    scheduler: Kind,
    job: JobId,
    name: String,
    tasks: Option<Tasks>,
    image: String,
    command: String,
    submitted: String,
}

/// The user's numeric identity and name.
pub(super) fn ourselves(context: &Context) -> (u32, String) {
    let uid = rustix::process::getuid().as_raw();
    let named = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| context.environment.get(name));
    let name = named.map_or_else(|| uid.to_string(), |name| name.to_string_lossy().into_owned());
    (uid, name)
}

/// Lists the user's jobs.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let registry = Registry::below(&context.places.state);
    let jobs = if let Some(job) = &args.job {
        vec![registry.find(job, args.of.scheduler)?]
    } else {
        let mut jobs = registry.jobs()?;
        jobs.retain(|(record, _)| args.of.scheduler.is_none_or(|kind| kind == record.scheduler));
        jobs
    };
    let kinds: BTreeSet<Kind> = jobs.iter().map(|(record, _)| record.scheduler).collect();
    let (uid, user) = ourselves(context);
    let mut entries = BTreeMap::new();
    for kind in kinds {
        match job_request::client(context, kind).states(uid, &user) {
            Ok(list) => drop(entries.insert(kind, list)),
            // The others' jobs are worth listing, and what the records say of these.
            Err(error) => super::program::report(&context.ui, &error.into()),
        }
    }
    let mut rows = Vec::new();
    for (record, folder) in jobs {
        rows.push(row(record, &folder, &entries)?);
    }
    if context.ui.json() {
        context.ui.print_json(&serde_json::json!({"ps": 1, "jobs": rows}))?;
    } else {
        context.ui.print(table(&rows))?;
    }
    Ok(Exit::Done)
}

fn row(record: Record, folder: &JobFolder, entries: &BTreeMap<Kind, Vec<Entry>>) -> Result<Row, CliError> {
    let mut states = BTreeMap::new();
    let mut reasons = BTreeSet::new();
    let mut left = record.count();
    let listed = entries.get(&record.scheduler);
    // Some list running tasks as jobs of their own.
    let numbers = folder.numbers()?;
    let is_ours = |entry: &&Entry| {
        let number = JobId::new(&entry.job);
        number.is_some_and(|number| number == record.job || numbers.contains_key(&number))
    };
    let mut others = None;
    let ours = listed.into_iter().flatten().filter(is_ours);
    for entry in ours.filter(|entry| entry.state != State::Ended) {
        if entry.job == record.job.as_str() && entry.tasks.is_none() && record.tasks.is_some() {
            others = Some(word(entry.state));
        } else {
            *states.entry(word(entry.state)).or_insert(0) += entry.count();
            left = left.saturating_sub(entry.count());
        }
        if !matches!(entry.state, State::Running | State::Ending) {
            reasons.extend(entry.reason.clone());
        }
    }
    let mut failures = BTreeMap::new();
    let mut ended = 0;
    for status in folder
        .statuses()?
        .iter()
        .take(usize::try_from(left).unwrap_or(usize::MAX))
    {
        ended += 1;
        if status.status != 0 {
            *failures.entry(status.status).or_insert(0) += 1;
        }
    }
    let failed: u64 = failures.values().sum();
    let silent = left - ended;
    let deleted = folder.deleted(record.count())?.min(silent);
    let mut lost = silent - deleted;
    // An array listed without its tasks stands for all those that nothing else is known of.
    if let Some(state) = others.filter(|_| lost > 0) {
        *states.entry(state).or_insert(0) += lost;
        lost = 0;
    }
    let word_of_rest = if listed.is_some() { "lost" } else { "unknown" };
    let told = [
        ("done", ended - failed),
        ("failed", failed),
        ("deleted", deleted),
        (word_of_rest, lost),
    ];
    states.extend(told.into_iter().filter(|(_, count)| *count > 0));
    let Record {
        scheduler,
        job,
        name,
        tasks,
        image,
        command,
        submitted,
        ..
    } = record;
    Ok(Row {
        record: RecordView {
            scheduler,
            job,
            name,
            tasks,
            image,
            command,
            submitted: submitted.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
        states,
        failures,
        reasons,
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Held => "held",
        State::Running => "running",
        State::Suspended => "suspended",
        State::Ending => "ending",
        State::Failed => "set aside",
        State::Ended => "ended",
        State::Unknown => "unknown",
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["SCHEDULER", "JOB", "NAME", "TASKS", "STATES", "IMAGE", "NOTES"]);
    for row in rows {
        let states: Vec<String> = row
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let failures = row
            .failures
            .iter()
            .map(|(status, count)| format!("{count} with {status}"));
        let notes: Vec<String> = row.reasons.iter().cloned().chain(failures).collect();
        table.add_row([
            row.record.scheduler.to_string(),
            row.record.job.to_string(),
            row.record.name.clone(),
            row.record.tasks.as_ref().map(ToString::to_string).unwrap_or_default(),
            states.join(", "),
            row.record.image.clone(),
            notes.join(", "),
        ]);
    }
    flush_left(&mut table);
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::scheduler::TaskStatus;

    fn record(tasks: Option<&str>) -> Record {
        Record {
            version: Record::version(),
            scheduler: Kind::Slurm,
            job: JobId::new("12").unwrap(),
            name: "sum".to_owned(),
            tasks: tasks.map(|text| text.parse().unwrap()),
            vms_per_slot: 1,
            image: "minimal@0123".to_owned(),
            digest: Digest::of(b"image"),
            command: "true".to_owned(),
            submitted: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn entry(tasks: &str, state: State) -> Entry {
        Entry {
            job: "12".to_owned(),
            tasks: tasks.parse().ok(),
            state,
            reason: Some("Priority".to_owned()),
        }
    }

    #[test]
    fn tasks_are_added_up_from_the_scheduler_and_from_their_own_words() {
        let parent = tempfile::tempdir().unwrap();
        let folder = JobFolder::create(parent.path()).unwrap();
        for (task, status) in [(1, 0), (2, 3), (3, 3)] {
            let status = TaskStatus {
                task,
                status,
                node: "node1".to_owned(),
                vms: vec![status],
                error: None,
            };
            folder.keep_status(&status).unwrap();
        }
        folder.note_deleted(Some(7)).unwrap();
        let listed = vec![
            entry("11-1000", State::Waiting),
            entry("5", State::Running),
            entry("6", State::Running),
        ];
        let entries = BTreeMap::from([(Kind::Slurm, listed)]);
        let row = row(record(Some("1-1000")), &folder, &entries).unwrap();
        let expected = [
            ("deleted", 1),
            ("done", 1),
            ("failed", 2),
            ("lost", 4),
            ("running", 2),
            ("waiting", 990),
        ];
        assert_eq!(row.states, expected.into_iter().collect());
        assert_eq!(row.failures, BTreeMap::from([(3, 2)]));
        assert!(table(&[row]).contains("1 deleted, 1 done, 2 failed, 4 lost, 2 running, 990 waiting"));
    }

    #[test]
    fn tasks_that_are_jobs_of_their_own_are_added_to_their_array() {
        let parent = tempfile::tempdir().unwrap();
        let folder = JobFolder::create(parent.path()).unwrap();
        folder.keep_number(1, &JobId::new("14").unwrap()).unwrap();
        folder.note_deleted(Some(4)).unwrap();
        // Not an array in this list: what `entry` cannot read as tasks is none.
        let listed = |job: &str, state| Entry {
            job: job.to_owned(),
            ..entry("", state)
        };
        let of = |listed: Vec<Entry>| {
            let entries = BTreeMap::from([(Kind::Slurm, listed)]);
            row(record(Some("1-4")), &folder, &entries).unwrap().states
        };
        let (own, other) = (listed("14", State::Running), listed("15", State::Running));
        let states = of(vec![own.clone(), other, listed("12", State::Waiting)]);
        assert_eq!(states, BTreeMap::from([("deleted", 1), ("running", 1), ("waiting", 2)]));
        assert_eq!(
            of(vec![own]),
            BTreeMap::from([("deleted", 1), ("lost", 2), ("running", 1)])
        );
    }

    #[test]
    fn without_the_scheduler_nothing_is_called_lost() {
        let parent = tempfile::tempdir().unwrap();
        let folder = JobFolder::create(parent.path()).unwrap();
        let row = row(record(None), &folder, &BTreeMap::new()).unwrap();
        assert_eq!(row.states, BTreeMap::from([("unknown", 1)]));
    }
}
