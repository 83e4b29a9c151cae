//! The kernel and the initial RAM disk of an image.

use std::fs;
use std::path::Path;

use super::tree::Slim;
use super::{BuildError, Job};
use crate::durable;
use crate::guest::initrd::{self, InitrdRequest, Reach};
use crate::guest::kernel_package::KernelPackage;
use crate::guest::wrap::wrap;
use crate::image::{FULL_INITRD_FILE, INITRD_FILE, KERNEL_FILE, Staging};
use crate::plan::StepKind;
use crate::recipe::{Init, Initrd, Recipe};
use crate::rootfs::pool::Pool;
use crate::rootfs::resolve::Resolution;
use crate::rootfs::tree::Kind;

/// What hpcvm's own guests start with: quiet on the serial console, ended by a panic, without
/// the self-tests and bus scans that cost 1.5 s under emulation (ARCHITECTURE.md, "Cold start").
/// The timer of a virtual machine is sound, and on a busy host the kernel's check of it can take
/// the host's delays for a broken one and panic ("IO-APIC + timer doesn't work!").
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 cryptomgr.notests noisapnp no_timer_check";
/// What spares a guest without services a twelfth of the instructions that a warm start translates, and a
/// twentieth of a cold start's time: defences between the users and programs of one machine. This one
/// runs one user's one job; what keeps that from others is the hypervisor.
const ONE_JOB: &str = "mitigations=off lsm= hardened_usercopy=off init_on_alloc=0 audit=0 psi=0 \
                       cgroup_disable=memory tsc=nowatchdog";
/// What Debian's own boot loader configuration starts a guest with, plus the console. Debian
/// mounts the root file system read-only and lets `/etc/fstab` make it writable: an image has no
/// such file, and most services cannot start on a root that stays read-only.
const STOCK_COMMAND_LINE: &str = "rw quiet console=ttyS0";

/// The kernel an image boots; its files stand in the staging folder.
#[derive(Debug)]
pub(super) struct BootKernel {
    pub(super) release: String,
    /// The command line, without the root device.
    pub(super) command_line: String,
}

const fn own_words(init: Init) -> &'static [&'static str] {
    match init {
        Init::JobRunner => &[COMMAND_LINE, ONE_JOB],
        Init::Services => &[COMMAND_LINE],
    }
}

/// The recipe's words come last, so that they have the last word.
fn command_line(base: &[&str], recipe: &Recipe) -> String {
    let words = base.iter().copied();
    let words = words.chain(recipe.kernel.command_line.iter().map(String::as_str));
    words.collect::<Vec<_>>().join(" ")
}

/// Packs the kernel and makes hpcvm's own initial RAM disk; `None` where the guest makes its own.
pub(super) fn own(
    job: &Job<'_>,
    recipe: &Recipe,
    resolution: &Resolution,
    staging: &Staging,
) -> Result<Option<BootKernel>, BuildError> {
    if recipe.kernel.initrd == Initrd::Debian {
        return Ok(None);
    }
    let digest = resolution.kernel.sha256;
    let deb = Pool::new(&job.places().pool).path_of(&digest);
    let cache = job.cache.join("kernels");
    let package = KernelPackage::open(job.runner, &deb, digest, &cache)?;
    let wrapped = wrapped(job, &package, recipe, &cache, &digest.to_string())?;
    durable::write(&staging.path(KERNEL_FILE), &wrapped)?;
    for (file, reach) in [(INITRD_FILE, Reach::Virtio), (FULL_INITRD_FILE, Reach::Every)] {
        let request = InitrdRequest {
            architecture: recipe.base.architecture,
            root: recipe.image.root,
            modules: &recipe.kernel.modules,
            reach,
        };
        durable::write(&staging.path(file), &initrd::build(&package, &request)?)?;
    }
    let release = package.release().to_owned();
    Ok(Some(BootKernel {
        release,
        command_line: command_line(own_words(recipe.init), recipe),
    }))
}

/// The kernel as the recipe wants it packed; compressing it takes a second, so that is kept.
fn wrapped(
    job: &Job<'_>,
    package: &KernelPackage<'_>,
    recipe: &Recipe,
    cache: &Path,
    digest: &str,
) -> Result<Vec<u8>, BuildError> {
    let stub = crate::digest::Digest::of(crate::guest::wrap::STUB).short();
    let kept = cache.join(format!("wrapped-{digest}-{:?}-{stub}", recipe.kernel.wrap).to_lowercase());
    if let Some(kernel) = read_kept(&kept) {
        return Ok(kernel);
    }
    job.step(StepKind::Kernel, recipe);
    let kernel = wrap(&package.vmlinuz()?, recipe.kernel.wrap)?;
    let mut checked = crate::digest::Digest::of(&kernel).as_bytes().to_vec();
    checked.extend_from_slice(&kernel);
    durable::write(&kept, &checked)?;
    Ok(kernel)
}

/// A kept kernel: its digest, then its bytes; `None` where it is not there or damaged.
fn read_kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (digest, kernel) = bytes.split_at_checked(32)?;
    (crate::digest::Digest::of(kernel).as_bytes() == digest).then(|| kernel.to_vec())
}

/// Takes kernel and initial RAM disk as the guest's own packages made them.
pub(super) fn debian(
    slim: &Slim,
    resolution: &Resolution,
    recipe: &Recipe,
    staging: &Staging,
) -> Result<BootKernel, BuildError> {
    let kernel = boot_file(slim, "vmlinuz-")?;
    durable::write(&staging.path(KERNEL_FILE), &kernel.1)?;
    durable::write(&staging.path(INITRD_FILE), &boot_file(slim, "initrd.img-")?.1)?;
    let release = kernel.0.trim_start_matches("vmlinuz-").to_owned();
    debug_assert!(resolution.kernel.name.ends_with(&release));
    Ok(BootKernel {
        release,
        command_line: command_line(&[STOCK_COMMAND_LINE], recipe),
    })
}

/// The newest file of `/boot` whose name begins so, with its content.
fn boot_file(slim: &Slim, prefix: &'static str) -> Result<(String, Vec<u8>), BuildError> {
    let mut found = None;
    for (path, kind) in &slim.boot {
        let name = String::from_utf8_lossy(path.name()).into_owned();
        if let (true, Kind::File(content)) = (name.starts_with(prefix), kind) {
            found = Some((path, name, content));
        }
    }
    let (path, name, content) = found.ok_or(BuildError::NoKernel(prefix))?;
    let bytes = content.read().map_err(|source| BuildError::Staging {
        path: path.to_string().into(),
        source,
    })?;
    Ok((name, bytes))
}

/// Compresses hpcvm's own initial RAM disk for the boot partition: a BIOS reads a few megabytes
/// a second. QEMU's direct start takes it as it is. Debian's is compressed already.
pub(super) fn pack_initrd(recipe: &Recipe, staging: &Staging, to: &Path) -> Result<(), BuildError> {
    let file = match recipe.kernel.initrd {
        Initrd::Hpcvm => FULL_INITRD_FILE,
        Initrd::Debian => INITRD_FILE,
    };
    let path = staging.path(file);
    let bytes = fs::read(&path).map_err(|source| BuildError::Staging { path, source })?;
    let packed = match recipe.kernel.initrd {
        Initrd::Hpcvm => lz4_legacy(&bytes),
        Initrd::Debian => bytes,
    };
    Ok(durable::write(to, &packed)?)
}

/// LZ4's legacy frame, the only one Linux unpacks: a magic number, then blocks of at most 8 MiB,
/// each after its compressed length (lz4 frame format description, "Legacy frame").
fn lz4_legacy(bytes: &[u8]) -> Vec<u8> {
    use lz4::block::{CompressionMode, compress};
    let mut frame = 0x184c_2102_u32.to_le_bytes().to_vec();
    for block in bytes.chunks(8 << 20) {
        let packed = compress(block, Some(CompressionMode::HIGHCOMPRESSION(12)), false)
            .expect("a block of 8 MiB is within what LZ4 takes");
        frame.extend_from_slice(&u32::try_from(packed.len()).expect("blocks are small").to_le_bytes());
        frame.extend_from_slice(&packed);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_ram_disk_unpacks_to_itself() {
        let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n / 1000).to_le_bytes()[0]).collect();
        let frame = lz4_legacy(&bytes);
        assert_eq!(frame[..4], [0x02, 0x21, 0x4c, 0x18]);
        let mut rest = &frame[4..];
        let mut unpacked = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            unpacked.extend(lz4::block::decompress(&rest[4..4 + length], Some(8 << 20)).unwrap());
            rest = &rest[4 + length..];
        }
        assert!(unpacked == bytes);
    }
}
