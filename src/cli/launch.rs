//! `hpcvm launch`: what a wrapper becomes in its job slot.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::json;

use super::slot_log::SlotLog;
use super::slot_retry::FailedSlot;
use super::{CliError, Context, Exit, accelerator, hypervisor, run, run_warm, slot_signals};
use crate::diagnostic::{Blame, Problem};
use crate::durable::WriteError;
use crate::image::StoredImage;
use crate::launch::slot::{self, Admission, SlotVm, VmEnd};
use crate::launch::stage::{NodeCache, Staged, find_cache, is_remote};
use crate::launch::{self, BootImage, By, Interrupt, LaunchRequest, Libraries, Places, Streams};
use crate::scheduler::{JobFile, JobFolder, JobText, Slot, Stage, TaskStatus};
use crate::timing::Phase;
use crate::timing::event::EventKind;

/// Arguments of `hpcvm launch`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Ends with the job's exit status; of several VMs, with the first that is not 0. \
                             docs/submitting.md tells what the job finds in its environment."
)]
pub struct Args {
    /// The job file that `hpcvm submit` wrote
    job_file: PathBuf,
}

/// A slot cannot do what its job file says.
#[derive(Debug, thiserror::Error)]
enum SlotError {
    #[error("the image {image} is not on this node: {} is not there", folder.display())]
    NoImage { image: String, folder: PathBuf },
    #[error("{} holds the image {found} and not {expected}", folder.display())]
    OtherImage {
        folder: PathBuf,
        expected: String,
        found: String,
    },
}

impl Problem for SlotError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoImage { .. } => "HV5070",
            Self::OtherImage { .. } => "HV5071",
        }
    }

    fn blame(&self) -> Blame {
        match self {
            // Another node may have the store.
            Self::NoImage { .. } => Blame::Host,
            Self::OtherImage { .. } => Blame::Image,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoImage { .. } => {
                "keep the image store on a file system that all nodes share, and name it with --store".to_owned()
            }
            Self::OtherImage { .. } => {
                "submit the job again: it waited for an image that is no longer there".to_owned()
            }
        })
    }
}

/// A slot: which job, where, and with what.
#[derive(Debug)]
struct Launcher<'a> {
    context: &'a Context,
    job: JobFile,
    slot: Slot,
    folder: JobFolder,
    log: SlotLog,
    /// Whether somebody wants the job to end.
    stopped: Arc<AtomicBool>,
}

/// Runs the VMs of a slot.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let begun = Instant::now();
    let job = JobFile::read(&args.job_file)?;
    let names = job.scheduler.scheduler().slot();
    let slot = Slot::read(&names, &context.environment.all(), job.tasks.as_ref());
    let log = SlotLog::start(&job, &slot, begun);
    // From here on every signal ends in a clean removal.
    let stopped = Arc::default();
    let interrupts = slot_signals::catch(job.scheduler, log.clone(), &stopped);
    let launcher = Launcher {
        context,
        stopped,
        slot,
        folder: JobFolder::of(&args.job_file),
        job,
        log,
    };
    keep_private(rustix::stdio::stdout());
    keep_private(rustix::stdio::stderr());
    if let Some(own) = &launcher.slot.own {
        launcher.folder.keep_number(launcher.task(), own)?;
    }
    let ends = launcher.launch(begun, interrupts);
    let exit = launcher.end(&ends)?;
    launcher.log.end(exit.code());
    Ok(exit)
}

impl Launcher<'_> {
    fn launch(&self, begun: Instant, interrupts: Receiver<Interrupt>) -> Result<Vec<VmEnd>, CliError> {
        let image = self.image()?;
        let cache = self.cache()?;
        let staged = self.stage(&image, cache.as_ref())?;
        let image = staged.as_ref().map_or(&image, |staged| &staged.image);
        if let Some(staged) = &staged {
            let detail = json!({"bytes": staged.copied, "cached": staged.copied == 0});
            self.log.tell(EventKind::Staged, detail);
        }
        let vms = self.vms(image, begun)?;
        let admission = cache.as_ref().and_then(admission);
        let limit = self.job.vm.limits.job.map(Duration::from_millis);
        let ended = |vm: usize, end: &VmEnd| {
            let vm = u32::try_from(vm).expect("a slot's VMs are counted by 32 bits");
            self.log.vm_ended(vm, end, limit);
        };
        Ok(slot::run(
            &self.context.host,
            vms,
            admission.as_ref(),
            interrupts,
            &ended,
        )?)
    }

    /// What each VM of the slot is.
    fn vms(&self, image: &StoredImage, begun: Instant) -> Result<Vec<SlotVm>, CliError> {
        let (hypervisor, accelerator) = hypervisor::choose(
            self.context,
            hypervisor::Wanted::of(self.job.vm.hypervisor),
            accelerator::Wanted::of(self.job.vm.accelerator),
            image.manifest.architecture,
        )?;
        let own = self.slot.scratch.clone().filter(|path| path.is_dir());
        let scratch = own.clone().unwrap_or_else(|| self.context.places.scratch.clone());
        // A node that went down in the midst has the folders of its slots, too.
        let beside = own.as_deref().and_then(Path::parent);
        let reaped = launch::reap(&scratch) + beside.map_or(0, launch::reap_with_slots);
        if reaped > 0 {
            tracing::info!(folders = reaped, "removed what killed launches had left");
        }
        let mut request = self.job.vm.request(BootImage::from(image), accelerator, scratch);
        if let Some(libraries) = &self.job.vm.libraries {
            let by = if libraries.as_disk { By::Disk } else { By::Folder };
            let places = Places {
                named: Some(libraries.folder.path()),
                site: None,
            };
            request.libraries = Libraries::find(image, &places, by, request.start)?;
        }
        hypervisor::apply(hypervisor, &mut request);
        request.failure_logs = Some(self.folder.path().join("failed"));
        let place = run_warm::PlaceArgs::below(&self.job.node_scratch.path());
        let warmth = hypervisor::warmth(hypervisor, self.job.vm.warmth);
        let site = self.job.site_templates.as_ref().map(JobText::path);
        let named = site.or_else(|| Some(self.context.environment.get("HPCVM_SITE_TEMPLATES")?.into()));
        run_warm::attach(self.context, image, warmth, &place, named.as_deref(), &mut request)?;
        (0..self.job.vms_per_slot)
            .map(|index| {
                let mut timeline = self.log.timeline(begun, index);
                timeline.mark(Phase::Checked);
                let request = self.request(&request, index);
                if let Some(console) = &request.console {
                    // The hypervisor would make one that all may read.
                    private_file(console)?;
                }
                Ok(SlotVm {
                    streams: self.streams(index)?,
                    request,
                    timeline,
                })
            })
            .collect()
    }

    /// The node's cache of images; without one that can be used, the store itself does.
    fn cache(&self) -> Result<Option<NodeCache>, CliError> {
        let records = self.context.places.cache.join("nodes");
        match find_cache(&records, &node(), &self.job.node_scratch.path()) {
            Ok(cache) => Ok(Some(cache)),
            Err(error) if error.concerns_the_cache_only() && self.job.stage != Stage::Always => {
                tracing::info!(%error, "there is no cache on this node");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The image in the node's cache, where it is to be there.
    fn stage(&self, image: &StoredImage, cache: Option<&NodeCache>) -> Result<Option<Staged>, CliError> {
        let is_wanted = match self.job.stage {
            Stage::Auto => is_remote(&image.folder),
            Stage::Always => true,
            Stage::Never => false,
        };
        let Some(cache) = cache.filter(|_| is_wanted) else {
            return Ok(None);
        };
        match cache.stage(image, self.job.node_cache_limit) {
            Ok(staged) => Ok(Some(staged)),
            Err(error) if error.concerns_the_cache_only() && self.job.stage == Stage::Auto => {
                self.context
                    .ui
                    .note(&format!("using the image where the store has it: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The image, if the node has it and it is the one that was meant.
    fn image(&self) -> Result<StoredImage, CliError> {
        let wanted = &self.job.image;
        let folder = wanted.folder.path();
        if !folder.is_dir() {
            let image = wanted.name.clone();
            return Err(SlotError::NoImage { image, folder }.into());
        }
        let image = StoredImage::open(&folder)?;
        if image.digest != wanted.digest {
            return Err(SlotError::OtherImage {
                folder,
                expected: wanted.digest.short(),
                found: image.digest.short(),
            }
            .into());
        }
        image.check_lengths()?;
        Ok(image)
    }

    fn request(&self, template: &LaunchRequest, index: u32) -> LaunchRequest {
        let mut request = template.clone();
        let own = [
            ("HPCVM_JOB_ID", self.slot.job.clone().unwrap_or_default()),
            ("HPCVM_TASK_ID", self.task().to_string()),
            ("HPCVM_VM_INDEX", index.to_string()),
            ("HPCVM_VM_COUNT", self.job.vms_per_slot.to_string()),
        ];
        let own = own.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let environment = &mut request.job.environment;
        // What the user set counts before what the scheduler says, and our own numbers before both.
        for (name, value) in &self.slot.passed {
            if !environment.iter().any(|(set, _)| set == name) {
                environment.push((name.clone(), value.clone()));
            }
        }
        environment.retain(|(name, _)| own.iter().all(|(ours, _)| ours != name));
        environment.extend(own);
        if let Some(console) = &mut request.console {
            *console = self.numbered(console, index);
        }
        for output in &mut request.outputs {
            output.host = self.numbered(&output.host, index);
        }
        request
    }

    /// A host path that no other VM of the job writes to.
    fn numbered(&self, path: &Path, index: u32) -> PathBuf {
        let mut numbered = path.as_os_str().to_owned();
        if self.job.tasks.is_some() {
            numbered.push(format!(".{}", self.task()));
        }
        if self.job.vms_per_slot > 1 {
            numbered.push(format!(".vm{index}"));
        }
        numbered.into()
    }

    /// One VM's output goes where the scheduler puts it; of several, each has files of its own.
    fn streams(&self, index: u32) -> Result<Streams, CliError> {
        let stdin = Box::new(io::empty());
        if self.job.vms_per_slot == 1 {
            return Ok(Streams {
                stdin,
                ..run::streams()
            });
        }
        let job = self.slot.job.as_deref().unwrap_or("local");
        let file = |kind: char| {
            let base = self.job.folder.path().join(format!("{}.{kind}{job}", self.job.name));
            // A task that is tried again goes on with its output, as under the schedulers.
            private_file(&self.numbered(&base, index))
        };
        Ok(Streams {
            stdin,
            stdout: Box::new(file('o')?),
            stderr: Box::new(file('e')?),
        })
    }

    fn task(&self) -> u32 {
        JobFile::task_number(self.slot.task)
    }

    /// Tells how the slot ended: to people, to the job's folder, to the scheduler.
    fn end(&self, ends: &Result<Vec<VmEnd>, CliError>) -> Result<Exit, CliError> {
        let (vms, mut status, blame) = match ends {
            Ok(ends) => {
                self.tell(ends);
                let statuses: Vec<u8> = ends.iter().map(|end| run::exit_of(&end.result).code()).collect();
                let decisive = self.job.slot_status.decisive(ends);
                let error = decisive.and_then(|index| ends[index].result.as_ref().err());
                let status = decisive.map_or(0, |index| statuses[index]);
                (statuses, status, error.map(Problem::blame))
            }
            Err(error) => (Vec::new(), error.exit().code(), Some(error.blame)),
        };
        let error = ends.as_ref().err();
        if let Some(error) = error {
            super::program::report(&self.context.ui, error);
            self.log.failed(error);
        }
        if blame == Some(Blame::Host) {
            let failed = FailedSlot {
                context: self.context,
                job: &self.job,
                slot: &self.slot,
                folder: &self.folder,
                stopped: &self.stopped,
            };
            let asked = failed.ask()?;
            status = asked.status.unwrap_or(status);
            if let Some(detail) = asked.detail {
                self.log.tell(EventKind::Retried, detail);
                // The task has not ended: another node tells how it does.
                return Ok(Exit::Job(status));
            }
        }
        let kept = self.folder.keep_status(&TaskStatus {
            task: self.task(),
            status,
            node: node(),
            vms,
            error: error.map(|error| format!("{}: {}", error.code, error.message)),
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "hpcvm ps will not know how this task ended");
        }
        Ok(Exit::Job(status))
    }

    /// Of one VM only what went wrong, of several how each ended.
    fn tell(&self, ends: &[VmEnd]) {
        match ends {
            [VmEnd { result: Ok(_), .. }] => {}
            [VmEnd { result: Err(error), .. }] => {
                let help = error.help().map_or(String::new(), |help| format!("  help: {help}\n"));
                self.context
                    .ui
                    .complain(&format!("error[{}]: {error}\n{help}", error.code()));
            }
            ends => self.context.ui.complain(&slot::table(ends)),
        }
    }
}

/// Boots in turn: one for each processor of the node.
fn admission(cache: &NodeCache) -> Option<Admission> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match Admission::new(&cache.root().join("boots"), processors) {
        Ok(admission) => Some(admission),
        Err(error) => {
            tracing::warn!(%error, "boots are not admitted in turn");
            None
        }
    }
}

/// Opens a file to append to; a new one is its owner's alone.
fn private_file(path: &Path) -> Result<File, WriteError> {
    let opened = File::options().append(true).create(true).mode(0o600).open(path);
    opened.map_err(|source| WriteError {
        path: path.to_owned(),
        source,
    })
}

/// Closes a new output file to other users: schedulers make it for all to read. One that has
/// something in it already is as its owner left it.
fn keep_private(file: BorrowedFd<'_>) {
    use rustix::fs::{FileType, Mode, fchmod, fstat};
    const OTHERS: u32 = 0o077;
    let Ok(found) = fstat(file) else { return };
    let is_ours = found.st_uid == rustix::process::getuid().as_raw();
    let is_new_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_size == 0;
    if is_ours && is_new_file && found.st_mode & OTHERS != 0 {
        let mode = Mode::from_raw_mode(found.st_mode & 0o700);
        if let Err(error) = fchmod(file, mode) {
            tracing::warn!(%error, "others may read the job's output");
        }
    }
}

/// This node's name.
pub(super) fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
