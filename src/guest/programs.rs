//! The guest's own programs, compiled by `build.rs` from `overlays/job-runner/src`.

use crate::architecture::Architecture;

macro_rules! program {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// Where the job runner stands in a guest.
pub const JOB_RUNNER_PATH: &str = "/usr/lib/hpcvm/job-runner";

/// Process 1 of the initial RAM disk: an ELF program without dependencies.
#[must_use]
pub fn init(architecture: Architecture) -> &'static [u8] {
    match architecture {
        Architecture::I386 => program!("init-i386"),
        Architecture::Amd64 => program!("init-amd64"),
    }
}

/// The job runner: an ELF program without dependencies.
#[must_use]
pub fn job_runner(architecture: Architecture) -> &'static [u8] {
    match architecture {
        Architecture::I386 => program!("job-runner-i386"),
        Architecture::Amd64 => program!("job-runner-amd64"),
    }
}

/// A first process that says `floor` on the console and powers off: the least a boot can take.
/// For i386; amd64 kernels run it too.
#[must_use]
pub fn floor_init() -> &'static [u8] {
    program!("floor-init-i386")
}

#[cfg(test)]
mod tests {
    use goblin::elf::Elf;

    use super::*;

    #[test]
    fn programs_are_of_their_architecture_and_need_nothing() {
        for (architecture, is_64) in [(Architecture::I386, false), (Architecture::Amd64, true)] {
            for bytes in [init(architecture), job_runner(architecture)] {
                let elf = Elf::parse(bytes).unwrap();
                assert_eq!(elf.is_64, is_64);
                assert!(elf.libraries.is_empty() && elf.interpreter.is_none());
            }
        }
        assert!(!Elf::parse(floor_init()).unwrap().is_64);
    }
}
