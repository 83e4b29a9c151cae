//! The wrapper: the short script a scheduler is given, which becomes the launcher.
//!
//! Each scheduler has a template; a site may have its own by the same name. Nothing of the job
//! is in it: option lines hold only numbers and plain names, the user's own option lines pass
//! as they were written, and the last line's paths are quoted.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::error::SchedulerError;
use super::interface::{NODE_FAILED, Scheduler};
use super::kind::Kind;
use super::options::{Concern, Given, last_about};
use super::tasks::Tasks;
use crate::units::Bytes;

/// Stands for the launcher's command line while the template is rendered: paths need not be
/// UTF-8, and no template can hold a NUL.
const LAUNCH: &str = "\0launch\0";

/// Below this, a warning that may come a minute early would come at the start.
const SHORT: Duration = Duration::from_mins(3);

/// A value, and whether the user asked for it or it is our default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<T> {
    /// The value.
    pub value: T,
    /// Whether an option of the command line says so.
    pub given: bool,
}

impl<T> Wish<T> {
    /// What the user gave, or else the default.
    pub fn or(given: Option<T>, default: T) -> Self {
        let is_given = given.is_some();
        Self {
            value: given.unwrap_or(default),
            given: is_given,
        }
    }
}

/// What is asked of a scheduler.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The job's name: letters, digits, `.`, `_`, `-`.
    pub name: Wish<String>,
    /// The tasks of an array.
    pub tasks: Option<Tasks>,
    /// Processors of each slot.
    pub slots: Wish<u32>,
    /// Memory of each slot.
    pub memory: Wish<Bytes>,
    /// The slot's time limit.
    pub time: Option<Wish<Duration>>,
    /// Time between the warning and the kill that the launcher needs to end its VMs.
    pub warning: Duration,
    /// How often a failed node may be answered by another.
    pub retries: u32,
    /// Whether the job waits until it is released.
    pub hold: bool,
    /// Option lines of the job script.
    pub script: Vec<Given>,
    /// Option lines of `--native`.
    pub native: Vec<Given>,
    /// The launcher and its arguments.
    pub launch: Vec<OsString>,
}

/// A wrapper, and what it asks for after all option lines were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapper {
    /// Its text.
    pub text: Vec<u8>,
    /// The array's tasks, whoever asked for them.
    pub tasks: Option<Tasks>,
    /// The job's name, whoever gave it.
    pub name: String,
    /// Processors, where they can be told.
    pub slots: Option<u32>,
    /// The time limit, where it can be told.
    pub time: Option<Duration>,
}

/// What templates see.
#[expect(clippy::struct_excessive_bools, reason = "templates ask for each by its name")]
#[derive(Debug, Serialize)]
struct View<'a> {
    version: &'static str,
    launch: &'static str,
    name: Option<&'a str>,
    /// Whether the job is an array, whoever asked for it.
    array: bool,
    tasks: Option<String>,
    limit: Option<u32>,
    count: Option<u64>,
    slots: Option<u32>,
    memory_mib: Option<u64>,
    memory_mib_per_slot: u64,
    seconds: Option<u64>,
    minutes: Option<u64>,
    clock: Option<String>,
    warn: bool,
    warning_seconds: u64,
    retries: u32,
    node_failed: u8,
    output: bool,
    error: bool,
    script: Vec<&'a str>,
    native: Vec<&'a str>,
}

impl Submission {
    /// Renders the wrapper for `scheduler`, with the template of that name below `site` where
    /// there is one.
    pub fn wrapper(&self, scheduler: &dyn Scheduler, site: Option<&Path>) -> Result<Wrapper, SchedulerError> {
        self.check_conflicts(scheduler.kind())?;
        check_name(&self.name.value)?;
        let tasks = self.all_tasks(scheduler)?;
        let view = self.view(tasks.as_ref());
        let rendered = render(scheduler, site, &view)?;
        let words: Vec<&OsStr> = self.launch.iter().map(OsString::as_os_str).collect();
        let launch = scheduler.launch_line(&words).ok_or_else(|| SchedulerError::Path {
            kind: scheduler.kind(),
            path: self
                .launch
                .last()
                .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        })?;
        let said = |concern| last_about(&self.native, concern).or_else(|| last_about(&self.script, concern));
        let time = said(Concern::Time).map(|text| scheduler.read_time(text));
        Ok(Wrapper {
            text: with_launch(&rendered, &launch),
            tasks,
            name: said(Concern::Name)
                .filter(|_| !self.name.given)
                .unwrap_or(&self.name.value)
                .to_owned(),
            slots: match said(Concern::Slots) {
                Some(text) if !self.slots.given => text.parse().ok(),
                _ => Some(self.slots.value),
            },
            time: match (self.time, time) {
                (Some(wish), _) if wish.given => Some(wish.value),
                (_, Some(time)) => time,
                (wish, None) => wish.map(|wish| wish.value),
            },
        })
    }

    /// Two names for one thing on the command line are an error; the job script's own lines
    /// give way to the command line, as they do with the schedulers' own commands.
    fn check_conflicts(&self, kind: Kind) -> Result<(), SchedulerError> {
        let ours = [
            (Concern::Tasks, self.tasks.is_some()),
            (
                Concern::TaskLimit,
                self.tasks.as_ref().is_some_and(|tasks| tasks.limit.is_some()),
            ),
            (Concern::Slots, self.slots.given),
            (Concern::Memory, self.memory.given),
            (Concern::Time, self.time.is_some_and(|time| time.given)),
            (Concern::Name, self.name.given),
            (Concern::Hold, self.hold),
        ];
        for (concern, _) in ours.iter().filter(|(_, given)| *given) {
            if let Some(native) = self.native.iter().find(|native| native.about(*concern).is_some()) {
                return Err(SchedulerError::Conflict {
                    ours: concern.ours(),
                    theirs: format!("--native '{}'", native.raw),
                });
            }
        }
        match self.native.iter().find(|native| native.about(Concern::Shell).is_some()) {
            Some(native) if kind != Kind::HtCondor => Err(SchedulerError::Conflict {
                ours: Concern::Shell.ours(),
                theirs: format!("--native '{}'", native.raw),
            }),
            _ => Ok(()),
        }
    }

    /// The tasks that the command line, native options or the script ask for, in this order.
    fn all_tasks(&self, scheduler: &dyn Scheduler) -> Result<Option<Tasks>, SchedulerError> {
        let kind = scheduler.kind();
        if let Some(tasks) = &self.tasks {
            return match scheduler.refuses(tasks) {
                Some(why) => Err(SchedulerError::Tasks {
                    kind,
                    tasks: tasks.to_string(),
                    why,
                }),
                None => Ok(Some(tasks.clone())),
            };
        }
        let said = |concern| last_about(&self.native, concern).or_else(|| last_about(&self.script, concern));
        let Some(text) = said(Concern::Tasks) else {
            return Ok(None);
        };
        let read = match kind {
            // `queue 8`; what else can follow the word is not understood here.
            Kind::HtCondor => text
                .parse::<u32>()
                .ok()
                .filter(|&count| count > 0)
                .map(|count| format!("0-{}", count - 1)),
            _ => Some(text.to_owned()),
        };
        let tasks = read
            .and_then(|text| text.parse::<Tasks>().ok())
            .ok_or(SchedulerError::Tasks {
                kind,
                tasks: text.to_owned(),
                why: "hpcvm cannot read them",
            })?;
        let limit = said(Concern::TaskLimit).and_then(|limit| limit.parse().ok());
        let mut tasks = tasks;
        tasks.limit = tasks.limit.or(limit);
        Ok(Some(tasks))
    }

    fn view(&self, all_tasks: Option<&Tasks>) -> View<'_> {
        // Ours is written if it was asked for here, or if nobody else said anything.
        let elsewhere =
            |concern| last_about(&self.native, concern).is_some() || last_about(&self.script, concern).is_some();
        let written = |given: bool, concern| given || !elsewhere(concern);
        let time = self
            .time
            .filter(|time| written(time.given, Concern::Time))
            .map(|time| time.value);
        let seconds = time.map(|time| time.as_secs().max(1));
        let memory = written(self.memory.given, Concern::Memory).then(|| self.memory.value.as_mebibytes());
        let ours = self.tasks.as_ref();
        View {
            version: env!("CARGO_PKG_VERSION"),
            launch: LAUNCH,
            name: written(self.name.given, Concern::Name).then_some(self.name.value.as_str()),
            array: all_tasks.is_some(),
            tasks: ours.map(Tasks::without_limit),
            limit: ours.and_then(|tasks| tasks.limit),
            count: match ours {
                Some(tasks) => Some(tasks.count()),
                None => (!elsewhere(Concern::Tasks)).then_some(1),
            },
            slots: written(self.slots.given, Concern::Slots).then_some(self.slots.value),
            memory_mib: memory,
            memory_mib_per_slot: memory.unwrap_or(0).div_ceil(self.slots.value.max(1).into()),
            seconds,
            minutes: seconds.map(|seconds| seconds.div_ceil(60)),
            clock: seconds.map(|s| format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)),
            warn: time.is_none_or(|time| time >= SHORT),
            warning_seconds: self.warning.as_secs().max(1),
            retries: self.retries,
            node_failed: NODE_FAILED,
            output: !elsewhere(Concern::Output),
            error: !elsewhere(Concern::Error) && !self.joined(),
            script: self.kept_script_lines(),
            native: self.native.iter().map(|native| native.raw.as_str()).collect(),
        }
    }

    /// Whether the user's own options join standard error to standard output.
    fn joined(&self) -> bool {
        self.native
            .iter()
            .chain(&self.script)
            .any(|given| given.option == "-j" || given.about(Concern::Output).is_some())
    }

    /// The script's lines that still count: not those that the command line sets otherwise, and
    /// not the shell, which is the job's and not the wrapper's.
    fn kept_script_lines(&self) -> Vec<&str> {
        let overruled = |concern: &Concern| match concern {
            Concern::Shell => true,
            Concern::Tasks | Concern::TaskLimit => self.tasks.is_some(),
            Concern::Slots => self.slots.given,
            Concern::Memory => self.memory.given,
            Concern::Time => self.time.is_some_and(|time| time.given),
            Concern::Name => self.name.given,
            Concern::Output | Concern::Error | Concern::Hold => false,
        };
        let counts =
            |given: &&Given| given.says.is_empty() || !given.says.iter().all(|(concern, _)| overruled(concern));
        self.script
            .iter()
            .filter(counts)
            .map(|given| given.raw.as_str())
            .collect()
    }
}

fn check_name(name: &str) -> Result<(), SchedulerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let why = match name.bytes().next() {
        // Grid Engine and PBS take no name that begins with a digit.
        Some(first) if !first.is_ascii_alphabetic() => "a job's name begins with a letter",
        Some(_) if name.len() > 64 => "a job's name has 64 characters at most",
        Some(_) if name.bytes().all(plain) => return Ok(()),
        Some(_) | None => "a job's name is made of letters, digits, '.', '_' and '-'",
    };
    Err(SchedulerError::Value {
        option: "--name",
        value: name.to_owned(),
        why,
    })
}

fn render(scheduler: &dyn Scheduler, site: Option<&Path>, view: &View<'_>) -> Result<String, SchedulerError> {
    let extension = if scheduler.kind() == Kind::HtCondor {
        "sub"
    } else {
        "sh"
    };
    let theirs = site.map(|folder| folder.join(format!("{}.{extension}", scheduler.kind())));
    let (name, source) = match theirs.as_deref().map(|path| (path, std::fs::read_to_string(path))) {
        Some((path, Ok(source))) => (path.display().to_string(), source),
        Some((path, Err(error))) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(SchedulerError::Template {
                template: path.display().to_string(),
                why: error.to_string(),
            });
        }
        _ => ("(built in)".to_owned(), scheduler.template().to_owned()),
    };
    let failed = |why: String| SchedulerError::Template {
        template: name.clone(),
        why,
    };
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("Jinja's own delimiters"));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let rendered = environment
        .render_str(&source, Serde(view))
        .map_err(|error| failed(error.to_string()))?;
    if rendered.contains(LAUNCH) {
        Ok(rendered)
    } else {
        Err(failed("it has no {{ launch }}".to_owned()))
    }
}

/// `rendered` with the launcher's command line in place.
fn with_launch(rendered: &str, launch: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = rendered.split(LAUNCH).map(str::as_bytes).collect();
    parts.join(launch)
}

#[cfg(test)]
#[path = "wrapper_tests.rs"]
mod tests;
