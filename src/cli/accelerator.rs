//! Which accelerator a launch uses: what was asked for, or the best that works here.
//!
//! Trying takes up to 0.3 s, which every job would pay: the answer is kept per machine start,
//! QEMU and architecture.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{CliError, Context};
use crate::architecture::Architecture;
use crate::digest::Hasher;
use crate::durable;
use crate::hypervisor::accelerator::{self, Accelerator};
use crate::scheduler::AcceleratorKind;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Wanted {
    /// The best that works here
    Auto,
    /// The processor itself
    Kvm,
    /// Emulation
    Tcg,
}

impl Wanted {
    /// What a job file says.
    pub(super) const fn of(kind: Option<AcceleratorKind>) -> Self {
        match kind {
            None => Self::Auto,
            Some(AcceleratorKind::Kvm) => Self::Kvm,
            Some(AcceleratorKind::Tcg) => Self::Tcg,
        }
    }
}

/// The accelerator to use for guests of `architecture`.
pub(super) fn choose(context: &Context, wanted: Wanted, architecture: Architecture) -> Result<Accelerator, CliError> {
    match wanted {
        Wanted::Kvm => return Ok(Accelerator::Kvm),
        Wanted::Tcg => return Ok(Accelerator::Tcg),
        Wanted::Auto => {}
    }
    let kept = kept_path(context, architecture);
    if let Some(answer) = kept.as_ref().and_then(|path| fs::read_to_string(path).ok()) {
        match answer.as_str() {
            "kvm" => return Ok(Accelerator::Kvm),
            "tcg" => return Ok(Accelerator::Tcg),
            _ => {}
        }
    }
    let states = accelerator::probe(&context.host, &context.places.scratch, architecture)?;
    let best = accelerator::best(&states).unwrap_or(Accelerator::Tcg);
    if best == Accelerator::Tcg && !context.ui.json() {
        context
            .ui
            .note("this host cannot accelerate guests (see hpcvm doctor): emulating, said once");
    }
    if let Some(path) = kept {
        keep(&path, best);
    }
    Ok(best)
}

/// Where the answer is kept; `None` where what it depends on cannot be told.
fn kept_path(context: &Context, architecture: Architecture) -> Option<PathBuf> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let program = context.host.find(architecture.qemu_system())?;
    let metadata = fs::metadata(&program).ok()?;
    let mut hasher = Hasher::default();
    hasher.field(&boot).field(program.as_os_str().as_encoded_bytes());
    hasher
        .field(&metadata.mtime().to_le_bytes())
        .field(&metadata.len().to_le_bytes());
    let name = format!("{architecture}-{}", hasher.finish().short());
    Some(context.places.cache.join("accelerators").join(name))
}

/// A cache that cannot be written costs time, no more.
fn keep(path: &std::path::Path, best: Accelerator) {
    let kept = path.parent().map_or(Ok(()), durable::create_private_folder);
    if let Err(error) = kept.and_then(|()| durable::write(path, best.qemu().as_bytes())) {
        tracing::info!(%error, "the accelerator is not remembered");
    }
}
