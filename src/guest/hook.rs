//! The built-in overlay `job-runner`: what every guest gets so that it can run a job.

use super::programs::{self, JOB_RUNNER_PATH};
use crate::architecture::Architecture;
use crate::recipe::{FileContent, FileEntry, Init};
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

const UNIT: &str = include_str!("../../overlays/job-runner/services/hpcvm-job.service");
const SCRIPT: &str = include_str!("../../overlays/job-runner/services/hpcvm-job");

/// The overlay's name.
pub const NAME: &str = "job-runner";

/// Lays the job runner over `tree`; where the guest keeps its own init, also the unit or the
/// script that starts it there.
pub fn lay(tree: &mut Tree, architecture: Architecture, init: Init, mtime: u64) {
    let program = Kind::File(Content::inline(programs::job_runner(architecture)));
    put(tree, JOB_RUNNER_PATH, program, 0o755, mtime);
    if init == Init::JobRunner {
        return;
    }
    if has_systemd(tree) {
        put(tree, "/etc/systemd/system/hpcvm-job.service", text(UNIT), 0o644, mtime);
        let link = Kind::Symlink(b"/etc/systemd/system/hpcvm-job.service".to_vec());
        put(
            tree,
            "/etc/systemd/system/multi-user.target.wants/hpcvm-job.service",
            link,
            0o777,
            mtime,
        );
    } else {
        put(tree, "/etc/init.d/hpcvm-job", text(SCRIPT), 0o755, mtime);
        let link = || Kind::Symlink(b"../init.d/hpcvm-job".to_vec());
        for level in 2..=5 {
            put(tree, &format!("/etc/rc{level}.d/S99hpcvm-job"), link(), 0o777, mtime);
        }
    }
}

/// Programs of the guest that run before the shared library repository is mounted, or that must
/// run where it could not be: for these, every library has to be in the image itself.
///
/// The job runner needs no library. It unpacks inputs and packs outputs with tar, and as a service
/// it asks the guest's init to power off; that init starts the job runner by a shell script where
/// there is no systemd, and mounts what `/etc/fstab` lists before. The commands that a template runs by a shell
/// are not among them: nothing is lost when they cannot run.
#[must_use]
pub const fn executes(init: Init) -> &'static [&'static str] {
    match init {
        Init::JobRunner => &["/bin/tar"],
        Init::Services => &["/bin/tar", "/sbin/poweroff", "/sbin/init", "/bin/sh", "/bin/mount"],
    }
}

/// Folders that the job runner and the initial RAM disk mount things on; a compressed root
/// cannot be given them later.
#[must_use]
pub fn mount_points() -> Vec<FileEntry> {
    let folder = |(path, mode): (&str, u32)| FileEntry {
        path: path.to_owned(),
        content: FileContent::Folder,
        mode: Some(mode),
        uid: 0,
        gid: 0,
    };
    [
        ("/dev", 0o755),
        ("/home", 0o755),
        ("/proc", 0o555),
        ("/root", 0o700),
        ("/run", 0o755),
        ("/sys", 0o555),
    ]
    .into_iter()
    .chain([("/tmp", 0o1777), ("/var/tmp", 0o1777)])
    .map(folder)
    .collect()
}

fn has_systemd(tree: &Tree) -> bool {
    ["lib/systemd/systemd", "usr/lib/systemd/systemd"]
        .iter()
        .any(|path| TreePath::new(path.as_bytes()).is_ok_and(|path| tree.get(&path).is_some()))
}

fn text(content: &str) -> Kind {
    Kind::File(Content::inline(content.as_bytes()))
}

fn put(tree: &mut Tree, path: &str, kind: Kind, mode: u32, mtime: u64) {
    let path = TreePath::new(path.as_bytes()).expect("the paths are written above");
    tree.insert(path, Entry::new(kind, mode, mtime, Origin::Overlay(NAME.into())));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn laid(init: Init, before: &[&str]) -> Vec<String> {
        let mut tree = Tree::default();
        for path in before {
            put(&mut tree, path, text(""), 0o755, 0);
        }
        lay(&mut tree, Architecture::I386, init, 0);
        tree.iter()
            .filter(|(_, entry)| entry.kind != Kind::Directory)
            .map(|(path, _)| path.to_string())
            .collect()
    }

    /// Words in quotes that name a program where a guest has them.
    fn named_programs(source: &str) -> BTreeSet<String> {
        let quoted = source.split('"').skip(1).step_by(2);
        quoted
            .filter(|word| (word.starts_with("/bin/") || word.starts_with("/sbin/")) && !word.ends_with('/'))
            .map(str::to_owned)
            .collect()
    }

    /// Those of the job runner's program and all files it is made of.
    fn named_by_the_runner() -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("overlays/job-runner/src");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.file_name().is_some_and(|name| name != "init.c"))
            .flat_map(|path| named_programs(&fs::read_to_string(path).unwrap()))
            .collect()
    }

    #[test]
    fn what_the_hook_starts_is_told() {
        let runner = named_by_the_runner();
        assert!(runner.contains("/bin/tar"), "{runner:?}");
        let by_others = &["/sbin/poweroff", "/bin/sh"][..];
        for (init, by_others) in [(Init::JobRunner, by_others), (Init::Services, &[])] {
            let told = executes(init).iter().chain(by_others).copied().map(str::to_owned);
            let told: BTreeSet<String> = told.collect();
            assert!(told.is_superset(&runner), "{runner:?}");
        }
        assert!(named_programs(include_str!("../../overlays/job-runner/src/init.c")).is_empty());
        assert!(SCRIPT.starts_with("#!/bin/sh\n") && executes(Init::Services).contains(&"/bin/sh"));
    }

    #[test]
    fn the_hook_suits_the_init() {
        assert_eq!(laid(Init::JobRunner, &[]), ["/usr/lib/hpcvm/job-runner"]);
        let systemd = laid(Init::Services, &["/usr/lib/systemd/systemd"]);
        assert!(systemd.contains(&"/etc/systemd/system/multi-user.target.wants/hpcvm-job.service".to_owned()));
        assert!(laid(Init::Services, &[]).contains(&"/etc/rc2.d/S99hpcvm-job".to_owned()));
    }
}
