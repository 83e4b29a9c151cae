//! Sizes that cross module borders, so that bytes are never taken for mebibytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// One kibibyte in bytes.
pub const KIB: u64 = 1024;
/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * KIB;
/// One gibibyte in bytes.
pub const GIB: u64 = 1024 * MIB;

impl Bytes {
    /// `count` mebibytes.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count * MIB)
    }

    /// Whole mebibytes, rounded up, as QEMU's `-m` takes them.
    #[must_use]
    pub const fn as_mebibytes(self) -> u64 {
        self.0.div_ceil(MIB)
    }
}

impl fmt::Display for Bytes {
    /// Human-readable with one decimal: `14.7 MiB`; below one KiB, plain bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            n if n >= GIB => (GIB, "GiB"),
            n if n >= MIB => (MIB, "MiB"),
            n if n >= KIB => (KIB, "KiB"),
            n => return write!(f, "{n} B"),
        };
        let tenths = (u128::from(self.0) * 10 + u128::from(unit) / 2) / u128::from(unit);
        write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// Why a size could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size: write a whole number with K, M, G or T, such as 256M")]
pub struct InvalidSize(pub String);

impl FromStr for Bytes {
    type Err = InvalidSize;

    /// Reads `256M`, `2G`, `512K`, `1T`, with an optional `iB` or `B`; units are powers of 1024.
    /// A bare number is bytes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match trimmed[digits.len()..].trim().to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "K" | "KB" | "KIB" => KIB,
            "M" | "MB" | "MIB" => MIB,
            "G" | "GB" | "GIB" => GIB,
            "T" | "TB" | "TIB" => 1024 * GIB,
            _ => return Err(invalid()),
        };
        let count: u64 = digits.parse().map_err(|_| invalid())?;
        count.checked_mul(unit).map(Self).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("512K", 512 * KIB),
            ("256M", 256 * MIB),
            ("2GiB", 2 * GIB),
            ("1 T", 1024 * GIB),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "12Q", "99999999999999T"] {
            assert_eq!(text.parse::<Bytes>(), Err(InvalidSize(text.to_owned())));
        }
    }

    #[test]
    fn sizes_are_shown_with_one_decimal() {
        for (bytes, text) in [
            (5, "5 B"),
            (KIB, "1.0 KiB"),
            (15_414_067, "14.7 MiB"),
            (3 * GIB, "3.0 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
