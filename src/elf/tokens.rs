//! Dynamic string tokens: `$ORIGIN`, `$LIB` and `$PLATFORM` in search paths (ld.so(8)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// What the tokens stand for.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// The folder of the file that holds the path.
    pub origin: &'a OsStr,
    /// `lib/x86_64-linux-gnu` and the like.
    pub lib: &'a str,
    /// `x86_64`, `i686` and the like; empty where the machine has none.
    pub platform: &'a str,
}

/// The longest path that Linux opens.
const PATH_MAX: usize = 4096;

impl Tokens<'_> {
    /// Puts values in place of tokens; `None` for what becomes longer than any path. As in glibc (elf/dl-load.c, `is_dst`), `$ORIGINAL` is no
    /// token, and what is no token stays.
    #[must_use]
    pub fn expand(&self, text: &OsStr) -> Option<OsString> {
        let mut rest = text.as_bytes();
        let mut expanded = Vec::with_capacity(rest.len());
        while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
            expanded.extend_from_slice(&rest[..dollar]);
            rest = &rest[dollar..];
            let values = [
                ("ORIGIN", self.origin.as_bytes()),
                ("LIB", self.lib.as_bytes()),
                ("PLATFORM", self.platform.as_bytes()),
            ];
            let token = values.iter().find_map(|(name, value)| {
                let length = length_of(&rest[1..], name)?;
                Some((length, *value))
            });
            if let Some((length, value)) = token {
                expanded.extend_from_slice(value);
                if expanded.len() > PATH_MAX {
                    return None;
                }
                rest = &rest[1 + length..];
            } else {
                expanded.push(b'$');
                rest = &rest[1..];
            }
        }
        expanded.extend_from_slice(rest);
        (expanded.len() <= PATH_MAX).then(|| OsString::from_vec(expanded))
    }
}

/// How many bytes of `text` the token `name` takes, with or without braces; `None` if it does
/// not stand there.
fn length_of(text: &[u8], name: &str) -> Option<usize> {
    if let Some(inner) = text.strip_prefix(b"{") {
        let after = inner.strip_prefix(name.as_bytes())?;
        return after.starts_with(b"}").then_some(name.len() + 2);
    }
    let after = text.strip_prefix(name.as_bytes())?;
    let ends = after
        .first()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    ends.then_some(name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_whole_words() {
        let tokens = Tokens {
            origin: "/opt/x".as_ref(),
            lib: "lib/i386-linux-gnu",
            platform: "i686",
        };
        for (given, expected) in [
            ("$ORIGIN/../lib", "/opt/x/../lib"),
            ("${ORIGIN}x:$LIB", "/opt/xx:lib/i386-linux-gnu"),
            ("/a/$PLATFORM/${LIB}", "/a/i686/lib/i386-linux-gnu"),
            ("$ORIGINAL/$LIB_x/${ORIGIN/$", "$ORIGINAL/$LIB_x/${ORIGIN/$"),
            ("$$ORIGIN", "$/opt/x"),
            ("/usr/lib", "/usr/lib"),
        ] {
            assert_eq!(tokens.expand(given.as_ref()), Some(expected.into()), "{given}");
        }
        let long = "$ORIGIN".repeat(10_000);
        assert_eq!(tokens.expand(long.as_ref()), None);
    }
}
