//! Which program runs virtual machines.

use std::fmt;

/// A hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hypervisor {
    /// QEMU, with KVM or by emulation.
    #[default]
    Qemu,
    /// `VirtualBox`, with its kernel driver; without it, by its interpreter, for tests.
    VirtualBox,
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::VirtualBox => "VirtualBox",
        })
    }
}
