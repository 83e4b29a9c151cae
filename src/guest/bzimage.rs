//! The Linux kernel's x86 image file: real-mode setup code with a header, then the
//! protected-mode part, in which the compressed kernel is.
//!
//! The header is that of the Linux kernel's `Documentation/arch/x86/boot.rst`; offsets below are
//! from the file's start, as there. Files may be hostile: every offset is checked, and unpacking
//! stops at [`VMLINUX_LIMIT`].

use std::io::Read;
use std::ops::Range;

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use super::kernel_error::KernelError;

/// The largest kernel that is unpacked, in bytes; Debian's are below 70 MiB.
pub const VMLINUX_LIMIT: usize = 256 << 20;

/// Memory an XZ decoder may use: the kernel is compressed with a dictionary of at most 128 MiB.
const XZ_MEMORY: u64 = 192 << 20;

/// Uncompressed bytes in a full block of LZ4's legacy frame (`lz4_Frame_format.md`).
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

/// Bytes of setup code in a sector.
const SECTOR: usize = 512;

/// Where the setup header's fields stand in the file (boot.rst, "The Real-Mode Kernel Header").
pub(super) mod field {
    pub(crate) const SETUP_SECTS: usize = 0x1f1;
    pub(crate) const SYSSIZE: usize = 0x1f4;
    pub(crate) const BOOT_FLAG: usize = 0x1fe;
    pub(crate) const HEADER: usize = 0x202;
    pub(crate) const VERSION: usize = 0x206;
    pub(crate) const LOADFLAGS: usize = 0x211;
    pub(crate) const CODE32_START: usize = 0x214;
    pub(crate) const RELOCATABLE_KERNEL: usize = 0x234;
    pub(crate) const XLOADFLAGS: usize = 0x236;
    pub(crate) const PAYLOAD_OFFSET: usize = 0x248;
    pub(crate) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(crate) const PREF_ADDRESS: usize = 0x258;
    pub(crate) const INIT_SIZE: usize = 0x260;
    pub(crate) const HANDOVER_OFFSET: usize = 0x264;
    pub(crate) const KERNEL_INFO_OFFSET: usize = 0x268;
    /// The end of the last field that is read or written here.
    pub(crate) const END: usize = 0x26c;
}

/// How a kernel's payload is compressed, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: an ELF file.
    None,
    /// XZ, as in Debian's ordinary kernels up to Debian 12.
    Xz,
    /// LZ4's legacy frame, as in Debian's cloud kernels.
    Lz4,
    /// Zstandard, as in Debian's kernels from Debian 13.
    Zstd,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The LZMA format that preceded XZ.
    Lzma,
    /// LZO.
    Lzo,
}

impl Compression {
    /// The magic bytes of `lib/decompress.c` in the Linux kernel's source.
    const MAGIC: [(&[u8], Self); 8] = [
        (b"\x7fELF", Self::None),
        (b"\xfd7zXZ\0", Self::Xz),
        (b"\x02\x21\x4c\x18", Self::Lz4),
        (b"\x28\xb5\x2f\xfd", Self::Zstd),
        (b"\x1f\x8b", Self::Gzip),
        (b"BZh", Self::Bzip2),
        (b"\x5d\0\0", Self::Lzma),
        (b"\x89LZO", Self::Lzo),
    ];

    /// The compression of `payload`; `None` when no known one begins so.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        Self::MAGIC
            .iter()
            .find(|(magic, _)| payload.starts_with(magic))
            .map(|(_, compression)| *compression)
    }

    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Xz => "XZ",
            Self::Lz4 => "LZ4",
            Self::Zstd => "Zstandard",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "LZMA",
            Self::Lzo => "LZO",
        }
    }
}

/// A bzImage whose header has been checked.
#[derive(Clone, Debug)]
pub struct BzImage<'a> {
    setup: &'a [u8],
    payload: &'a [u8],
}

impl<'a> BzImage<'a> {
    /// Checks the header of the file `bytes`: boot protocol 2.10 (Linux 2.6.31) or newer, loaded
    /// high, and a payload that lies within the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KernelError> {
        let refused = |reason| Err(KernelError::Header(reason));
        if bytes.len() < field::END {
            return refused("it is shorter than the boot header");
        }
        if little_endian(bytes, field::BOOT_FLAG, 2) != 0xaa55 || bytes[field::HEADER..][..4] != *b"HdrS" {
            return refused("it has no boot header");
        }
        if little_endian(bytes, field::VERSION, 2) < 0x020a {
            return refused("its boot protocol is older than 2.10");
        }
        if bytes[field::LOADFLAGS] & 1 == 0 {
            return refused("it is a zImage, which is loaded below 1 MiB");
        }
        // boot.rst: "If the setup_sects field contains 0, the real value is 4".
        let sectors = match bytes[field::SETUP_SECTS] {
            0 => 4,
            count => usize::from(count),
        };
        let setup_size = (sectors + 1) * SECTOR;
        if setup_size >= bytes.len() {
            return refused("it ends within its setup code");
        }
        let (setup, protected) = bytes.split_at(setup_size);
        let Some(payload) = payload_range(setup).and_then(|range| protected.get(range)) else {
            return refused("its payload is not within the file");
        };
        Ok(Self { setup, payload })
    }

    /// The real-mode part: boot sector, header and setup code, whole sectors.
    #[must_use]
    pub fn setup(&self) -> &'a [u8] {
        self.setup
    }

    /// How the payload is compressed; `None` when its first bytes are no known magic.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        Compression::of(self.payload)
    }

    /// The kernel's ELF file, unpacked. What follows it in the payload (relocations, for a kernel
    /// that places itself at random) comes with it.
    pub fn vmlinux(&self) -> Result<Vec<u8>, KernelError> {
        let Some(compression) = self.compression() else {
            return Err(KernelError::Compression("an unknown method"));
        };
        // Every method but gzip, whose format ends so anyway, gets its uncompressed size appended
        // (scripts/Makefile.lib, `size_append`).
        let unpack: fn(&[u8], usize) -> Result<Vec<u8>, String> = match compression {
            Compression::None => return Ok(self.payload.to_vec()),
            Compression::Xz => unxz,
            Compression::Lz4 => unlz4_legacy,
            other => return Err(KernelError::Compression(other.name())),
        };
        let damaged = |reason: String| KernelError::Payload(reason);
        let Some((compressed, size)) = self.payload.split_last_chunk::<4>() else {
            return Err(damaged("it is shorter than its size".to_owned()));
        };
        let size = u32::from_le_bytes(*size) as usize;
        if size > VMLINUX_LIMIT {
            return Err(damaged(format!("it claims to be {size} bytes unpacked")));
        }
        let vmlinux = unpack(compressed, size).map_err(damaged)?;
        if vmlinux.len() == size {
            Ok(vmlinux)
        } else {
            let found = vmlinux.len();
            Err(damaged(format!("it unpacks to {found} bytes and not to {size}")))
        }
    }
}

/// Where the payload stands in the protected-mode part.
fn payload_range(setup: &[u8]) -> Option<Range<usize>> {
    let start = usize::try_from(little_endian(setup, field::PAYLOAD_OFFSET, 4)).ok()?;
    let length = usize::try_from(little_endian(setup, field::PAYLOAD_LENGTH, 4)).ok()?;
    Some(start..start.checked_add(length)?)
}

/// The `length` bytes at `offset`, which the caller knows to be there, as a little-endian number.
fn little_endian(bytes: &[u8], offset: usize, length: usize) -> u64 {
    bytes[offset..offset + length]
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Unpacks XZ with its x86 filter; reads at most one byte more than `size`.
fn unxz(compressed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let decoder = Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| error.to_string())?;
    let mut unpacked = Vec::with_capacity(size);
    XzDecoder::new_stream(compressed, decoder)
        .take(size as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| error.to_string())?;
    Ok(unpacked)
}

/// Unpacks LZ4's legacy frame: a magic, then blocks with their compressed length before them.
fn unlz4_legacy(compressed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = vec![0; size];
    let mut filled = 0;
    let mut rest = compressed.get(4..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let block = behind.get(..length).ok_or("an LZ4 block is cut short")?;
        let room = (size - filled).min(LZ4_LEGACY_BLOCK);
        let target = &mut unpacked[filled..filled + room];
        let capacity = i32::try_from(room).map_err(|error| error.to_string())?;
        filled += lz4::block::decompress_to_buffer(block, Some(capacity), target).map_err(|error| error.to_string())?;
        rest = &behind[length..];
    }
    unpacked.truncate(filled);
    Ok(unpacked)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A bzImage with five setup sectors around `payload`.
    pub(crate) fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 5 * SECTOR];
        let mut put = |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(field::SETUP_SECTS, &[4]);
        put(field::BOOT_FLAG, &[0x55, 0xaa]);
        put(field::HEADER, b"HdrS");
        put(field::VERSION, &[0x0f, 2]);
        put(field::LOADFLAGS, &[1]);
        put(field::XLOADFLAGS, &[0x7f]);
        put(field::CODE32_START, &0x10_0000_u32.to_le_bytes());
        put(field::RELOCATABLE_KERNEL, &[1]);
        put(field::PAYLOAD_OFFSET, &16_u32.to_le_bytes());
        put(
            field::PAYLOAD_LENGTH,
            &u32::try_from(payload.len()).unwrap().to_le_bytes(),
        );
        put(field::HANDOVER_OFFSET, &[1]);
        put(field::KERNEL_INFO_OFFSET, &[1]);
        image.extend([0x90; 16]);
        image.extend(payload);
        image.extend([0; 64]);
        image
    }

    /// `vmlinux` as the kernel's build compresses it with XZ.
    pub(crate) fn xz(vmlinux: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(vmlinux).unwrap();
        with_size(encoder.finish().unwrap(), vmlinux)
    }

    fn lz4_legacy(vmlinux: &[u8]) -> Vec<u8> {
        let mut frame = b"\x02\x21\x4c\x18".to_vec();
        for block in vmlinux.chunks(LZ4_LEGACY_BLOCK) {
            let packed = lz4::block::compress(block, None, false).unwrap();
            frame.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            frame.extend(packed);
        }
        with_size(frame, vmlinux)
    }

    fn with_size(mut packed: Vec<u8>, vmlinux: &[u8]) -> Vec<u8> {
        packed.extend(u32::try_from(vmlinux.len()).unwrap().to_le_bytes());
        packed
    }

    fn sample(length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i * i / 7 % 251).unwrap()).collect();
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes
    }

    #[test]
    fn a_payload_is_unpacked_whatever_it_is_packed_with() {
        let vmlinux = sample(LZ4_LEGACY_BLOCK + 12_345);
        for (payload, compression) in [
            (vmlinux.clone(), Compression::None),
            (xz(&vmlinux), Compression::Xz),
            (lz4_legacy(&vmlinux), Compression::Lz4),
        ] {
            let image = bzimage(&payload);
            let image = BzImage::parse(&image).unwrap();
            assert_eq!(image.compression(), Some(compression));
            assert!(image.vmlinux().unwrap() == vmlinux, "{compression:?}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_named() {
        let vmlinux = sample(5000);
        let mut grown = xz(&vmlinux);
        let end = grown.len() - 4;
        grown[end..].copy_from_slice(&4999_u32.to_le_bytes());
        let mut bomb = xz(&vmlinux);
        bomb[end..].copy_from_slice(&u32::MAX.to_le_bytes());
        for (payload, message) in [
            (&b"\x28\xb5\x2f\xfd...."[..], "compressed with Zstandard"),
            (b"\x1f\x8b....", "compressed with gzip"),
            (b"none", "compressed with an unknown method"),
            (&grown, "unpacks to 5000 bytes and not to 4999"),
            (&bomb, "claims to be 4294967295 bytes"),
            (&xz(&vmlinux)[..200], "payload is damaged"),
        ] {
            let image = bzimage(payload);
            let error = BzImage::parse(&image).unwrap().vmlinux().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let good = bzimage(&xz(&sample(3000)));
        for (offset, bytes, message) in [
            (field::BOOT_FLAG, &[0, 0][..], "no boot header"),
            (field::HEADER, b"HdrX", "no boot header"),
            (field::VERSION, &[9, 2], "older than 2.10"),
            (field::LOADFLAGS, &[0], "zImage"),
            (field::SETUP_SECTS, &[255], "within its setup code"),
            (field::PAYLOAD_OFFSET, &[255; 4], "not within the file"),
            (field::PAYLOAD_LENGTH, &[255; 4], "not within the file"),
        ] {
            let mut bad = good.clone();
            bad[offset..offset + bytes.len()].copy_from_slice(bytes);
            let error = BzImage::parse(&bad).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(BzImage::parse(&good[..600]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = BzImage::parse(&bytes).and_then(|image| image.vmlinux());
        }

        #[test]
        fn no_change_of_a_good_image_makes_the_parser_panic(
            changes in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..8),
            legacy in any::<bool>(),
        ) {
            let vmlinux = sample(2000);
            let mut image = bzimage(&if legacy { lz4_legacy(&vmlinux) } else { xz(&vmlinux) });
            for (offset, byte) in changes {
                let offset = offset % image.len();
                image[offset] = byte;
            }
            if let Ok(unpacked) = BzImage::parse(&image).and_then(|image| image.vmlinux()) {
                prop_assert!(unpacked.len() <= VMLINUX_LIMIT);
            }
        }
    }
}
