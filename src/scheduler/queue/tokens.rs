//! Slots of this machine: one for each processor, held as locks that die with their holder.

use std::fs::File;
use std::path::PathBuf;

use super::store::{QueueError, locked, locked_now};
use crate::durable;

/// The machine's slots.
#[derive(Debug)]
pub(super) struct Tokens {
    folder: PathBuf,
    count: u32,
}

impl Tokens {
    /// `count` slots, whose locks are in `folder`.
    pub(super) fn new(folder: PathBuf, count: u32) -> Result<Self, QueueError> {
        durable::create_private_folder(&folder)?;
        Ok(Self {
            folder,
            count: count.max(1),
        })
    }

    /// Takes `wanted` slots (of a machine with fewer, all) if they are free, or none.
    pub(super) fn take(&self, wanted: u32) -> Result<Option<Vec<File>>, QueueError> {
        // One at a time: two jobs that each hold half of what they want would wait for ever.
        let _all = locked(&self.folder.join("all"))?;
        let wanted = wanted.clamp(1, self.count);
        let mut held = Vec::new();
        for number in 0..self.count {
            if held.len() == wanted as usize {
                break;
            }
            held.extend(locked_now(&self.folder.join(number.to_string()))?);
        }
        Ok((held.len() == wanted as usize).then_some(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(folder.path().join("slots"), 4).unwrap();
        let three = tokens.take(3).unwrap();
        assert_eq!(three.as_ref().map(Vec::len), Some(3));
        assert!(tokens.take(2).unwrap().is_none());
        let one = tokens.take(1).unwrap();
        assert!(one.is_some());
        assert!(tokens.take(1).unwrap().is_none());
        drop((three, one));
        assert_eq!(tokens.take(100).unwrap().map(|held| held.len()), Some(4));
    }
}
