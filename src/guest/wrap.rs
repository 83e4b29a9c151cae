//! Packs a kernel so that it starts sooner.
//!
//! Debian's kernels are compressed with XZ, which an emulated processor takes 1.5 s to undo. Here
//! the unpacked kernel's segments are stored anew, in LZ4 or not compressed, behind a small stub
//! (`kernel-stub/stub.c`) that puts them in place:
//!
//! ```text
//! original setup sectors | stub, whole KiB | table of chunks | bytes of the chunks
//! ```
//!
//! The result is a bzImage to any BIOS boot loader and to `qemu -kernel`. It is not an EFI
//! program any more, and it does not place itself at random in memory.

use std::ops::Range;

use lz4::block::CompressionMode;
use rayon::prelude::*;

use super::bzimage::{BzImage, field};
use super::kernel_error::KernelError;
use super::vmlinux::{HIGHEST_ADDRESS, Kernel, Segment, address};
use crate::recipe::Wrap;

/// The stub, linked to run at [`LOAD_ADDRESS`].
/// The stub, a multiple of 1024 bytes.
pub(crate) const STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel-stub.bin"));

/// Where loaders put the protected-mode part of a bzImage that is not relocatable.
const LOAD_ADDRESS: u32 = 0x10_0000;

/// Where the stub's `struct plan` begins, and what it begins with.
const PLAN: usize = 16;
const PLAN_MAGIC: &[u8; 8] = b"HPCVMKRN";

/// The stub's page tables for 64-bit kernels.
const PAGE: u32 = 4096;
const PAGE_TABLES: u32 = 6 * PAGE;

/// Chunks are compressed side by side; larger ones do not get smaller by it.
const CHUNK_LIMIT: usize = 4 << 20;

/// `LZ4HC_CLEVEL_MAX`: takes longer to write, not to read.
const LZ4_LEVEL: i32 = 12;

/// Packs the kernel in the file `bzimage` as `wrap` says. The same input gives the same bytes.
///
/// # Errors
/// [`KernelError::Unwrappable`] or [`KernelError::Compression`] where only [`Wrap::Stock`] works.
pub fn wrap(bzimage: &[u8], wrap: Wrap) -> Result<Vec<u8>, KernelError> {
    let image = BzImage::parse(bzimage)?;
    if wrap == Wrap::Stock {
        return Ok(bzimage.to_vec());
    }
    let vmlinux = image.vmlinux()?;
    let kernel = Kernel::parse(&vmlinux)?;
    let pieces: Vec<Chunk> = kernel.segments.iter().flat_map(chunks_of).collect();
    let chunks: Vec<Chunk> = pieces.into_par_iter().map(|piece| piece.packed(wrap)).collect();
    let payload = payload(&chunks);
    let layout = Layout::new(&kernel, payload.len())?;

    let mut out = setup_for(image.setup(), STUB.len() + payload.len(), &layout);
    let stub = out.len();
    out.extend(STUB);
    let plan = plan(&kernel, &layout, payload.len(), chunks.len());
    out[stub + PLAN..stub + PLAN + plan.len()].copy_from_slice(&plan);
    out.extend(payload);
    out.resize(out.len().next_multiple_of(16), 0);
    Ok(out)
}

/// All memory of `segment`, cut into chunks that are not packed yet.
fn chunks_of<'a>(segment: &Segment<'a>) -> Vec<Chunk<'a>> {
    let mut chunks = Vec::new();
    let mut end = segment.address;
    for range in segment.filled() {
        let start = segment.address + address(range.start);
        chunks.extend(Chunk::zeros(end..start));
        end = start;
        for bytes in segment.bytes[range].chunks(CHUNK_LIMIT) {
            chunks.push(Chunk {
                to: end,
                memory: bytes.len(),
                content: Packed::Copy(bytes),
            });
            end += address(bytes.len());
        }
    }
    chunks.extend(Chunk::zeros(end..segment.range().end));
    chunks
}

/// A stretch of the kernel's memory, and how it is stored.
struct Chunk<'a> {
    to: u32,
    memory: usize,
    content: Packed<'a>,
}

enum Packed<'a> {
    Zero,
    Copy(&'a [u8]),
    Lz4(Vec<u8>),
}

impl Chunk<'_> {
    /// Zeros for `range`, unless it is empty.
    fn zeros(range: Range<u32>) -> Option<Self> {
        let memory = (range.end - range.start) as usize;
        (memory > 0).then_some(Self {
            to: range.start,
            memory,
            content: Packed::Zero,
        })
    }

    /// The same, compressed where `wrap` wants it and it helps. Its bytes are never empty, for which
    /// `LZ4_compress_HC` of LZ4 1.10 reads before their start.
    fn packed(self, wrap: Wrap) -> Self {
        let Packed::Copy(bytes) = self.content else { return self };
        if wrap == Wrap::Raw {
            return self;
        }
        match lz4::block::compress(bytes, Some(CompressionMode::HIGHCOMPRESSION(LZ4_LEVEL)), false) {
            Ok(packed) if packed.len() < bytes.len() => Self {
                content: Packed::Lz4(packed),
                ..self
            },
            _ => self,
        }
    }

    /// The stub's `struct chunk`.
    fn entry(&self) -> [u32; 4] {
        let (kind, stored) = match &self.content {
            Packed::Zero => (0, 0),
            Packed::Copy(bytes) => (1, bytes.len()),
            Packed::Lz4(bytes) => (2, bytes.len()),
        };
        [kind, self.to, address(self.memory), address(stored)]
    }
}

/// The table of chunks, then their bytes.
fn payload(chunks: &[Chunk]) -> Vec<u8> {
    let mut payload: Vec<u8> = chunks
        .iter()
        .flat_map(Chunk::entry)
        .flat_map(u32::to_le_bytes)
        .collect();
    for chunk in chunks {
        match &chunk.content {
            Packed::Zero => {}
            Packed::Copy(bytes) => payload.extend_from_slice(bytes),
            Packed::Lz4(bytes) => payload.extend_from_slice(bytes),
        }
    }
    payload
}

/// Where everything is in the guest's memory while the stub runs.
struct Layout {
    payload: u32,
    moved: u32,
    page_tables: u32,
    /// The end of the stub's stack.
    stack: u32,
    end: u32,
}

impl Layout {
    fn new(kernel: &Kernel, payload_length: usize) -> Result<Self, KernelError> {
        let payload = LOAD_ADDRESS + address(STUB.len());
        let length = u32::try_from(payload_length)
            .ok()
            .filter(|length| u64::from(*length) < HIGHEST_ADDRESS);
        let length = length.ok_or_else(|| KernelError::Unwrappable("it is larger than 1 GiB".to_owned()))?;
        let Range { start: first, end } = kernel.range();
        if first < payload {
            return Err(KernelError::Unwrappable(
                "a segment lies below the stub's end".to_owned(),
            ));
        }
        let page_tables = end.next_multiple_of(PAGE);
        let tables_end = if kernel.long_mode {
            page_tables + PAGE_TABLES
        } else {
            page_tables
        };
        let stack = tables_end + PAGE;
        // A payload that would be overwritten while it is read moves behind everything else.
        let moved = if payload + length <= first {
            payload
        } else {
            stack.max(payload + length)
        };
        let end = stack.max(moved + length).next_multiple_of(PAGE);
        Ok(Self {
            payload,
            moved,
            page_tables,
            stack,
            end,
        })
    }
}

/// The stub's `struct plan`.
fn plan(kernel: &Kernel, layout: &Layout, payload_length: usize, chunks: usize) -> Vec<u8> {
    let words = [
        kernel.entry,
        u32::from(kernel.long_mode),
        layout.page_tables,
        layout.stack,
        layout.payload,
        address(payload_length),
        layout.moved,
        address(chunks),
    ];
    PLAN_MAGIC
        .iter()
        .copied()
        .chain(words.into_iter().flat_map(u32::to_le_bytes))
        .collect()
}

/// The setup sectors with a header that fits the new protected-mode part of `protected` bytes.
fn setup_for(original: &[u8], protected: usize, layout: &Layout) -> Vec<u8> {
    let mut setup = original.to_vec();
    let mut put = |offset: usize, bytes: &[u8]| setup[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(field::SYSSIZE, &address(protected.div_ceil(16)).to_le_bytes());
    put(field::CODE32_START, &LOAD_ADDRESS.to_le_bytes());
    put(field::RELOCATABLE_KERNEL, &[0]);
    // Loaders keep the initrd out of this much memory from the load address on.
    put(field::PREF_ADDRESS, &u64::from(LOAD_ADDRESS).to_le_bytes());
    put(field::INIT_SIZE, &(layout.end - LOAD_ADDRESS).to_le_bytes());
    // None of these is there any more: other entry points, a payload of a known format.
    put(field::XLOADFLAGS, &[0; 2]);
    put(field::PAYLOAD_OFFSET, &[0; 4]);
    put(field::PAYLOAD_LENGTH, &[0; 4]);
    put(field::HANDOVER_OFFSET, &[0; 4]);
    put(field::KERNEL_INFO_OFFSET, &[0; 4]);
    forget_efi(&mut setup);
    setup
}

/// Removes the PE signature, so that EFI firmware refuses the file and does not jump into it.
fn forget_efi(setup: &mut [u8]) {
    let offset = u32::from_le_bytes([setup[0x3c], setup[0x3d], setup[0x3e], setup[0x3f]]) as usize;
    if let Some(signature) = setup.get_mut(offset..).and_then(|rest| rest.get_mut(..4))
        && signature == b"PE\0\0"
    {
        signature.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bzimage::tests::{bzimage, xz};
    use super::*;

    /// Where the tests' kernel begins.
    const START: u32 = 0x20_0000;

    /// An ELF file for 32 or 64 bits with these segments: address, bytes in the file, memory.
    fn vmlinux(wide: bool, entry: u32, segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        let word = |value: u32| {
            if wide {
                u64::from(value).to_le_bytes().to_vec()
            } else {
                value.to_le_bytes().to_vec()
            }
        };
        let half = u16::to_le_bytes;
        let (header, each) = if wide { (64_u16, 56_u16) } else { (52, 32) };
        let mut file = b"\x7fELF\0\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file[4] = if wide { 2 } else { 1 };
        file.extend([half(2), half(if wide { 62 } else { 3 })].concat());
        file.extend([1, 0, 0, 0]);
        file.extend([word(entry), word(header.into()), word(0)].concat());
        let count = u16::try_from(segments.len()).unwrap();
        file.extend(
            [
                [0; 2],
                [0; 2],
                half(header),
                half(each),
                half(count),
                [0; 2],
                [0; 2],
                [0; 2],
            ]
            .concat(),
        );
        let mut offset = u32::from(header) + u32::from(each) * u32::from(count);
        for (address, bytes, memory) in segments {
            let length = u32::try_from(bytes.len()).unwrap();
            file.extend(1_u32.to_le_bytes());
            file.extend(if wide { vec![7, 0, 0, 0] } else { vec![] });
            file.extend([offset, *address, *address, length, *memory].map(word).concat());
            file.extend(if wide {
                word(4096)
            } else {
                [7_u32, 4096].map(u32::to_le_bytes).concat()
            });
            offset += length;
        }
        file.extend(segments.iter().flat_map(|(_, bytes, _)| bytes.iter().copied()));
        file
    }

    /// Bytes with a long run of zeros in them and a part that does not compress.
    fn text() -> Vec<u8> {
        let mut bytes: Vec<u8> = b"mov push pop call ".repeat(9000);
        bytes.resize(bytes.len() + 100_000, 0);
        bytes.extend((0..50_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]));
        bytes
    }

    fn word(bytes: &[u8], index: usize) -> usize {
        u32::from_le_bytes(bytes[4 * index..4 * index + 4].try_into().unwrap()) as usize
    }

    /// What the stub would put into memory from [`START`] on: the same steps as `unpack` in
    /// stub.c. Bytes it leaves alone are `None`.
    fn memory(image: &[u8]) -> Vec<Option<u8>> {
        let protected = &image[5 * 512..];
        let plan = &protected[PLAN + 8..];
        let payload = &protected[word(plan, 4) - LOAD_ADDRESS as usize..][..word(plan, 5)];
        let mut from = 16 * word(plan, 7);
        let mut memory = Vec::new();
        for chunk in payload[..from].chunks(16) {
            let (to, length, stored) = (word(chunk, 1) - START as usize, word(chunk, 2), word(chunk, 3));
            let bytes = &payload[from..from + stored];
            let bytes = match word(chunk, 0) {
                0 => vec![0; length],
                1 => bytes.to_vec(),
                _ => lz4::block::decompress(bytes, Some(i32::try_from(length).unwrap())).unwrap(),
            };
            assert_eq!(bytes.len(), length);
            assert!(to >= memory.len(), "written twice: {to:#x}");
            memory.resize(to, None);
            memory.extend(bytes.into_iter().map(Some));
            from += stored;
        }
        assert_eq!(from, payload.len());
        memory
    }

    #[test]
    fn a_packed_kernel_unpacks_to_its_segments() {
        let text = text();
        let segments = [(START, &text[..], 400_000), (START + 0x10_0000, b"data", 70_000)];
        let mut expected: Vec<Option<u8>> = text.iter().copied().map(Some).collect();
        expected.resize(400_000, Some(0));
        expected.resize(0x10_0000, None);
        expected.extend(b"data".map(Some));
        expected.resize(0x10_0000 + 70_000, Some(0));
        for (wide, wrapped) in [
            (false, Wrap::Raw),
            (false, Wrap::Lz4),
            (true, Wrap::Raw),
            (true, Wrap::Lz4),
        ] {
            let stock = bzimage(&xz(&vmlinux(wide, START + 16, &segments)));
            let packed = wrap(&stock, wrapped).unwrap();
            assert!(memory(&packed) == expected, "{wide} {wrapped:?}");
            assert!(packed == wrap(&stock, wrapped).unwrap());
            let plan = &packed[5 * 512 + PLAN + 8..];
            assert_eq!((word(plan, 0), word(plan, 1)), (START as usize + 16, usize::from(wide)));
            let end = (START as usize + expected.len()).next_multiple_of(4096);
            let free = if wide { end + 6 * 4096 } else { end };
            assert_eq!((word(plan, 2), word(plan, 3)), (end, free + 4096));
        }
    }

    proptest! {
        #[test]
        fn no_change_of_a_kernel_makes_packing_panic(
            wide in any::<bool>(),
            changes in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6),
        ) {
            let mut elf = vmlinux(wide, START, &[(START, b"code", 4096), (START + 8192, &[1; 64], 64)]);
            for (offset, byte) in changes {
                let offset = offset % elf.len();
                elf[offset] = byte;
            }
            let image = bzimage(&elf);
            if let Ok(packed) = wrap(&image, Wrap::Lz4) {
                prop_assert!(packed.len() < 20_000);
            }
        }
    }

    #[test]
    fn the_header_fits_the_new_content() {
        let large: Vec<u8> = (0..2_000_000_u32)
            .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let stock = bzimage(&xz(&vmlinux(false, START, &[(START, &large, 2_000_000)])));
        let packed = wrap(&stock, Wrap::Raw).unwrap();
        let at = |offset: usize| word(&packed[offset..], 0);
        let protected = packed.len() - 5 * 512;
        assert_eq!(at(field::SYSSIZE) * 16, protected);
        assert_eq!(
            (at(field::PREF_ADDRESS), packed[field::RELOCATABLE_KERNEL]),
            (LOAD_ADDRESS as usize, 0)
        );
        assert_eq!(
            (
                at(field::PAYLOAD_OFFSET),
                at(field::PAYLOAD_LENGTH),
                at(field::HANDOVER_OFFSET)
            ),
            (0, 0, 0)
        );
        assert_eq!(&packed[0x40..0x44], b"\0\0\0\0");
        // The payload reaches over the kernel's place, so it moves, and memory is asked for that.
        let plan = &packed[5 * 512 + PLAN + 8..];
        let (payload, length, moved) = (word(plan, 4), word(plan, 5), word(plan, 6));
        assert!(payload + length > START as usize);
        assert!(moved >= payload + length && moved >= START as usize + 2_000_000);
        assert!(at(field::INIT_SIZE) >= moved + length - LOAD_ADDRESS as usize);
        assert_eq!(wrap(&stock, Wrap::Stock).unwrap(), stock);
    }

    #[test]
    fn a_kernel_that_cannot_be_packed_is_refused() {
        let good = (START, &b"code"[..], 4096);
        for (vmlinux, message) in [
            (
                vmlinux(false, START, &[good, (START + 4095, b"", 9)]),
                "segments overlap",
            ),
            (vmlinux(false, START + 4096, &[good]), "entry point is in no segment"),
            (vmlinux(false, START, &[]), "entry point is in no segment"),
            (
                vmlinux(true, 0x10_0000, &[(0x10_0000, b"code", 4096)]),
                "below the stub's end",
            ),
            (vmlinux(true, START, &[good, (0x3fff_f000, b"", 4097)]), "above 1 GiB"),
            (vmlinux(true, START, &[(START, b"code", 3)]), "outside the file"),
            (b"\x7fELFshort".to_vec(), "no ELF file"),
        ] {
            let error = wrap(&bzimage(&xz(&vmlinux)), Wrap::Raw).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_stub_has_its_plan_where_it_is_written() {
        assert_eq!(&STUB[PLAN..PLAN + 8], PLAN_MAGIC);
        assert_eq!(STUB.len() % 1024, 0);
    }
}
