//! Numbers as the page shows them.

use serde::Serialize;

use crate::units::Bytes;

/// Bytes: to read, to sort by, and to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Amount {
    /// The number, which tables are sorted by.
    pub(super) bytes: u64,
    /// `14.7 MiB`
    pub(super) text: String,
    /// `15,414,067 bytes`
    pub(super) exact: String,
}

impl Amount {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            text: Bytes(bytes).to_string(),
            exact: format!("{} bytes", grouped(bytes)),
        }
    }
}

/// A number of things: to sort by, and to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    number: u64,
    /// `2,310`
    text: String,
}

impl Count {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            text: grouped(number),
        }
    }
}

/// A number with a comma before every third digit from the right.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Thousandths that `part` is of `whole`, rounded, 1000 at most; 0 of nothing.
pub(super) fn thousandths(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let share = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    u64::try_from(share).unwrap_or(1000).min(1000)
}

/// `part` of `whole` in per cent: `12.3 %`, `< 0.1 %` for what is little but there.
pub(super) fn per_cent(part: u64, whole: u64) -> String {
    match thousandths(part, whole) {
        0 if part > 0 => "< 0.1 %".to_owned(),
        0 => "0 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// `1 file`, `2,000 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// The name of a variant as manifests and recipes write it.
pub(super) fn name(variant: impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (15_414_067, "15,414,067")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn shares_are_rounded_and_never_leave_the_whole() {
        for (part, whole, expected, text) in [
            (0, 0, 0, "0 %"),
            (1, 3, 333, "33.3 %"),
            (1, 1_000_000, 0, "< 0.1 %"),
            (9, 3, 1000, "100.0 %"),
            (u64::MAX, u64::MAX, 1000, "100.0 %"),
        ] {
            assert_eq!(thousandths(part, whole), expected, "{part} of {whole}");
            assert_eq!(per_cent(part, whole), text, "{part} of {whole}");
        }
    }
}
