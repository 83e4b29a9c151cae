//! What the dynamic loader and script hosts say of a lack, read along in a job's standard error.
//!
//! The words are those of glibc (`elf/rtld.c`, `elf/dl-load.c`, `elf/dl-version.c`), which
//! Python, Perl and others pass on when a library they load is missing; of bash and of env(1).

use super::Lack;

/// Longer lines are no messages of a loader: only their first bytes are looked at.
const LONGEST: usize = 4096;
/// Lacks that are kept.
const MOST: usize = 16;

const NO_FILE: &str = ": cannot open shared object file";
const NO_INTERPRETER: &str = ": bad interpreter";

/// Reads a stream in pieces as they come, and keeps what was lacking. Takes memory for one line.
#[derive(Debug, Default)]
pub struct Listener {
    line: Vec<u8>,
    found: Vec<Lack>,
}

impl Listener {
    /// Reads the next piece.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }

    /// What was lacking, in the order it was said, each thing once.
    #[must_use]
    pub fn finish(mut self) -> Vec<Lack> {
        self.end_line();
        self.found
    }

    fn end_line(&mut self) {
        if self.found.len() < MOST
            && let Some(lack) = lack_in(&String::from_utf8_lossy(&self.line))
            && !self.found.contains(&lack)
        {
            self.found.push(lack);
        }
        self.line.clear();
    }
}

/// The lack that a line tells of.
fn lack_in(line: &str) -> Option<Lack> {
    library(line)
        .or_else(|| version(line))
        .or_else(|| interpreter(line))
        .or_else(|| by_env(line))
}

/// `PROGRAM: error while loading shared libraries: LIBRARY: cannot open shared object file: ...`
fn library(line: &str) -> Option<Lack> {
    let (before, _) = line.split_once(NO_FILE)?;
    let name = before.rsplit([' ', '\t', '\'', '"', '(']).next()?;
    let needed_by = before.split_once(": error while loading shared libraries: ");
    let name = name.rsplit('/').next().filter(|name| is_soname(name))?;
    Some(Lack::Library {
        name: name.to_owned(),
        needed_by: needed_by.map(|(program, _)| program.to_owned()),
    })
}

/// ``PROGRAM: LIBRARY: version `VERSION' not found (required by FILE)``
fn version(line: &str) -> Option<Lack> {
    let (before, rest) = line.split_once(": version `")?;
    let (version, rest) = rest.split_once("' not found")?;
    let library = before.rsplit([' ', '\t']).next()?;
    let needed_by = rest
        .split_once("(required by ")
        .map(|(_, file)| file.trim_end_matches(')'));
    (!version.is_empty() && library.contains(".so")).then(|| Lack::Version {
        library: library.to_owned(),
        version: version.to_owned(),
        needed_by: needed_by.map(str::to_owned),
    })
}

/// `bash: SCRIPT: INTERPRETER: bad interpreter: No such file or directory`
fn interpreter(line: &str) -> Option<Lack> {
    let (before, _) = line.split_once(NO_INTERPRETER)?;
    let mut words = before.rsplit(": ");
    let path = words.next()?.trim_end_matches('\r');
    path.starts_with('/').then(|| Lack::Interpreter {
        path: path.to_owned(),
        needed_by: words.next().map(str::to_owned),
    })
}

/// `/usr/bin/env: 'PROGRAM': No such file or directory`, with the quotes of the locale
fn by_env(line: &str) -> Option<Lack> {
    let rest = line
        .strip_prefix("/usr/bin/env: ")
        .or_else(|| line.strip_prefix("env: "))?;
    let (name, _) = rest.split_once(": No such file or directory")?;
    let name = name.trim_matches(['\'', '\u{2018}', '\u{2019}']);
    let plain = !name.is_empty() && !name.contains(['/', ' ']);
    plain.then(|| Lack::Interpreter {
        path: name.to_owned(),
        needed_by: None,
    })
}

fn is_soname(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.contains(".so") && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lib(name: &str, needed_by: Option<&str>) -> Lack {
        Lack::Library {
            name: name.to_owned(),
            needed_by: needed_by.map(str::to_owned),
        }
    }

    #[test]
    fn messages_are_understood() {
        let version = Lack::Version {
            library: "/lib/i386-linux-gnu/libc.so.6".into(),
            version: "GLIBC_2.38".into(),
            needed_by: Some("./a.out".into()),
        };
        let script = |path: &str, by: Option<&str>| Lack::Interpreter {
            path: path.into(),
            needed_by: by.map(str::to_owned),
        };
        for (line, lack) in [
            (
                "./a.out: error while loading shared libraries: libgmp.so.10: cannot open shared object file: No such file or directory",
                Some(lib("libgmp.so.10", Some("./a.out"))),
            ),
            (
                "ImportError: libopenblas.so.0: cannot open shared object file: No such file or directory",
                Some(lib("libopenblas.so.0", None)),
            ),
            (
                "Can't load '/x/Z.so' for module Z: /opt/libz.so.1: cannot open shared object file: No such file or directory at x line 1.",
                Some(lib("libz.so.1", None)),
            ),
            (
                "./a.out: /lib/i386-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by ./a.out)",
                Some(version),
            ),
            (
                "bash: ./x.py: /usr/bin/python9: bad interpreter: No such file or directory",
                Some(script("/usr/bin/python9", Some("./x.py"))),
            ),
            (
                "/usr/bin/env: \u{2018}python9\u{2019}: No such file or directory",
                Some(script("python9", None)),
            ),
            ("env: 'ruby': No such file or directory", Some(script("ruby", None))),
            ("cat: libx.so: No such file or directory", None),
            ("cannot open shared object file", None),
            (": cannot open shared object file", None),
            (": version `' not found", None),
            ("", None),
        ] {
            assert_eq!(lack_in(line), lack, "{line}");
        }
    }

    #[test]
    fn a_stream_may_come_in_any_pieces() {
        let said = "hello\na: error while loading shared libraries: liba.so.1: cannot open shared object file: x\n\
                    b: error while loading shared libraries: libb.so.1: cannot open shared object file: x";
        let expected = [lib("liba.so.1", Some("a")), lib("libb.so.1", Some("b"))];
        for size in [1, 2, 7, 50, 1000] {
            let mut listener = Listener::default();
            for _ in 0..2 {
                said.as_bytes().chunks(size).for_each(|piece| listener.take(piece));
                listener.take(b"\n");
            }
            assert_eq!(listener.finish(), expected, "{size}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut listener = Listener::default();
        for _ in 0..100 {
            listener.take(&vec![b'x'; 1 << 16]);
        }
        assert!(listener.line.len() <= LONGEST);
        listener.take(b"\n");
        for number in 0..100 {
            let line = format!("lib{number}.so: cannot open shared object file\n");
            listener.take(line.as_bytes());
        }
        assert_eq!(listener.finish().len(), MOST);
    }
}
