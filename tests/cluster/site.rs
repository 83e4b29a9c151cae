//! A cluster with hpcvm and the smallest image on it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{Cluster, HEAD, Options, ROOT, USER_A, text, wait_until};

/// The scheduler's name for hpcvm.
pub(crate) const BOTH: [&str; 2] = ["gridengine", "slurm"];

/// A cluster with hpcvm and the smallest image on it.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    program: PathBuf,
    store: PathBuf,
}

impl Site {
    pub(crate) fn start_or_skip(test: &str, options: &Options) -> Option<Self> {
        let cluster = Cluster::start_or_skip(test, options)?;
        let program = cluster.install(&program());
        let store = cluster.path().join("store");
        copy_image(&store);
        Some(Self {
            cluster,
            program,
            store,
        })
    }

    /// hpcvm as an ordinary user on the head.
    pub(crate) fn hpcvm(&self, arguments: &[&str]) -> Output {
        self.hpcvm_as(USER_A, arguments)
    }

    /// hpcvm as some user on the head.
    pub(crate) fn hpcvm_as(&self, user: &str, arguments: &[&str]) -> Output {
        let store = format!("HPCVM_STORE={}", self.store.display());
        let program = self.program.to_str().unwrap();
        let argv = ["env", &store, program, "-q"]
            .into_iter()
            .chain(arguments.iter().copied());
        self.cluster.exec_as(user, HEAD, argv)
    }

    /// hpcvm as an ordinary user in another folder than their home.
    pub(crate) fn hpcvm_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        let line = "cd \"$1\" && shift && exec \"$@\"";
        let (store, program) = (
            format!("HPCVM_STORE={}", self.store.display()),
            self.program.to_str().unwrap(),
        );
        let shell = [
            "bash",
            "-c",
            line,
            "bash",
            folder.to_str().unwrap(),
            "env",
            &store,
            program,
            "-q",
        ];
        let argv = shell.into_iter().chain(arguments.iter().copied());
        self.cluster.exec_as(USER_A, HEAD, argv)
    }

    /// Where the images are.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Standard output of hpcvm, which must succeed.
    #[track_caller]
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.hpcvm(arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A file in the user's home.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.cluster.home(USER_A).join(name)).unwrap_or_default()
    }

    /// Submits a job and returns its number.
    #[track_caller]
    pub(crate) fn submit(&self, scheduler: &str, options: &[&str], script: &str) -> String {
        let line = [
            &["submit", "--scheduler", scheduler],
            options,
            &["minimal-i386", "--", "sh", "-c", script],
        ];
        self.said(&line.concat()).trim().to_owned()
    }

    /// Waits until `hpcvm ps` tells `state` of a job.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, scheduler: &str, job: &str, state: &str) {
        let mut last = String::new();
        wait_until(state, || {
            let now = self.said(&["ps", "--scheduler", scheduler, job]);
            if now != last {
                eprintln!("{now}");
                last = now;
            }
            last.contains(state)
        });
    }

    /// What runs or lies on any of the nodes of launches: hypervisors and their folders.
    pub(crate) fn traces(&self, nodes: u32) -> String {
        (1..=nodes).map(|node| self.traces_on(&format!("node{node}"))).collect()
    }

    /// The same on one node.
    pub(crate) fn traces_on(&self, node: &str) -> String {
        let look = "pgrep -l qemu-system; ls -d /tmp/hpcvm-vm-* /tmp/*/hpcvm-vm-* 2>/dev/null; true";
        self.cluster.shell(ROOT, node, look)
    }

    /// The timing log's key of the newest job of a scheduler.
    pub(crate) fn key(&self, scheduler: &str) -> String {
        let jobs: serde_json::Value = serde_json::from_str(&self.said(&["log", "--json"])).unwrap();
        let mut jobs = jobs.as_array().unwrap().iter().rev();
        let newest = jobs.find(|job| job["scheduler"] == scheduler).unwrap();
        newest["job"].as_str().unwrap().to_owned()
    }

    /// Waits until there are none.
    #[track_caller]
    pub(crate) fn wait_until_clean(&self, nodes: u32) {
        wait_until("no hypervisor and no folder is left", || self.traces(nodes).is_empty());
    }
}

fn program() -> PathBuf {
    std::env::var_os("HPCVM_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_hpcvm").into(), PathBuf::from)
}

/// Builds the smallest image where no other test has, and puts it where all users of the nodes can read it.
fn copy_image(store: &Path) {
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join("minimal-i386.lock")).unwrap();
    lock.lock().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(program())
        .args(["-q", "build"])
        .arg(root.join("recipes/minimal-i386.yaml"))
        .env("HPCVM_STORE", cache.join("store"))
        .env("HPCVM_CACHE", cache.join("hpcvm"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    let digest = fs::read_to_string(cache.join("store/names/minimal-i386")).unwrap();
    let to = store.join("images").join(digest.trim());
    fs::create_dir_all(&to).unwrap();
    fs::create_dir_all(store.join("names")).unwrap();
    fs::write(store.join("names/minimal-i386"), &digest).unwrap();
    for entry in fs::read_dir(cache.join("store/images").join(digest.trim())).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o444)).unwrap();
    }
}
