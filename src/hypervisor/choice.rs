//! Which program runs virtual machines.

use std::fmt;

use crate::units::Bytes;

/// A hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hypervisor {
    /// QEMU, with KVM or by emulation.
    #[default]
    Qemu,
    /// `VirtualBox`, with its kernel driver; without it, by its interpreter, for tests.
    VirtualBox,
}

impl Hypervisor {
    /// The memory that its programs need besides the guest's, for one machine.
    ///
    /// Measured with guests that wrote next to nothing. `VirtualBox` 7.2: 27 MiB for `VBoxSVC` and 56 MiB for
    /// `VBoxHeadless`, a third of it code that machines beside each other share (docs/virtualbox.md).
    #[must_use]
    pub const fn overhead(self) -> Bytes {
        match self {
            Self::Qemu => Bytes::mebibytes(48),
            Self::VirtualBox => Bytes::mebibytes(96),
        }
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::VirtualBox => "VirtualBox",
        })
    }
}
