//! From the arguments of `hpcvm submit` and `hpcvm wrapper` to a job file and a submission.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hypervisor::Wanted;
use super::places::absolute;
use super::run::{JobOptions, duration};
use super::run_warm::SiteArgs;
use super::scheduler_option::SchedulerArgs;
use super::{CliError, Context, accelerator, run_libraries, run_request, run_scan};
use crate::diagnostic::{Blame, Problem};
use crate::hypervisor::accelerator::Accelerator;
use crate::image::StoredImage;
use crate::image::verify::verify;
use crate::launch::slot::SlotStatus;
use crate::launch::{BootImage, Input, LaunchRequest};
use crate::scheduler::{
    self, AcceleratorKind, Client, Given, HypervisorKind, ImageReference, JobFile, JobScript, JobText, Kind,
    Plausibility, SchedulerError, Stage, Submission, Tasks, VmSpec, Warmth, Wish, Wrapper,
};
use crate::timing::sender::Destination;
use crate::units::Bytes;

/// What a job of a scheduler is made of.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// A name, NAME@DIGITS, the first digits of a digest, or the path of an image's folder
    image: String,
    /// A job script for the guest; its own #$, #SBATCH, #PBS or #BSUB lines are honoured
    #[arg(value_name = "SCRIPT")]
    script: Option<PathBuf>,
    /// The command and its arguments, or the arguments of SCRIPT
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Run as an array of tasks; `HPCVM_TASK_ID` tells each its number
    #[arg(short = 't', long, value_name = "FIRST-LAST[:STEP][%LIMIT]")]
    tasks: Option<Tasks>,
    /// VMs that each slot starts; `HPCVM_VM_INDEX` counts them from 0
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    vms_per_slot: u32,
    /// The job's name [default: the command's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Processors of each slot [default: those of one VM]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
    /// Memory of each slot [default: what its VMs and their hypervisors need]
    #[arg(long, value_name = "SIZE")]
    slot_memory: Option<Bytes>,
    /// Time limit of each slot [default: the scheduler's, or enough for --timeout]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    #[command(flatten)]
    of: SchedulerArgs,
    /// Options for the scheduler, as it takes them
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    native: Vec<String>,
    /// How often a task may be tried on another node after its node failed it
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// Whether nodes get a copy of the image: auto (where the store is another machine's), always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    stage: Stage,
    /// Folder of each node's own disk, for copies of images
    #[arg(
        long,
        value_name = "DIR",
        env = "HPCVM_NODE_CACHE",
        hide_env_values = true,
        default_value = "/var/tmp"
    )]
    node_cache: PathBuf,
    /// How much room copies of images may take there; those least recently used go first [default: all there is]
    #[arg(long, value_name = "SIZE", env = "HPCVM_NODE_CACHE_LIMIT", hide_env_values = true)]
    node_cache_limit: Option<Bytes>,
    /// Of several VMs in a slot, one success is enough for the exit status 0
    #[arg(long)]
    any_success: bool,
    /// Folder with the site's own wrapper templates
    #[arg(long, value_name = "DIR", env = "HPCVM_TEMPLATES", hide_env_values = true)]
    templates: Option<PathBuf>,
    /// Folder that all nodes share, for the job file [default: the working directory]
    #[arg(long, value_name = "DIR")]
    job_folder: Option<PathBuf>,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    options: JobOptions,
}

/// A job cannot be asked for like this.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("there is no command to run")]
    NoCommand,
    #[error("the image {image} is damaged: {}", differences.join("; "))]
    Damaged { image: String, differences: Vec<String> },
    #[error("the working directory cannot be told: {0}")]
    WorkingDirectory(std::io::Error),
    #[error("hpcvm cannot tell where it is itself: {0}")]
    Ourselves(std::io::Error),
}

impl Problem for JobError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCommand => "HV5060",
            Self::Damaged { .. } => "HV5061",
            Self::WorkingDirectory(_) => "HV5062",
            Self::Ourselves(_) => "HV5063",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NoCommand | Self::WorkingDirectory(_) => Blame::User,
            Self::Damaged { .. } => Blame::Image,
            Self::Ourselves(_) => Blame::Host,
        }
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::NoCommand => "give a command after --, as in: hpcvm submit IMAGE -- COMMAND, or a job script",
            Self::Damaged { .. } => "build the image again",
            Self::WorkingDirectory(_) => "go to another folder",
            Self::Ourselves(_) => "start hpcvm by its path",
        };
        Some(help.to_owned())
    }
}

/// A job that was looked at from all sides, and not submitted yet.
#[derive(Debug)]
pub(super) struct JobPlan {
    /// For which scheduler.
    pub(super) kind: Kind,
    /// The image.
    pub(super) image: StoredImage,
    /// The folder that the job's folder goes into.
    pub(super) parent: PathBuf,
    /// The script's bytes, where there is one.
    pub(super) script: Option<JobScript>,
    /// Whom its launches tell of their moments.
    pub(super) timing: Option<Destination>,
    submission: Submission,
    templates: Option<PathBuf>,
    request: LaunchRequest,
    accelerator: Option<AcceleratorKind>,
    hypervisor: Option<HypervisorKind>,
    vms_per_slot: u32,
    stage: Stage,
    node_scratch: PathBuf,
    node_cache_limit: Option<Bytes>,
    warmth: Warmth,
    site_templates: Option<PathBuf>,
    slot_status: SlotStatus,
    folder: PathBuf,
}

/// Where the guest finds the job script.
const SCRIPT_IN_GUEST: &str = "/tmp/hpcvm-job-script";
/// Seconds that a scheduler and the launcher need besides the VM's own limits.
const SLACK: Duration = Duration::from_mins(1);

/// The scheduler that is named, or else found.
pub(super) fn scheduler_kind(context: &Context, named: Option<Kind>) -> Kind {
    if let Some(kind) = named {
        return kind;
    }
    let has_program = |name: &str| context.host.find(name).is_some();
    let has_variable = |name: &str| context.environment.get(name).is_some();
    let found = scheduler::detect(&has_program, &has_variable);
    let kind = scheduler::choose(&found);
    if let [first, second, ..] = found.as_slice() {
        let unclear = first.configured == second.configured;
        if unclear {
            context.ui.note(&format!(
                "{} and {} are both here: using {kind} (--scheduler NAME says which)",
                first.kind, second.kind
            ));
        }
    }
    kind
}

/// A client of `kind`'s commands.
pub(super) fn client(context: &Context, kind: Kind) -> Client<'_> {
    Client::new(kind, &context.host, &context.environment.all())
}

/// Looks at everything that can go wrong before anything is made.
pub(super) fn plan(context: &Context, args: &JobArgs, hold: bool) -> Result<JobPlan, CliError> {
    let kind = scheduler_kind(context, args.of.scheduler);
    let folder = std::env::current_dir().map_err(JobError::WorkingDirectory)?;
    let script = match &args.script {
        Some(path) => Some(JobScript::read(path, kind.scheduler())?),
        None => None,
    };
    let image = sound_image(context, &args.image)?;
    let mut request = run_request::build(
        context,
        &args.options,
        command(args, script.as_ref())?,
        BootImage::from(&image),
        &image.manifest.run,
        // The node decides; this one is not used.
        Accelerator::Tcg,
    )?;
    run_libraries::attach(context, &image, &args.options.libraries, &mut request)?;
    if !args.options.no_scan {
        run_scan::check(context, &image, &request)?;
    }
    if let Some(path) = &request.console {
        request.console = Some(folder.join(path));
    }
    let submission = submission(args, kind, script.as_ref(), &request, hold)?;
    Ok(JobPlan {
        kind,
        image,
        parent: args
            .job_folder
            .as_ref()
            .map_or_else(|| folder.clone(), |path| folder.join(path)),
        script,
        timing: None,
        submission,
        templates: args.templates.clone(),
        request,
        accelerator: match args.options.accel {
            accelerator::Wanted::Auto => None,
            accelerator::Wanted::Kvm => Some(AcceleratorKind::Kvm),
            accelerator::Wanted::Tcg => Some(AcceleratorKind::Tcg),
        },
        hypervisor: args.options.hypervisor.kind(),
        vms_per_slot: args.vms_per_slot,
        stage: args.stage,
        node_scratch: absolute(args.node_cache.clone()),
        node_cache_limit: args.node_cache_limit,
        warmth: args.options.start,
        site_templates: args.site.site_templates.clone().map(absolute),
        slot_status: if args.any_success {
            SlotStatus::AnySuccess
        } else {
            SlotStatus::FirstFailure
        },
        folder,
    })
}

/// The image, read whole and compared with its manifest: errors now, not in the queue.
fn sound_image(context: &Context, reference: &str) -> Result<StoredImage, CliError> {
    let mut image = context.store().find(reference)?;
    let differences = verify(&image);
    if !differences.is_empty() {
        let differences = differences.iter().map(ToString::to_string).collect();
        let image = image.reference();
        return Err(JobError::Damaged { image, differences }.into());
    }
    // Nodes have other working directories.
    image.folder = std::path::absolute(&image.folder).map_err(JobError::WorkingDirectory)?;
    Ok(image)
}

fn command(args: &JobArgs, script: Option<&JobScript>) -> Result<Vec<OsString>, JobError> {
    let Some(script) = script else {
        return if args.command.is_empty() {
            Err(JobError::NoCommand)
        } else {
            Ok(args.command.clone())
        };
    };
    let interpreter = script.interpreter.iter().map(OsString::from);
    let path = [OsString::from(SCRIPT_IN_GUEST)];
    Ok(interpreter.chain(path).chain(args.command.iter().cloned()).collect())
}

fn submission(
    args: &JobArgs,
    kind: Kind,
    script: Option<&JobScript>,
    request: &LaunchRequest,
    hold: bool,
) -> Result<Submission, CliError> {
    let limits = &request.limits;
    let enough = limits
        .job
        .map(|job| limits.boot + job + limits.grace + limits.power_off + SLACK);
    let needed = plausibility(args, request).needed();
    let named = args
        .script
        .as_deref()
        .map(Path::as_os_str)
        .or(args.command.first().map(OsString::as_os_str));
    Ok(Submission {
        name: Wish::or(args.name.clone(), default_name(named.unwrap_or_default())),
        tasks: args.tasks.clone(),
        slots: Wish::or(args.slots, request.cpus),
        memory: Wish::or(args.slot_memory, needed),
        time: args.time.or(enough).map(|time| Wish {
            value: time,
            given: args.time.is_some(),
        }),
        warning: limits.grace + limits.power_off,
        retries: args.retries,
        hold,
        script: script.map(|script| script.options.clone()).unwrap_or_default(),
        native: native(kind, &args.native)?,
        launch: Vec::new(),
    })
}

fn plausibility(args: &JobArgs, request: &LaunchRequest) -> Plausibility {
    Plausibility {
        vms: args.vms_per_slot,
        hypervisor: Wanted::expected(args.options.hypervisor.kind()),
        memory: request.memory,
        cpus: request.cpus,
        slots: args.slots,
        slot_memory: args.slot_memory,
        time: args.time,
        job_time: request.limits.job,
    }
}

fn native(kind: Kind, lines: &[String]) -> Result<Vec<Given>, SchedulerError> {
    let mut given = Vec::new();
    for line in lines {
        let read = kind
            .scheduler()
            .read_options(line)
            .map_err(|why| SchedulerError::Options {
                kind,
                text: line.clone(),
                why,
            })?;
        given.extend(read);
    }
    Ok(given)
}

/// A command's name as far as a job's name may look like it.
fn default_name(command: &OsStr) -> String {
    let file = Path::new(command).file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = file.chars().filter(|&c| plain(c)).take(60).collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name,
        _ => format!("vm-{name}").trim_end_matches('-').to_owned(),
    }
}

impl JobPlan {
    /// The wrapper that names `job_file`; everything that is asked for is compared once more
    /// with what the option lines of script and `--native` say.
    pub(super) fn wrapper(&self, job_file: &Path) -> Result<Wrapper, CliError> {
        let ourselves = std::env::current_exe().map_err(JobError::Ourselves)?;
        let submission = Submission {
            launch: vec![ourselves.into(), "launch".into(), job_file.into()],
            ..self.submission.clone()
        };
        let wrapper = submission.wrapper(self.kind.scheduler(), self.templates.as_deref())?;
        let asked = &self.submission;
        let plausibility = Plausibility {
            vms: self.vms_per_slot,
            hypervisor: Wanted::expected(self.hypervisor),
            memory: self.request.memory,
            cpus: self.request.cpus,
            slots: wrapper.slots,
            slot_memory: asked.memory.given.then_some(asked.memory.value),
            time: wrapper.time,
            job_time: self.request.limits.job,
        };
        plausibility.check()?;
        Ok(wrapper)
    }

    /// The job file; `script` is where the job script was kept.
    pub(super) fn job_file(&self, wrapper: &Wrapper, script: Option<PathBuf>) -> JobFile {
        let mut request = self.request.clone();
        request.inputs.extend(script.map(|host| Input {
            host,
            guest: SCRIPT_IN_GUEST.into(),
        }));
        JobFile {
            version: JobFile::version(),
            scheduler: self.kind,
            name: wrapper.name.clone(),
            tasks: wrapper.tasks.clone(),
            image: ImageReference {
                name: self.image.manifest.name.clone(),
                digest: self.image.digest,
                folder: JobText::from(&self.image.folder),
            },
            folder: JobText::from(&self.folder),
            vms_per_slot: self.vms_per_slot,
            retries: self.submission.retries,
            stage: self.stage,
            node_scratch: JobText::from(&self.node_scratch),
            node_cache_limit: self.node_cache_limit,
            site_templates: self.site_templates.as_ref().map(JobText::from),
            slot_status: self.slot_status,
            timing: self.timing.clone(),
            vm: VmSpec {
                warmth: self.warmth,
                hypervisor: self.hypervisor,
                ..VmSpec::of(&request, self.accelerator)
            },
        }
    }

    /// The job's command as a shell would take it, for people.
    pub(super) fn command_line(&self) -> String {
        let words = &self.request.job.command;
        let Some((program, arguments)) = words.split_first() else {
            return String::new();
        };
        crate::exec::Invocation::new(program).args(arguments).to_string()
    }

    /// How many VMs each slot starts.
    pub(super) const fn vms_per_slot(&self) -> u32 {
        self.vms_per_slot
    }

    /// The folder to submit from.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_after_its_command() {
        for (command, name) in [
            ("sh", "sh"),
            ("/usr/bin/python3", "python3"),
            ("./run me.sh", "runme.sh"),
            ("7z", "vm-7z"),
            ("-", "vm"),
            ("", "vm"),
        ] {
            assert_eq!(default_name(OsStr::new(command)), name, "{command}");
        }
    }
}
