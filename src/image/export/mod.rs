//! An image's disk as a file for other programs: VDI, raw, qcow2, VMDK, and OVA with a description of the machine.
//!
//! VDI and raw files are written here; qemu-img(1) makes the others. The same image gives the same bytes by the same
//! tools: no date and nothing random gets in.

mod error;
mod format;
mod ova;
mod ovf;
mod plain;
mod vmdk;

use std::fs;
use std::path::Path;

pub use error::ExportError;
pub use format::ExportFormat;

use super::{DISK_FILE, ManifestError, StoredImage};
use crate::digest::Digest;
use crate::durable;
use crate::exec::{Invocation, Runner};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of the file.
    pub length: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Writes the disk of `image` to the file `target`, which appears or is replaced as a whole, or not at all.
///
/// The disk is compared with its manifest before: what is damaged is not passed on.
pub fn export(
    runner: &dyn Runner,
    image: &StoredImage,
    format: ExportFormat,
    target: &Path,
) -> Result<Exported, ExportError> {
    if target.is_dir() {
        return Err(ExportError::Folder(target.to_owned()));
    }
    let disk = image.path(DISK_FILE);
    let unread = |source| ExportError::Read {
        path: disk.clone(),
        source,
    };
    // A whole path: qemu-img takes what stands before a colon for a protocol.
    let disk = fs::canonicalize(&disk).map_err(unread)?;
    check(image, &disk)?;
    let scratch = durable::scratch_beside(target)?;
    // A VMDK names its file, which is the same whatever the target is called.
    let vmdk = scratch.path().join(ova::DISK);
    let made = match format {
        ExportFormat::Vmdk => vmdk.clone(),
        _ => scratch.path().join("made"),
    };
    match format {
        ExportFormat::Vdi => plain::copy_file(&disk, &made)?,
        ExportFormat::Raw => plain::copy_disk(&disk, &made)?,
        ExportFormat::Qcow2 => {
            runner.run(&convert().args(["-O", "qcow2"]).arg(&disk).arg(&made))?;
        }
        ExportFormat::Vmdk => vmdk::write(runner, image, &disk, &vmdk)?,
        ExportFormat::Ova => {
            vmdk::write(runner, image, &disk, &vmdk)?;
            ova::write(image, &disk, &vmdk, &made)?;
        }
    }
    let unread = |source| ExportError::Read {
        path: made.clone(),
        source,
    };
    let exported = Exported {
        length: fs::metadata(&made).map_err(unread)?.len(),
        digest: Digest::of_file(&made).map_err(unread)?,
    };
    durable::adopt(&made, target)?;
    Ok(exported)
}

/// A conversion of a VDI, in order: several at once would put clusters where they happen to be ready.
fn convert() -> Invocation {
    Invocation::new("qemu-img").args(["convert", "-q", "-m", "1", "-f", "vdi"])
}

/// Compares the disk with what its manifest says.
fn check(image: &StoredImage, disk: &Path) -> Result<(), ExportError> {
    let damaged = |why: &str| {
        ExportError::Manifest(ManifestError::Damaged {
            path: disk.to_owned(),
            why: why.to_owned(),
        })
    };
    let expected = image
        .manifest
        .artefact(DISK_FILE)
        .ok_or_else(|| damaged("the manifest does not list it"))?;
    let found = Digest::of_file(disk).map_err(|source| ExportError::Read {
        path: disk.to_owned(),
        source,
    })?;
    if found == expected.digest {
        Ok(())
    } else {
        Err(damaged("its digest is not the one in the manifest"))
    }
}

#[cfg(test)]
mod tests;
