//! Which programs and libraries can be loaded together.

use std::fmt;

use goblin::elf::header::{EM_386, EM_AARCH64, EM_X86_64};

use super::ld_cache::ANY_LIBC;

/// The word size of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// ELFCLASS32.
    Elf32,
    /// ELFCLASS64.
    Elf64,
}

/// Word size, machine and byte order: `ld.so` skips what differs from its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Abi {
    /// Word size.
    pub class: Class,
    /// `e_machine`, `EM_*` in elf(5).
    pub machine: u16,
    /// Whether numbers are little-endian.
    pub little_endian: bool,
}

/// What is known of an ABI: machine, class, name, multiarch triplet, flags in `ld.so.cache`
/// (glibc sysdeps/generic/ldconfig.h), `$PLATFORM`.
type Row = (u16, Class, &'static str, &'static str, u32, &'static str);

const KNOWN: [Row; 4] = [
    (EM_386, Class::Elf32, "i386", "i386-linux-gnu", 0x0003, "i686"),
    (EM_X86_64, Class::Elf64, "x86-64", "x86_64-linux-gnu", 0x0303, "x86_64"),
    (EM_X86_64, Class::Elf32, "x32", "x86_64-linux-gnux32", 0x0803, "x86_64"),
    (
        EM_AARCH64,
        Class::Elf64,
        "aarch64",
        "aarch64-linux-gnu",
        0x0a03,
        "aarch64",
    ),
];

impl Abi {
    fn row(self) -> Option<&'static Row> {
        KNOWN
            .iter()
            .find(|row| row.0 == self.machine && row.1 == self.class && self.little_endian)
    }

    /// Debian's multiarch triplet, which names library folders, where one is known.
    #[must_use]
    pub fn multiarch(self) -> Option<&'static str> {
        self.row().map(|row| row.3)
    }

    /// The `flags` of its entries in `ld.so.cache`.
    #[must_use]
    pub fn cache_flags(self) -> Option<u32> {
        self.row().map(|row| row.4)
    }

    /// Whether `ld.so` takes an entry of `ld.so.cache` with these `flags`. `ldconfig` marks files
    /// of i386 that do not need a C library as of any C library.
    #[must_use]
    pub fn takes_cache_flags(self, flags: u32) -> bool {
        self.cache_flags() == Some(flags) || self.is_i386() && flags == ANY_LIBC
    }

    /// What `$PLATFORM` stands for.
    #[must_use]
    pub fn platform(self) -> Option<&'static str> {
        self.row().map(|row| row.5)
    }

    /// Whether it is 32-bit x86.
    #[must_use]
    pub const fn is_i386(self) -> bool {
        self.machine == EM_386
    }

    /// Whether it is x86 with 64-bit registers.
    #[must_use]
    pub const fn is_x86_64(self) -> bool {
        self.machine == EM_X86_64
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row() {
            return f.write_str(row.2);
        }
        let bits = if self.class == Class::Elf32 { 32 } else { 64 };
        let order = if self.little_endian { "le" } else { "be" };
        write!(f, "machine-{}-{bits}-{order}", self.machine)
    }
}
