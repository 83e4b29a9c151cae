//! A VMDK of the kind streamOptimized, by qemu-img(1), without what is random in it.
//!
//! Source: `VMware`'s "Virtual Disk Format 5.0", sections "Hosted sparse extents" and "Stream-optimized compressed
//! sparse extents": the header has the disk's length at 12, the descriptor's place at 28 and its length at 36, and the
//! place of the first grain at 64, all in sectors.

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
/// Sectors of a grain, as QEMU makes it.
const GRAIN: u64 = 128;
/// What stands before a grain's bytes: the sector where it belongs in eight bytes, their number in four.
const GRAIN_MARKER: usize = 12;
/// Sectors that `VirtualBox` reads at the end of a stream: its marker, and one more.
const END: u64 = 2;

/// Writes the disk in the VDI `disk` to the new file `target`.
pub(super) fn write(runner: &dyn Runner, image: &StoredImage, disk: &Path, target: &Path) -> Result<(), ExportError> {
    let make = convert().args(["-O", "vmdk", "-o", "subformat=streamOptimized"]);
    runner.run(&make.arg(disk).arg(target))?;
    let [a, b, c, d, ..] = *image.digest.as_bytes();
    // 0xffffffff means that there is none.
    let content = u32::from_be_bytes([a, b, c, d]).min(0xffff_fffe);
    let file = File::options().read(true).write(true).open(target);
    file.map_err(io_error(target)).and_then(|file| {
        name_content(&file, target, content)?;
        end_stream(&file, target)
    })
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
    let named = with_content(&descriptor, content)?;
    file.write_all_at(&named, first * SECTOR).map_err(io_error(path))
}

/// Cuts off what QEMU leaves after the last grain, zeros that round the file up, but for the marker of the stream's end.
///
/// An OVA's digest is of the whole file. `VirtualBox` compares it with the digest of what it has read, and reads no
/// further than it needs: a longer file, which the disk would not be different for, is now and then refused.
fn end_stream(file: &File, path: &Path) -> Result<(), ExportError> {
    let mut header = [0; 72];
    file.read_exact_at(&mut header, 0).map_err(io_error(path))?;
    let sectors = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let length = file.metadata().map_err(io_error(path))?.len();
    let (mut next, mut last) = (sectors(64).saturating_mul(SECTOR), None);
    while next.saturating_add(GRAIN_MARKER as u64) <= length {
        let mut marker = [0; GRAIN_MARKER];
        file.read_exact_at(&mut marker, next).map_err(io_error(path))?;
        let bytes = u32::from_le_bytes(marker[8..].try_into().expect("four bytes"));
        if bytes == 0 {
            break;
        }
        last = Some(u64::from_le_bytes(marker[..8].try_into().expect("eight bytes")));
        next += (GRAIN_MARKER as u64 + u64::from(bytes)).next_multiple_of(SECTOR);
    }
    if next > length || !only_zeros(file, next, length).map_err(io_error(path))? {
        return Err(ExportError::Vmdk("its grains are not one after the other"));
    }
    // A disk whose last grain is there ends with it for a reader who counts.
    let full = last.is_some_and(|last| last.saturating_add(GRAIN) >= sectors(12));
    let end = next + if full { 0 } else { END * SECTOR };
    file.set_len(end).map_err(io_error(path))
}

fn only_zeros(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut rest = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut rest, from)?;
    Ok(rest.iter().all(|&byte| byte == 0))
}

/// The descriptor, as long as before, with the content identifier `content` in eight digits: QEMU writes as many as it takes.
fn with_content(descriptor: &[u8], content: u32) -> Result<Vec<u8>, ExportError> {
    let unlike = || ExportError::Vmdk("its descriptor has no content identifier");
    let word = b"\nCID=";
    let begin = memchr::memmem::find(descriptor, word).ok_or_else(unlike)? + word.len();
    let digits = descriptor[begin..]
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let end = begin + digits;
    if !(1..=8).contains(&digits) || descriptor.get(end) != Some(&b'\n') {
        return Err(unlike());
    }
    let used = descriptor
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let mut named = descriptor[..begin].to_vec();
    named.extend(format!("{content:08x}").bytes());
    named.extend(&descriptor[end..used]);
    if named.len() > descriptor.len() {
        return Err(ExportError::Vmdk("its descriptor has no room"));
    }
    named.resize(descriptor.len(), 0);
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_of_any_length_is_replaced_and_nothing_else() {
        for old in ["1", "1234567", "12345678"] {
            let mut descriptor = format!("# Disk\nversion=1\nCID={old}\nparentCID=ffffffff\n").into_bytes();
            descriptor.resize(512, 0);
            let named = with_content(&descriptor, 0xab).unwrap();
            let text = "# Disk\nversion=1\nCID=000000ab\nparentCID=ffffffff\n";
            assert_eq!(&named[..text.len()], text.as_bytes(), "{old}");
            assert!(named.len() == 512 && named[text.len()..].iter().all(|&byte| byte == 0));
        }
        for bad in [
            &b"\nCID=\n"[..],
            b"\nCID=123456789\n",
            b"\nCID=12",
            b"\nCID=1x\n",
            b"CID=1\n",
            b"\nCID=1\n",
        ] {
            assert!(with_content(bad, 1).is_err(), "{bad:?}");
        }
    }

    /// A file of a disk of `capacity` sectors, with grains at `grains` of 600 bytes each, in two sectors, then `rest`.
    fn stream(capacity: u64, grains: &[u64], rest: &[u8]) -> File {
        let mut bytes = vec![0; 512];
        bytes[12..20].copy_from_slice(&capacity.to_le_bytes());
        bytes[64] = 1;
        for grain in grains {
            bytes.extend(grain.to_le_bytes());
            bytes.extend(600_u32.to_le_bytes());
            bytes.extend([7; 600]);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend(rest);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file
    }

    #[test]
    fn a_stream_ends_with_its_marker() {
        for (capacity, grains, rest, length) in [
            (1000, &[0, 256][..], 4096, 512 * (1 + 2 * 2 + 2)),
            (1000, &[], 4096, 512 * (1 + 2)),
            (1000, &[0], 0, 512 * (1 + 2 + 2)),
            (384, &[0, 256], 4096, 512 * (1 + 2 * 2)),
        ] {
            let file = stream(capacity, grains, &vec![0; rest]);
            end_stream(&file, Path::new("x")).unwrap();
            assert_eq!(file.metadata().unwrap().len(), length, "{capacity} {grains:?} {rest}");
        }
    }

    #[test]
    fn nothing_but_zeros_is_cut_off() {
        let mut rest = [0; 2048];
        rest[1999] = 1;
        let file = stream(1000, &[0], &rest);
        let error = end_stream(&file, Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("not one after the other"), "{error}");
        assert_eq!(file.metadata().unwrap().len(), 512 * 3 + 2048);
        let cut = stream(1000, &[0], &[]);
        cut.set_len(1000).unwrap();
        assert!(end_stream(&cut, Path::new("x")).is_err());
    }

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
