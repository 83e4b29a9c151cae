//! Option lines split into words as schedulers and shells do, keeping how they were written.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// One word of an option line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text, quotes removed.
    pub(super) text: String,
    /// As it was written.
    pub(super) raw: String,
}

/// A quote that is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclosed;

/// The words of `line`, up to a `#` that begins a word: there the comment begins.
pub(super) fn split(line: &str) -> Result<Vec<Word>, Unclosed> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if word.is_none() && c == '#' {
            break;
        }
        let current = word.get_or_insert_with(|| Word {
            text: String::new(),
            raw: String::new(),
        });
        current.raw.push(c);
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                if let Some(escaped) = characters.next() {
                    current.raw.push(escaped);
                    current.text.push(escaped);
                }
            }
            _ => current.text.push(c),
        }
    }
    if quote.is_some() {
        return Err(Unclosed);
    }
    words.extend(word);
    Ok(words)
}

/// `word` quoted for a POSIX shell, byte for byte.
pub(super) fn quoted_for_sh(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        if byte == b'\'' {
            quoted.extend(br"'\''");
        } else {
            quoted.push(byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_keep_how_they_were_written() {
        let words = split(r#" -N "my job" -l h_rt=1:0:0  'a'\''b' # not this"#).unwrap();
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["-N", "my job", "-l", "h_rt=1:0:0", "a'b"]);
        assert_eq!(words[1].raw, r#""my job""#);
        assert_eq!(split("-N 'open"), Err(Unclosed));
        assert_eq!(split("a#b").unwrap()[0].text, "a#b");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_real_shell_reads_a_quoted_word_as_it_was(
            words in prop::collection::vec(prop::collection::vec(1_u8..=255, 0..20), 1..6)
        ) {
            let mut script = b"printf '%s\\0'".to_vec();
            for word in &words {
                script.push(b' ');
                script.extend(quoted_for_sh(OsStr::from_bytes(word)));
            }
            let output = Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
            prop_assert_eq!(output.stdout, expected);
        }
    }
}
