//! The kernel's ELF file: what of it goes where in physical memory.

use std::ops::Range;

use goblin::container::Ctx;
use goblin::elf::Elf;
use goblin::elf::header::{EM_386, EM_X86_64};
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};

use super::kernel_error::KernelError;

/// Kernels are linked to run below this; the stub's map of memory ends far above it.
pub(super) const HIGHEST_ADDRESS: u64 = 1 << 30;

/// Zero bytes in a row that are cheaper to write than to unpack.
const ZERO_RUN: usize = 32 << 10;

/// What the stub needs to know of a kernel's ELF file.
pub(super) struct Kernel<'a> {
    /// The physical address to start it at.
    pub(super) entry: u32,
    /// Whether it is 64-bit code.
    pub(super) long_mode: bool,
    /// By address, without overlaps; at least one, in which the entry point lies.
    pub(super) segments: Vec<Segment<'a>>,
}

/// Bytes for a physical address, and how much memory they take with the zeros behind them.
pub(super) struct Segment<'a> {
    pub(super) address: u32,
    pub(super) bytes: &'a [u8],
    memory: usize,
}

impl<'a> Kernel<'a> {
    /// Reads the program headers of the ELF file `vmlinux`.
    pub(super) fn parse(vmlinux: &'a [u8]) -> Result<Self, KernelError> {
        let unwrappable = |reason: String| KernelError::Unwrappable(reason);
        let header =
            Elf::parse_header(vmlinux).map_err(|error| unwrappable(format!("its payload is no ELF file: {error}")))?;
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
    pub(super) fn range(&self) -> Range<u32> {
        let (first, last) = (&self.segments[0], &self.segments[self.segments.len() - 1]);
        first.address..last.range().end
    }
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

    /// The addresses it takes.
    pub(super) fn range(&self) -> Range<u32> {
        self.address..self.address + address(self.memory)
    }

    /// The ranges of [`Self::bytes`] between long runs of zeros.
    pub(super) fn filled(&self) -> Vec<Range<usize>> {
        filled(self.bytes)
    }

    /// `entry` if it lies here: the entry point of vmlinux is a physical address.
    fn physical(&self, entry: u64) -> Option<u32> {
        u32::try_from(entry).ok().filter(|entry| self.range().contains(entry))
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

/// A length or offset within [`HIGHEST_ADDRESS`].
pub(super) fn address(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("bounded by the highest address")
}
