//! The tasks of an array: `1-8`, `0-30:10`, `1-1000%50`, `1,3,7-9`.

use std::fmt;
use std::str::FromStr;

/// The largest task number: every scheduler counts below it.
const LARGEST: u32 = 99_999_999;

/// Task numbers, and how many may run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    ranges: Vec<Range>,
    /// How many tasks may run at the same time; without one, as many as the scheduler likes.
    pub limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
    step: u32,
}

/// Not a list of tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a range of tasks: write FIRST-LAST, FIRST-LAST:STEP, or either with %LIMIT, such as 1-8 or 1-1000%50"
)]
pub struct InvalidTasks(pub String);

impl Range {
    fn count(self) -> u64 {
        u64::from((self.last - self.first) / self.step) + 1
    }
}

impl Tasks {
    /// A single task.
    #[must_use]
    pub fn one(task: u32) -> Self {
        let only = Range {
            first: task,
            last: task,
            step: 1,
        };
        Self {
            ranges: vec![only],
            limit: None,
        }
    }

    /// How many tasks there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// The lowest task number.
    #[must_use]
    pub fn lowest(&self) -> u32 {
        self.ranges.iter().map(|range| range.first).min().unwrap_or_default()
    }

    /// Whether this is one range: not every scheduler takes a list.
    #[must_use]
    pub fn is_one_range(&self) -> bool {
        self.ranges.len() == 1
    }

    /// Whether one range has a step: not every scheduler takes one.
    #[must_use]
    pub fn has_step(&self) -> bool {
        self.ranges.iter().any(|range| range.step > 1)
    }

    /// The task at `index` (from 0), for schedulers that only count.
    #[must_use]
    pub fn nth(&self, index: u64) -> Option<u32> {
        let mut index = index;
        for range in &self.ranges {
            if index < range.count() {
                // Below the range's count, so that neither step nor sum leaves its numbers.
                return u32::try_from(index).ok().map(|index| range.first + index * range.step);
            }
            index -= range.count();
        }
        None
    }

    /// The place of `task` (from 0), the reverse of [`nth`](Self::nth).
    #[must_use]
    pub fn index_of(&self, task: u32) -> Option<u32> {
        let mut before = 0;
        for range in &self.ranges {
            let is_in = (range.first..=range.last).contains(&task) && (task - range.first).is_multiple_of(range.step);
            if is_in {
                return u32::try_from(before + u64::from((task - range.first) / range.step)).ok();
            }
            before += range.count();
        }
        None
    }

    /// The tasks from the place `index` (from 0) on; `None` where there are no more.
    #[must_use]
    pub fn from_place(&self, index: u64) -> Option<Self> {
        let mut index = index;
        let mut ranges = Vec::new();
        for range in &self.ranges {
            if index >= range.count() {
                index -= range.count();
                continue;
            }
            // Below the range's count, so that the sum stays within its numbers.
            let skipped = u32::try_from(index).unwrap_or(u32::MAX);
            ranges.push(Range {
                first: range.first + skipped * range.step,
                ..*range
            });
            index = 0;
        }
        (!ranges.is_empty()).then_some(Self {
            ranges,
            limit: self.limit,
        })
    }

    /// The tasks without the limit, as they are written.
    #[must_use]
    pub fn without_limit(&self) -> String {
        let tasks = Self {
            limit: None,
            ..self.clone()
        };
        tasks.to_string()
    }

    fn range(text: &str) -> Option<Range> {
        let (span, step) = match text.split_once(':') {
            Some((span, step)) => (span, step.parse().ok()?),
            None => (text, 1),
        };
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let number = |digits: &str| -> Option<u32> {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number| plain && *number <= LARGEST)
        };
        let (first, last) = (number(first)?, number(last)?);
        (first <= last && step >= 1).then_some(Range { first, last, step })
    }
}

impl FromStr for Tasks {
    type Err = InvalidTasks;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTasks(text.to_owned());
        let (list, limit) = match text.trim().split_once('%') {
            Some((list, limit)) => (list, Some(limit.parse().map_err(|_| invalid())?)),
            None => (text.trim(), None),
        };
        let ranges: Option<Vec<Range>> = list.split(',').map(Self::range).collect();
        match ranges {
            Some(ranges) if limit != Some(0) => Ok(Self { ranges, limit }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", range.first)?;
            if range.last != range.first {
                write!(f, "-{}", range.last)?;
            }
            if range.step != 1 {
                write!(f, ":{}", range.step)?;
            }
        }
        self.limit.map_or(Ok(()), |limit| write!(f, "%{limit}"))
    }
}

impl serde::Serialize for Tasks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Tasks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_counted_and_written_again() {
        for (text, count, second) in [
            ("1-8", 8, Some(2)),
            ("0-30:10", 4, Some(10)),
            ("1-1000%50", 1000, Some(2)),
            ("5", 1, None),
            ("1,3,7-9", 5, Some(3)),
            ("2-9:3%1", 3, Some(5)),
        ] {
            let tasks: Tasks = text.parse().unwrap();
            assert_eq!(tasks.to_string(), text);
            assert_eq!((tasks.count(), tasks.nth(1)), (count, second), "{text}");
            assert_eq!(tasks.nth(count), None, "{text}");
            for index in 0..u32::try_from(count).unwrap() {
                let task = tasks.nth(index.into()).unwrap();
                assert_eq!(tasks.index_of(task), Some(index), "{text}");
            }
            assert_eq!(tasks.index_of(LARGEST), None, "{text}");
        }
    }

    #[test]
    fn the_rest_of_an_array_begins_at_a_place() {
        let tasks: Tasks = "1,3,7-15:2".parse().unwrap();
        for (index, rest) in [
            (0, Some("1,3,7-15:2")),
            (2, Some("7-15:2")),
            (3, Some("9-15:2")),
            (6, Some("15:2")),
            (7, None),
        ] {
            assert_eq!(tasks.from_place(index).map(|rest| rest.to_string()).as_deref(), rest);
        }
    }

    #[test]
    fn what_no_scheduler_takes_is_refused() {
        for text in [
            "",
            "a",
            "8-1",
            "1-",
            "-1",
            "1-8:0",
            "1-8%0",
            "1-8%",
            "+1-2",
            "1-999999999",
            "1;2",
        ] {
            assert_eq!(text.parse::<Tasks>(), Err(InvalidTasks(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn the_last_numbers_do_not_overflow() {
        let tasks: Tasks = "1-99999999:7".parse().unwrap();
        assert_eq!(tasks.nth(tasks.count() - 1), Some(99_999_999));
    }
}
