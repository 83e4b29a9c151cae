//! How a user names an image.

use std::path::PathBuf;

/// What a reference means, before anything was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A name, or, where there is none such, the first digits of a digest.
    Name(String),
    /// The first digits of a digest of an image that has this name.
    NameAndDigits(String, String),
    /// The first digits of a digest.
    Digits(String),
    /// The folder an image is in.
    Folder(PathBuf),
}

/// The fewest digits of a digest that name an image.
const DIGITS_AT_LEAST: usize = 4;

/// Reads a reference. Only what has a slash, or is `.` or `..`, is a path: a folder of the
/// working directory that happens to have an image's name does not come between.
pub(super) fn parse(text: &str) -> Reference {
    if text.contains('/') || matches!(text, "." | "..") {
        Reference::Folder(text.into())
    } else if let Some(digits) = text.strip_prefix("sha256:") {
        Reference::Digits(digits.to_ascii_lowercase())
    } else if let Some((name, digits)) = text.split_once('@') {
        let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
        Reference::NameAndDigits(name.to_owned(), digits.to_ascii_lowercase())
    } else {
        Reference::Name(text.to_owned())
    }
}

/// Whether `text` can be an image's name, and so a file's.
pub(super) fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 100 && text.starts_with(first) && text.chars().all(|c| first(c) || "._-".contains(c))
}

/// Whether `text` can be the first digits of a digest.
pub(super) fn is_digits(text: &str) -> bool {
    (DIGITS_AT_LEAST..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Those of `names` that look like `text`, nearest first; where none does, the first few.
pub(super) fn near(text: &str, names: Vec<String>) -> Vec<String> {
    let wanted = text.split_once('@').map_or(text, |(name, _)| name);
    // A quarter of the letters may differ, and a part of the name may be missing.
    let mut ranked: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, name)| *distance <= wanted.len().max(4) / 4 + 1 || name.contains(wanted))
        .collect();
    ranked.sort();
    if ranked.is_empty() {
        return names.into_iter().take(5).collect();
    }
    ranked.into_iter().take(5).map(|(_, name)| name.clone()).collect()
}

/// The Levenshtein distance of the first 100 bytes of each.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (&a.as_bytes()[..a.len().min(100)], &b.as_bytes()[..b.len().min(100)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let name = |text: &str| Reference::Name(text.into());
        for (text, expected) in [
            ("minimal-i386", name("minimal-i386")),
            ("beef", name("beef")),
            ("a@beef", Reference::NameAndDigits("a".into(), "beef".into())),
            ("a@sha256:BEEF", Reference::NameAndDigits("a".into(), "beef".into())),
            ("sha256:BEEF", Reference::Digits("beef".into())),
            ("./a", Reference::Folder("./a".into())),
            (".", Reference::Folder(".".into())),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn names_can_be_file_names() {
        for (text, expected) in [
            ("minimal-i386", true),
            ("12.5_x", true),
            ("", false),
            (".hidden", false),
            ("-v", false),
            ("a/b", false),
            ("Upper", false),
            ("a\n", false),
            (&"a".repeat(101), false),
        ] {
            assert_eq!(is_name(text), expected, "{text:?}");
        }
    }

    #[test]
    fn near_names_come_first() {
        let names = ["minimal-amd64", "minimal-i386", "science-i386"].map(str::to_owned);
        for (text, expected) in [
            ("minimal-i368", &["minimal-i386", "minimal-amd64"][..1]),
            ("science", &["science-i386"]),
            ("minimal-i386@beef", &["minimal-i386"]),
            ("zzz", &["minimal-amd64", "minimal-i386", "science-i386"]),
        ] {
            assert_eq!(near(text, names.to_vec())[..expected.len()], *expected, "{text}");
        }
    }
}
