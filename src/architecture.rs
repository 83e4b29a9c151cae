//! The processor architectures a guest can have.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A guest's processor architecture, by Debian's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 32-bit x86 (Debian `i386`, i686 baseline).
    I386,
    /// 64-bit x86 (Debian `amd64`).
    Amd64,
}

impl Architecture {
    /// Debian's name, as in `dpkg --print-architecture`.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::I386 => "i386",
            Self::Amd64 => "amd64",
        }
    }

    /// The multiarch triplet that names library directories, e.g. `/usr/lib/i386-linux-gnu`.
    #[must_use]
    pub const fn multiarch(self) -> &'static str {
        match self {
            Self::I386 => "i386-linux-gnu",
            Self::Amd64 => "x86_64-linux-gnu",
        }
    }

    /// The QEMU system emulator for this architecture.
    #[must_use]
    pub const fn qemu_system(self) -> &'static str {
        match self {
            Self::I386 => "qemu-system-i386",
            Self::Amd64 => "qemu-system-x86_64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.debian())
    }
}
