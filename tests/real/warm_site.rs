//! Templates that the site has made: other users' launches start from them and change nothing of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::harness::{NOBODY, Place, Told, root_or_skip};
use super::images::{MINIMAL, minimal};
use super::users::somebody_elses_store;
use super::warm_node::{can_save_or_skip, rewrite};

/// Another user's place and the folder of templates of the site.
struct Ground {
    place: Place,
    site: PathBuf,
}

impl Ground {
    /// Runs a job and tells the moments of its timeline.
    fn phases(&self, start: &str) -> (Told, BTreeSet<String>) {
        let report = self.place.work("report.json");
        let (site, report_named) = (self.site.to_str().unwrap(), report.to_str().unwrap());
        let options = ["--start", start, "--site-templates", site, "--report", report_named];
        let told = self.place.run(MINIMAL, &options, "id -u");
        let phases = fs::read(&report).ok().map(|report| {
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            let marks = report["timeline"].as_array().unwrap().clone();
            marks
                .iter()
                .map(|mark| mark["phase"].as_str().unwrap().to_owned())
                .collect()
        });
        let _ = fs::remove_file(&report);
        (told, phases.unwrap_or_default())
    }

    #[track_caller]
    fn starts(&self, expected: &[&str], not: &[&str]) -> Told {
        let (told, phases) = self.phases("auto");
        assert_eq!(told.success(), format!("{NOBODY}\n"), "{}", told.err());
        let has = |phase: &&str| phases.contains(*phase);
        assert!(
            expected.iter().all(has) && !not.iter().any(has),
            "{phases:?} {}",
            told.err()
        );
        told
    }

    /// All that can be seen of the site's folder, but when it was last read.
    fn seen(&self) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
        let entries = walkdir::WalkDir::new(&self.site).into_iter().map(Result::unwrap);
        let seen = entries.map(|entry| {
            let found = entry.metadata().unwrap();
            let times = found.ctime() * 1_000_000_000 + found.ctime_nsec();
            (entry.into_path(), (found.mode(), found.len(), found.mtime(), times))
        });
        seen.collect()
    }

    fn templates(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.site.join("templates")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn ground() -> Ground {
    let place = somebody_elses_store(NOBODY);
    // Root's: nobody else writes to it.
    let site = place.path("site");
    let line = format!("template build {MINIMAL} --site {}", site.display());
    let told = minimal().line(&line);
    assert!(
        told.success().is_empty() && told.err().contains("made"),
        "{}",
        told.err()
    );
    Ground { place, site }
}

#[test]
fn another_users_launches_start_from_the_sites_templates() {
    let test = "another_users_launches_start_from_the_sites_templates";
    if !root_or_skip(test) || !can_save_or_skip(test) {
        return;
    }
    let ground = ground();
    let before = ground.seen();
    for _ in 0..2 {
        ground.starts(&["restored"], &["guest-ready", "template-made"]);
    }
    assert_eq!(ground.seen(), before, "launches only read");
    let listed = ground
        .place
        .line(&format!("template ls --site {}", ground.site.display()));
    assert!(listed.success().contains(MINIMAL));

    // What others can write to is not used, and who insists is told.
    fs::set_permissions(&ground.site, fs::Permissions::from_mode(0o775)).unwrap();
    let told = ground.starts(&["guest-ready"], &["restored"]);
    assert!(told.err().contains("can write to it (mode 0775)"), "{}", told.err());
    let (told, _) = ground.phases("warm");
    told.fails(122, "HV4609");
    fs::set_permissions(&ground.site, fs::Permissions::from_mode(0o755)).unwrap();

    // One that cannot be restored stays, and is tried once.
    let templates = ground.templates();
    rewrite(&templates[0], "state", b"no state");
    let before = ground.seen();
    ground.starts(&["restore-failed", "guest-ready"], &["restored"]);
    ground.starts(&["guest-ready"], &["restore-failed", "restored"]);
    assert_eq!(ground.seen(), before, "launches only read");
    ground.place.nothing_left();
}
