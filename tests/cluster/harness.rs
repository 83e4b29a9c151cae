//! Starts simulated clusters (`ci/cluster`) and runs commands on their nodes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No wait of a test is longer; one that gets there has found a bug.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// Users that exist on the nodes only.
pub(crate) const USER_A: &str = "hpcvm-test-a";
/// The other of them.
pub(crate) const USER_B: &str = "hpcvm-test-b";
/// The administrator of the nodes and of their schedulers.
pub(crate) const ROOT: &str = "root";
/// The node from which jobs are submitted.
pub(crate) const HEAD: &str = "head";

/// Which schedulers a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    GridEngine,
    Slurm,
    Both,
    /// Slurm with the PBS commands.
    Pbs,
    /// On nodes whose root is another Debian.
    HtCondor,
}

impl Scheduler {
    /// As `ci/cluster/start` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::GridEngine => "gridengine",
            Self::Slurm => "slurm",
            Self::Both => "both",
            Self::Pbs => "pbs",
            Self::HtCondor => "htcondor",
        }
    }

    /// Why it cannot be started on this host, if so.
    fn missing(self) -> Option<&'static str> {
        let needed: &[PathBuf] = match self {
            Self::GridEngine => &[GRID_ENGINE.into()],
            Self::Slurm => &[SLURM.into()],
            Self::Both => &[GRID_ENGINE.into(), SLURM.into()],
            Self::Pbs => &[SLURM.into(), cache().join("packages/slurm-wlm-torque")],
            Self::HtCondor => &[cache().join("packages/htcondor")],
        };
        let there = needed.iter().all(|path| path.exists());
        let why = match self {
            Self::HtCondor => "HTCondor is not there: run ci/cluster/install --htcondor",
            _ => "the schedulers are not installed: run ci/cluster/install",
        };
        (!there).then_some(why)
    }
}

const GRID_ENGINE: &str = "/usr/lib/gridengine/sge_qmaster";
const SLURM: &str = "/usr/sbin/slurmctld";

/// What a cluster is like.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) scheduler: Scheduler,
    /// Nodes beside the head.
    pub(crate) nodes: u32,
    /// Slots per node.
    pub(crate) slots: u32,
    /// Further options of `ci/cluster/start`.
    pub(crate) arguments: Vec<OsString>,
}

impl Options {
    /// Eight nodes of two slots.
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            nodes: 8,
            slots: 2,
            arguments: Vec::new(),
        }
    }

    pub(crate) fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// Adds an option of `ci/cluster/start` and its value.
    pub(crate) fn with(mut self, option: &str, value: impl Into<OsString>) -> Self {
        self.arguments.extend([option.into(), value.into()]);
        self
    }
}

/// A running cluster; it is gone when this is dropped, or when the test's process ends however.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    /// `ci/cluster/start --tether`, which stops the cluster when its standard input ends.
    process: Child,
}

impl Cluster {
    /// Starts a cluster, or says why `test` cannot be made on this host.
    pub(crate) fn start_or_skip(test: &str, options: &Options) -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            skip(test, "needs root to make a simulated cluster");
            return None;
        }
        if let Some(why) = options.scheduler.missing() {
            skip(test, why);
            return None;
        }
        Some(Self::start(options))
    }

    /// Starts a cluster and waits until all its nodes take jobs.
    pub(crate) fn start(options: &Options) -> Self {
        let folder = tempfile::Builder::new().prefix("hpcvm-cluster-").tempdir().unwrap();
        let mut process = script("start")
            .arg("--tether")
            .arg("--folder")
            .arg(folder.path())
            .args(["--scheduler", options.scheduler.name()])
            .args(["--nodes", &options.nodes.to_string()])
            .args(["--slots", &options.slots.to_string()])
            .args(&options.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(
            line.starts_with("ready"),
            "the cluster did not start: {:?}",
            process.wait()
        );
        Self { folder, process }
    }

    /// The cluster's folder: the same path on every node.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The home of a test user, where only that user can go; root may put files there.
    pub(crate) fn home(&self, user: &str) -> PathBuf {
        self.path().join("home").join(user)
    }

    /// Writes a file that belongs to `user` into their home.
    pub(crate) fn write(&self, user: &str, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home(user).join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let owner = fs::metadata(self.home(user)).unwrap();
        std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        path
    }

    /// Copies a program to where every user of every node can start it.
    pub(crate) fn install(&self, program: &Path) -> PathBuf {
        let folder = self.path().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(program.file_name().unwrap());
        fs::copy(program, &path).unwrap();
        path
    }

    /// A command as `user` on `node`, not started yet: fresh login, home as working directory.
    pub(crate) fn command_as<I: AsRef<OsStr>>(
        &self,
        user: &str,
        node: &str,
        argv: impl IntoIterator<Item = I>,
    ) -> Command {
        let mut command = script("exec");
        command.args(["--user", user]).arg(self.path()).args([node, "--"]);
        command.args(argv).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn exec_as<I: AsRef<OsStr>>(&self, user: &str, node: &str, argv: impl IntoIterator<Item = I>) -> Output {
        self.command_as(user, node, argv).output().unwrap()
    }

    /// Runs a shell script, which must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn shell(&self, user: &str, node: &str, script: &str) -> String {
        let output = self.exec_as(user, node, ["bash", "-c", script]);
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}\n{said}\n{complaint}");
        said
    }

    /// Takes a node's power away.
    pub(crate) fn crash(&self, node: &str) {
        assert!(script("crash").arg(self.path()).arg(node).status().unwrap().success());
    }

    /// Boots a node again.
    pub(crate) fn reboot(&self, node: &str) {
        assert!(script("reboot").arg(self.path()).arg(node).status().unwrap().success());
    }

    /// Kills the process that holds the cluster, which then has no chance to clear anything away.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Clears away after a cluster that was killed.
    pub(crate) fn clear(&self) {
        assert!(script("stop").arg(self.path()).status().unwrap().success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for log in ["gridengine-head.log", "slurmctld.log"] {
                let said = fs::read_to_string(self.path().join("log").join(log)).unwrap_or_default();
                let lines: Vec<_> = said.lines().rev().take(20).collect();
                eprintln!("{log}, newest line first:\n{}", lines.join("\n"));
            }
        }
        drop(self.process.stdin.take());
        let ended = self.process.wait();
        // A second panic would hide the first.
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

/// A script of `ci/cluster`.
fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/cluster").join(name))
}

/// Bytes of a program's output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks again and again until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Says that a test cannot be made here; ci/test prints these lines at its end.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("skipped {test}: {why}");
    fs::create_dir_all(cache()).unwrap();
    let list = File::options().append(true).create(true).open(cache().join("skipped"));
    writeln!(list.unwrap(), "{test}: {why}").unwrap();
}

/// What test runs share and keep, `ci/cluster/install` among them.
fn cache() -> PathBuf {
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from)
}
