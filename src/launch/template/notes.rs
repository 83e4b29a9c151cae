//! What launches of a node tell each other of a template besides the template itself.
//!
//! ```text
//! CACHE/locks/<key>.seen     a launch could have used it; how many milliseconds that took to boot, once it has
//! CACHE/locks/<key>.failed   it could not be made or restored: not before an hour again
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::store::Templates;
use crate::digest::Digest;

/// How long one that failed is not tried again.
const FAILURE: Duration = Duration::from_hours(1);

impl Templates {
    /// Whether a launch asked this before: who launches twice will launch again. Where it cannot be noted,
    /// nobody did.
    pub(super) fn seen_before(&self, key: Digest) -> bool {
        let mut options = OpenOptions::new();
        let noted = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.lock_path(key, "seen"));
        noted.is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    }

    /// Notes how long a machine of `key` takes to boot. That it cannot be noted costs later launches time, no more.
    pub(in crate::launch) fn note_boot(&self, key: Digest, took: Duration) {
        let noted = fs::write(self.lock_path(key, "seen"), took.as_millis().to_string());
        if let Err(error) = noted {
            tracing::info!(%error, "how long it took to boot is not remembered");
        }
    }

    /// How long it is sooner to wait for the launch that makes `key` now than to boot: as long as a boot takes, if
    /// half of one has gone by since it began. Nothing, where that is not known.
    pub(super) fn worth_waiting(&self, key: Digest) -> Duration {
        let boot = fs::read_to_string(self.lock_path(key, "seen"));
        let boot = boot.ok().and_then(|text| text.parse().ok());
        let began = fs::metadata(self.lock_path(key, "make")).and_then(|found| found.modified());
        match (boot.map(Duration::from_millis), began.map(|began| began.elapsed())) {
            (Some(boot), Ok(Ok(age))) if age >= boot / 2 => boot,
            _ => Duration::ZERO,
        }
    }

    /// Whether `key` failed less than an hour ago.
    pub(super) fn failed_lately(&self, key: Digest) -> bool {
        is_fresh(&self.lock_path(key, "failed"))
    }

    /// Notes that `key` cannot be made here. That it cannot be noted costs the next launch time, no more.
    pub(super) fn note_failure(&self, key: Digest) {
        let noted = self
            .lock_file(key, "failed")
            .and_then(|file| file.set_modified(SystemTime::now()).map_err(self.failed()));
        if let Err(error) = noted {
            tracing::info!(%error, "a failure is not remembered");
        }
    }
}

/// Whether the failure noted in `note` is not long ago.
pub(super) fn is_fresh(note: &Path) -> bool {
    let when = fs::metadata(note).and_then(|found| found.modified());
    when.is_ok_and(|when| when.elapsed().is_ok_and(|age| age < FAILURE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::stage::NodeCache;

    fn templates(folder: &Path) -> Templates {
        Templates::in_cache(&NodeCache::at(folder).unwrap(), None).unwrap()
    }

    #[test]
    fn the_first_launch_of_a_kind_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let templates = templates(folder.path());
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert!(!templates.seen_before(a));
        assert!(templates.seen_before(a));
        assert!(!templates.seen_before(b));
    }

    #[test]
    fn a_launch_waits_for_a_template_that_is_sooner_there_than_it_would_have_booted() {
        let folder = tempfile::tempdir().unwrap();
        let templates = templates(folder.path());
        let key = Digest::of(b"a");
        let right = templates.try_making(key).unwrap().unwrap();
        let begun = |ago: u64| {
            right
                .set_modified(SystemTime::now() - Duration::from_secs(ago))
                .unwrap();
        };
        begun(3);
        assert_eq!(
            templates.worth_waiting(key),
            Duration::ZERO,
            "nobody knows what a boot takes"
        );
        assert!(!templates.seen_before(key));
        assert_eq!(
            templates.worth_waiting(key),
            Duration::ZERO,
            "the first has not booted yet"
        );
        let boot = Duration::from_secs(4);
        templates.note_boot(key, boot);
        for (ago, wait) in [(0, Duration::ZERO), (1, Duration::ZERO), (3, boot), (60, boot)] {
            begun(ago);
            assert_eq!(templates.worth_waiting(key), wait, "begun {ago} s ago");
        }
    }
}
