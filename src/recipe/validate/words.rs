//! The syntax of names.

/// Whether `text` begins with a character that `first` accepts, goes on with such that `rest`
/// accepts, and has from `min` to `max` characters.
fn is_name(text: &str, min: usize, max: usize, first: impl Fn(char) -> bool, rest: impl Fn(char) -> bool) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(first) && characters.all(rest) && (min..=max).contains(&text.len())
}

fn lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// A Debian package's name (Debian Policy 5.6.1).
pub(super) fn is_package(text: &str) -> bool {
    is_name(text, 2, 128, lower_or_digit, |c| lower_or_digit(c) || "+-.".contains(c))
}

/// An image's name: safe as a file name and on a command line.
pub(super) fn is_image(text: &str) -> bool {
    is_name(text, 1, 63, lower_or_digit, |c| lower_or_digit(c) || "+-.".contains(c))
}

/// A user's name, as Debian's `adduser` accepts it by default.
pub(super) fn is_user(text: &str) -> bool {
    is_name(
        text,
        1,
        32,
        |c| c.is_ascii_lowercase() || c == '_',
        |c| lower_or_digit(c) || "_-".contains(c),
    )
}

/// An environment variable's name (POSIX, Base Definitions 3.216).
pub(super) fn is_variable(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    is_name(text, 1, 128, letter, |c| letter(c) || c.is_ascii_digit())
}

/// A kernel module's name.
pub(super) fn is_module(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    is_name(text, 1, 64, letter, |c| letter(c) || c == '-')
}

/// An overlay's name: one folder's name, neither hidden nor a way out.
pub(super) fn is_overlay(text: &str) -> bool {
    is_name(
        text,
        1,
        64,
        |c| c.is_ascii_alphanumeric(),
        |c| c.is_ascii_alphanumeric() || "._-".contains(c),
    )
}

/// An archive component's name, such as `non-free-firmware`.
pub(super) fn is_component(text: &str) -> bool {
    is_name(text, 1, 64, lower_or_digit, |c| lower_or_digit(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_and_refused() {
        type Check = fn(&str) -> bool;
        let long = "a".repeat(64);
        let cases: [(Check, &[&str], &[&str]); 7] = [
            (
                is_package,
                &["g++-12", "libc6", "0ad"],
                &["", "a", "Vim", "-vim", "vim=1", "libc6:i386", "a b", "é1"],
            ),
            (
                is_image,
                &["a", "minimal-i386", "x+1.2"],
                &["", "A", "-a", ".a", "a/b", &long],
            ),
            (is_user, &["job", "_x", "a-b_1"], &["", "Job", "1a", "a.b", "a b"]),
            (is_variable, &["PATH", "_", "a1"], &["", "1A", "A-B", "A=B", "É"]),
            (
                is_module,
                &["virtio_blk", "crc32c-intel", "9p"],
                &["", "-x", "a.ko", "a/b"],
            ),
            (
                is_overlay,
                &["job-runner", "site.d"],
                &["", "..", ".git", "a/b", "../a"],
            ),
            (is_component, &["main", "non-free-firmware"], &["", "Main", "-a", "a b"]),
        ];
        for (check, good, bad) in cases {
            assert!(good.iter().all(|text| check(text)), "{good:?}");
            assert!(!bad.iter().any(|text| check(text)), "{bad:?}");
        }
    }
}
