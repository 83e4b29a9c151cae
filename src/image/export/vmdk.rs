//! A VMDK of the kind streamOptimized, by qemu-img(1), without what is random in it.
//!
//! Source: `VMware`'s "Virtual Disk Format 5.0", sections "Hosted sparse extents" and "Stream-optimized compressed
//! sparse extents": the header has the descriptor's place at 28 and its length at 36, both in sectors.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{ExportError, StoredImage, convert};
use crate::exec::Runner;
use crate::image::geometry::SECTOR;

const MAGIC: &[u8; 4] = b"KDMV";
/// The most sectors that are believed of a descriptor; QEMU makes it 20.
const DESCRIPTOR_LIMIT: u64 = 128;

/// Writes the disk in the VDI `disk` to the new file `target`.
pub(super) fn write(runner: &dyn Runner, image: &StoredImage, disk: &Path, target: &Path) -> Result<(), ExportError> {
    let make = convert().args(["-O", "vmdk", "-o", "subformat=streamOptimized"]);
    runner.run(&make.arg(disk).arg(target))?;
    let [a, b, c, d, ..] = *image.digest.as_bytes();
    // 0xffffffff means that there is none.
    let content = u32::from_be_bytes([a, b, c, d]).min(0xffff_fffe);
    let file = File::options().read(true).write(true).open(target);
    file.map_err(io_error(target))
        .and_then(|file| name_content(&file, target, content))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> ExportError {
    move |source| ExportError::Read {
        path: path.to_owned(),
        source,
    }
}

/// Puts the number `content` at the place of the content identifier, which qemu-img(1) draws by lot.
fn name_content(file: &File, path: &Path, content: u32) -> Result<(), ExportError> {
    let mut header = [0; 44];
    file.read_exact_at(&mut header, 0).map_err(io_error(path))?;
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (first, sectors) = (long(28), long(36));
    if &header[..4] != MAGIC || !(1..=DESCRIPTOR_LIMIT).contains(&sectors) || first > DESCRIPTOR_LIMIT {
        return Err(ExportError::Vmdk("its header names no descriptor"));
    }
    let mut descriptor = vec![0; usize::try_from(sectors * SECTOR).expect("descriptors are small")];
    file.read_exact_at(&mut descriptor, first * SECTOR)
        .map_err(io_error(path))?;
    let word = b"\nCID=";
    let at = memchr::memmem::find(&descriptor, word)
        .map(|at| at + word.len())
        .filter(|&at| {
            descriptor
                .get(at..at + 9)
                .is_some_and(|text| text[..8].iter().all(u8::is_ascii_hexdigit) && text[8] == b'\n')
        })
        .ok_or(ExportError::Vmdk("its descriptor has no content identifier"))?;
    file.write_all_at(format!("{content:08x}").as_bytes(), first * SECTOR + at as u64)
        .map_err(io_error(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_vmdk_is_not_changed() {
        let mut header = vec![0; 2048];
        header[..4].copy_from_slice(MAGIC);
        header[28] = 1;
        header[36] = 2;
        let mut foreign = header.clone();
        foreign[0] = 0;
        let mut long = header.clone();
        long[40] = 1;
        let mut unlike = header.clone();
        unlike[600..615].copy_from_slice(b"\nCID=1234567x\n\n");
        for (bytes, says) in [
            (&foreign, "names no descriptor"),
            (&long, "names no descriptor"),
            (&header, "no content identifier"),
            (&unlike, "no content identifier"),
        ] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            let error = name_content(&file, Path::new("x"), 7).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            let mut after = vec![0; bytes.len()];
            file.read_exact_at(&mut after, 0).unwrap();
            assert_eq!(&after, bytes);
        }
        let short = tempfile::tempfile().unwrap();
        assert!(matches!(
            name_content(&short, Path::new("x"), 7),
            Err(ExportError::Read { .. })
        ));
    }
}
