//! An OVA: a tar archive of a machine's description, its disk, and the digests of both (DMTF DSP0243, section 7).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;

use super::ovf::{OvfDisk, descriptor};
use super::{ExportError, StoredImage};
use crate::digest::Digest;
use crate::durable::WriteError;
use crate::image::vdi::Header;

/// The longest entry that a tar archive has without extensions: eleven octal digits.
const ENTRY_LIMIT: u64 = 0o777_7777_7777;

/// What the entries are called, in their order.
const DESCRIPTOR: &str = "hpcvm.ovf";
pub(super) const DISK: &str = "hpcvm-disk.vmdk";
const DIGESTS: &str = "hpcvm.mf";

/// Writes the machine of `image` to the new file `target`; `disk` is the image's VDI, `vmdk` the same as a VMDK.
pub(super) fn write(image: &StoredImage, disk: &Path, vmdk: &Path, target: &Path) -> Result<(), ExportError> {
    let unread = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Read { path, source }
    };
    let vdi = File::open(disk).map_err(unread(disk))?;
    let header = Header::read(&mut BufReader::new(vdi)).map_err(|source| ExportError::Disk {
        path: disk.to_owned(),
        source,
    })?;
    let mut content = File::open(vmdk).map_err(unread(vmdk))?;
    let length = content.metadata().map_err(unread(vmdk))?.len();
    if length > ENTRY_LIMIT {
        return Err(ExportError::TooLarge(length));
    }
    let described = OvfDisk {
        file: DISK,
        length,
        capacity: header.disk_size,
    };
    let ovf = descriptor(&image.manifest, image.digest, &described);
    let disk_digest = Digest::of_file(vmdk).map_err(unread(vmdk))?;
    let digests = format!(
        "SHA256({DESCRIPTOR})= {}\nSHA256({DISK})= {disk_digest}\n",
        Digest::of(ovf.as_bytes())
    );
    let mut write = || -> io::Result<()> {
        let mut archive = tar::Builder::new(BufWriter::new(File::create_new(target)?));
        append(&mut archive, DESCRIPTOR, ovf.len() as u64, &mut ovf.as_bytes())?;
        append(&mut archive, DISK, length, &mut content)?;
        append(&mut archive, DIGESTS, digests.len() as u64, &mut digests.as_bytes())?;
        archive.into_inner()?.flush()
    };
    write().map_err(|source| {
        ExportError::Write(WriteError {
            path: target.to_owned(),
            source,
        })
    })
}

fn append(
    archive: &mut tar::Builder<BufWriter<File>>,
    name: &str,
    length: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    archive.append(&header, content)
}
