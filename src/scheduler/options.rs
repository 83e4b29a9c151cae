//! Options of schedulers: those that mean the same as one of ours are understood, the rest passes.

use super::words::{Word, split};

/// What an option is about, where that matters to hpcvm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// The tasks of an array.
    Tasks,
    /// How many tasks may run at once.
    TaskLimit,
    /// Processors of the slot.
    Slots,
    /// Memory of the slot.
    Memory,
    /// The slot's time limit.
    Time,
    /// The job's name.
    Name,
    /// Where standard output goes.
    Output,
    /// Where standard error goes.
    Error,
    /// Whether the job waits until it is released.
    Hold,
    /// Which shell runs the script.
    Shell,
}

impl Concern {
    /// The option of `hpcvm submit` for the same thing.
    #[must_use]
    pub const fn ours(self) -> &'static str {
        match self {
            Self::Tasks | Self::TaskLimit => "-t",
            Self::Slots => "--slots",
            Self::Memory => "--slot-memory",
            Self::Time => "--time",
            Self::Name => "--name",
            Self::Output | Self::Error => "the wrapper",
            Self::Hold => "--hold",
            Self::Shell => "the script's first line",
        }
    }
}

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its name, such as `-t` or `--array`.
    pub option: String,
    /// The option with its values, as written.
    pub raw: String,
    /// What it says about what matters to hpcvm.
    pub says: Vec<(Concern, String)>,
}

impl Given {
    /// What it says about `concern`.
    #[must_use]
    pub fn about(&self, concern: Concern) -> Option<&str> {
        let said = self.says.iter().find(|(about, _)| *about == concern);
        said.map(|(_, value)| value.as_str())
    }
}

/// The last word that `given` has about `concern`.
pub(super) fn last_about(given: &[Given], concern: Concern) -> Option<&str> {
    given.iter().rev().find_map(|option| option.about(concern))
}

/// How a scheduler's options are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `-name value value`: Grid Engine, LSF.
    Words,
    /// `-xvalue` or `-x value`: PBS.
    Letters,
    /// `--name=value`, `--name value`, `-xvalue` or `-x value`: Slurm.
    Long,
}

/// Reads a line of options; `says` tells what an option with these values is about.
pub(super) fn read(
    line: &str,
    style: Style,
    says: impl Fn(&str, &[&str]) -> Vec<(Concern, String)>,
) -> Result<Vec<Given>, String> {
    if line.contains(['\n', '\r', '\0']) {
        return Err("it has a line break".to_owned());
    }
    let words = split(line).map_err(|_| "a quote is not closed".to_owned())?;
    let mut given = Vec::new();
    let mut rest = words.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let count = after.iter().take_while(|word| !begins_option(word)).count();
        let (values, next) = after.split_at(count);
        rest = next;
        let (option, attached) = separate(&first.text, style);
        let texts: Vec<&str> = attached
            .into_iter()
            .chain(values.iter().map(|word| word.text.as_str()))
            .collect();
        let raws: Vec<&str> = std::iter::once(first)
            .chain(values)
            .map(|word| word.raw.as_str())
            .collect();
        given.push(Given {
            option: option.to_owned(),
            raw: raws.join(" "),
            says: says(option, &texts),
        });
    }
    Ok(given)
}

fn begins_option(word: &Word) -> bool {
    word.raw.starts_with('-') && word.raw.len() > 1
}

/// An option's name, and the value that is attached to it.
fn separate(word: &str, style: Style) -> (&str, Option<&str>) {
    if style == Style::Words {
        return (word, None);
    }
    if word.starts_with("--") {
        return word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
    }
    match word.char_indices().nth(2) {
        Some((at, _)) if word.starts_with('-') => (&word[..at], Some(&word[at..])),
        _ => (word, None),
    }
}

/// `[[hours:]minutes:]seconds` as Grid Engine and PBS write times.
pub(super) fn seconds_of_clock(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for part in parts {
        // Grid Engine lets hours and minutes be left out: `::30`.
        let number = if part.is_empty() { 0 } else { part.parse::<u64>().ok()? };
        total = total.checked_mul(60)?.checked_add(number)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str, _: &[&str]) -> Vec<(Concern, String)> {
        Vec::new()
    }

    #[test]
    fn options_are_told_apart_in_each_style() {
        let names = |line, style| -> Vec<(String, String)> {
            let given = read(line, style, nothing).unwrap();
            given.into_iter().map(|option| (option.option, option.raw)).collect()
        };
        let pair = |name: &str, raw: &str| (name.to_owned(), raw.to_owned());
        assert_eq!(
            names("-pe smp 4 -notify -N 'a b'", Style::Words),
            [
                pair("-pe", "-pe smp 4"),
                pair("-notify", "-notify"),
                pair("-N", "-N 'a b'")
            ]
        );
        assert_eq!(
            names("-a1-8 --mem=1G --exclusive -J x", Style::Long),
            [
                pair("-a", "-a1-8"),
                pair("--mem", "--mem=1G"),
                pair("--exclusive", "--exclusive"),
                pair("-J", "-J x")
            ]
        );
        assert_eq!(
            names("-lnodes=1 -N n", Style::Letters),
            [pair("-l", "-lnodes=1"), pair("-N", "-N n")]
        );
    }

    #[test]
    fn a_line_break_cannot_smuggle_in_another_line() {
        assert!(read("-N a\nexec sh", Style::Words, nothing).is_err());
        assert!(read("-N 'a", Style::Words, nothing).is_err());
    }

    #[test]
    fn clocks_are_read() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("1:30", Some(90)),
            ("1:0:0", Some(3600)),
            ("::30", Some(30)),
        ] {
            assert_eq!(seconds_of_clock(text), seconds, "{text}");
        }
        assert_eq!(seconds_of_clock("1:2:3:4"), None);
        assert_eq!(seconds_of_clock("soon"), None);
    }
}
