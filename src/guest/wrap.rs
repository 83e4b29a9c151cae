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

use goblin::container::Ctx;
use goblin::elf::header::{EM_386, EM_X86_64, Header};
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};
use lz4::block::CompressionMode;
use rayon::prelude::*;

use super::bzimage::{BzImage, field};
use super::kernel_error::KernelError;
use crate::recipe::Wrap;

/// The stub, linked to run at [`LOAD_ADDRESS`].
const STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel-stub.bin"));

/// Where loaders put the protected-mode part of a bzImage that is not relocatable.
const LOAD_ADDRESS: u32 = 0x10_0000;

/// Kernels are linked to run below this; the stub's map of memory ends far above it.
const HIGHEST_ADDRESS: u64 = 1 << 30;

/// Where the stub's `struct plan` begins, and what it begins with.
const PLAN: usize = 16;
const PLAN_MAGIC: &[u8; 8] = b"HPCVMKRN";

/// The stub's page tables for 64-bit kernels.
const PAGE: u32 = 4096;
const PAGE_TABLES: u32 = 6 * PAGE;

/// Zero bytes in a row that are cheaper to write than to unpack.
const ZERO_RUN: usize = 32 << 10;

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
    let pieces: Vec<Chunk> = kernel.segments.iter().flat_map(Segment::pieces).collect();
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

/// What the stub needs to know of a kernel's ELF file.
struct Kernel<'a> {
    entry: u32,
    long_mode: bool,
    /// By address, without overlaps; at least one, in which the entry point lies.
    segments: Vec<Segment<'a>>,
}

/// Bytes for a physical address, and how much memory they take with the zeros behind them.
struct Segment<'a> {
    address: u32,
    bytes: &'a [u8],
    memory: usize,
}

impl<'a> Kernel<'a> {
    fn parse(vmlinux: &'a [u8]) -> Result<Self, KernelError> {
        let unwrappable = |reason: String| KernelError::Unwrappable(reason);
        let header = header(vmlinux).ok_or_else(|| unwrappable("its payload is not an ELF file".to_owned()))?;
        let long_mode = match header.e_machine {
            EM_386 => false,
            EM_X86_64 => true,
            other => return Err(unwrappable(format!("it is for ELF machine {other} and not for x86"))),
        };
        let (start, count) = (
            usize::try_from(header.e_phoff).unwrap_or(usize::MAX),
            usize::from(header.e_phnum),
        );
        let context = header
            .container()
            .and_then(|container| Ok(Ctx::new(container, header.endianness()?)));
        let headers = context
            .and_then(|context| ProgramHeader::parse(vmlinux, start, count, context))
            .map_err(|error| unwrappable(format!("its program headers cannot be read: {error}")))?;
        let mut segments = headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
            .map(|header| Segment::new(vmlinux, header))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| unwrappable("a segment lies outside the file or above 1 GiB".to_owned()))?;
        segments.sort_by_key(|segment| segment.address);
        // Besides making no sense, overlaps would let a small file ask for any amount of memory.
        if segments.windows(2).any(|pair| pair[0].range().end > pair[1].address) {
            return Err(unwrappable("its segments overlap".to_owned()));
        }
        let entry = segments.iter().find_map(|segment| segment.physical(header.e_entry));
        let entry = entry.ok_or_else(|| unwrappable("its entry point is in no segment".to_owned()))?;
        Ok(Self {
            entry,
            long_mode,
            segments,
        })
    }

    /// The addresses from the first segment's start to the last one's end.
    fn range(&self) -> Range<u32> {
        let (first, last) = (&self.segments[0], &self.segments[self.segments.len() - 1]);
        first.address..last.range().end
    }
}

fn header(vmlinux: &[u8]) -> Option<Header> {
    // Header::parse reads the identification without looking at the length first.
    vmlinux
        .get(..64)
        .and_then(|_| goblin::elf::Elf::parse_header(vmlinux).ok())
}

impl<'a> Segment<'a> {
    fn new(vmlinux: &'a [u8], header: &ProgramHeader) -> Option<Self> {
        let end = header.p_paddr.checked_add(header.p_memsz)?;
        if end > HIGHEST_ADDRESS || header.p_filesz > header.p_memsz {
            return None;
        }
        let start = usize::try_from(header.p_offset).ok()?;
        let length = usize::try_from(header.p_filesz).ok()?;
        Some(Self {
            address: u32::try_from(header.p_paddr).ok()?,
            bytes: vmlinux.get(start..start.checked_add(length)?)?,
            memory: usize::try_from(header.p_memsz).ok()?,
        })
    }

    fn range(&self) -> Range<u32> {
        self.address..self.address + address(self.memory)
    }

    /// `entry` if it lies here: the entry point of vmlinux is a physical address.
    fn physical(&self, entry: u64) -> Option<u32> {
        u32::try_from(entry).ok().filter(|entry| self.range().contains(entry))
    }

    /// All its memory, cut into chunks that are not packed yet.
    fn pieces(&self) -> Vec<Chunk<'a>> {
        let mut pieces = Vec::new();
        for range in filled(self.bytes) {
            let mut rest = &self.bytes[range.clone()];
            let mut to = self.address + address(range.start);
            while !rest.is_empty() {
                let (bytes, behind) = rest.split_at(rest.len().min(CHUNK_LIMIT));
                pieces.push(Chunk {
                    to,
                    memory: bytes.len(),
                    content: Packed::Copy(bytes),
                });
                to += address(bytes.len());
                rest = behind;
            }
        }
        let mut zeros = Vec::new();
        let mut end = self.address;
        for piece in &pieces {
            zeros.push(Chunk::zeros(end..piece.to));
            end = piece.to + address(piece.memory);
        }
        zeros.push(Chunk::zeros(end..self.range().end));
        pieces.extend(zeros.into_iter().filter(|chunk| chunk.memory > 0));
        pieces.sort_by_key(|chunk| chunk.to);
        pieces
    }
}

/// The ranges of `bytes` between runs of at least [`ZERO_RUN`] zeros.
fn filled(bytes: &[u8]) -> Vec<Range<usize>> {
    // Runs are found by whole KiB: a few zeros more or less at their ends do not matter.
    const STEP: usize = 1024;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, block) in bytes.chunks(STEP).enumerate() {
        if block.iter().all(|&byte| byte == 0) {
            continue;
        }
        let start = index * STEP;
        match ranges.last_mut() {
            Some(last) if start - last.end < ZERO_RUN => last.end = start + block.len(),
            _ => ranges.push(start..start + block.len()),
        }
    }
    ranges
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
    fn zeros(range: Range<u32>) -> Self {
        let memory = (range.end - range.start) as usize;
        Self {
            to: range.start,
            memory,
            content: Packed::Zero,
        }
    }

    /// The same, compressed where `wrap` wants it and it helps.
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

/// A length or offset that [`HIGHEST_ADDRESS`] and [`super::bzimage::VMLINUX_LIMIT`] bound.
fn address(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("bounded by the limits on addresses and file sizes")
}
