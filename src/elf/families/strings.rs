//! Names of libraries in the read-only data of files that call `dlopen`: what they may open.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use memchr::memmem;

use super::super::bytes::Source;
use super::super::object::read_only_data;

/// Bytes of a file that are searched at most.
const LARGEST: usize = 32 * 1024 * 1024;
/// How much is read at once.
const PIECE: usize = 1024 * 1024;
/// The longest name that is taken for a library's.
const LONGEST: usize = 256;
/// The most names that are taken of one file.
const MOST: usize = 128;

/// The names in `source` that look like a library's, sorted.
pub(in super::super) fn library_names(source: &Source) -> Vec<OsString> {
    let mut names: Vec<OsString> = Vec::new();
    let mut room = LARGEST;
    for (start, length) in read_only_data(source).unwrap_or_default() {
        let mut at = start;
        let end = start.saturating_add(length);
        while at < end && room > 0 {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE).min(room);
            let Ok(piece) = source.read_at(at, wanted) else { break };
            if piece.is_empty() {
                break;
            }
            room -= piece.len();
            collect(&piece, &mut names);
            // A name that the piece cuts is read again, whole.
            let step = piece.len().saturating_sub(LONGEST).max(1);
            at += if piece.len() < wanted || wanted < PIECE {
                piece.len()
            } else {
                step
            } as u64;
        }
    }
    names.sort();
    names.dedup();
    names.truncate(MOST);
    names
}

fn collect(bytes: &[u8], names: &mut Vec<OsString>) {
    for at in memmem::find_iter(bytes, b".so") {
        let rest = &bytes[at..];
        let Some(length) = rest.iter().take(LONGEST).position(|&byte| byte == 0) else {
            continue;
        };
        let start = bytes[..at]
            .iter()
            .rev()
            .take(LONGEST)
            .take_while(|byte| is_part(**byte))
            .count();
        let name = &bytes[at - start..at + length];
        let begins = bytes[..at - start].last().is_none_or(|&byte| byte == 0);
        if begins && is_library(name) && names.len() < 2 * MOST * MOST {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/')
}

/// Whether it is `NAME.so` or `NAME.so.1.2`, alone or as an absolute path. A relative path would
/// depend on where the program runs.
fn is_library(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else {
        return false;
    };
    let file = match text.rsplit_once('/') {
        Some((folder, file)) if folder.starts_with('/') => file,
        Some(_) => return false,
        None => text,
    };
    let Some((stem, version)) = file.split_once(".so") else {
        return false;
    };
    let numbers = version.is_empty()
        || version.strip_prefix('.').is_some_and(|version| {
            version
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        });
    let named = stem.len() > 1 && stem.starts_with(|first: char| first.is_ascii_alphabetic());
    numbers && named && (stem.starts_with("lib") || version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_libraries_are_whole_strings() {
        let data = b"\0libz.so.1\0x libno.so\0%s/liba.so\0libb.so.1x\0/opt/y/libc.so\0rel/libd.so\0.so\0\
                     plugin.so\0odd.so.1\0libe.so.1.\0liburing.so.2.3\0cut.so";
        let mut names = Vec::new();
        collect(data, &mut names);
        let expected = ["libz.so.1", "/opt/y/libc.so", "plugin.so", "liburing.so.2.3"];
        assert_eq!(names, expected.map(OsString::from));
    }
}
