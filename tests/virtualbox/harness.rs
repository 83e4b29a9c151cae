//! Starts hpcvm where the real `VirtualBox` is, as an ordinary user.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// No wait of a test is longer; one that gets there has found a bug.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);
/// The image of the tests.
pub(crate) const IMAGE: &str = "boot-guest";

/// What test runs share and keep.
fn cache() -> PathBuf {
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    cache
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/virtualbox").join(name)
}

/// The tree with the real `VirtualBox`; says why it is not to be had and leaves `test` out.
pub(crate) fn tree(test: &str) -> Option<&'static Path> {
    static TREE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let tree = TREE.get_or_init(|| {
        let made = Command::new(script("install"))
            .env("HPCVM_TEST_CACHE", cache())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        match made.status.code() {
            Some(0) if rustix::process::getuid().is_root() => {
                Ok(PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()))
            }
            Some(0) => Err("needs root to become another user and to mount".to_owned()),
            Some(77) => Err(said),
            _ => panic!("{said}"),
        }
    });
    match tree {
        Ok(tree) => Some(tree),
        Err(why) => {
            eprintln!("skipped {test}: {why}");
            let list = File::options().append(true).create(true).open(cache().join("skipped"));
            writeln!(list.unwrap(), "{test}: {why}").unwrap();
            None
        }
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// The exit code, or 128 and the signal as a shell gives it.
    pub(crate) fn code(&self) -> i32 {
        let signal = || self.status.signal().map(|signal| 128 + signal);
        self.status.code().or_else(signal).unwrap()
    }

    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn success(&self) -> &str {
        assert_eq!(self.code(), 0, "{}\n{}", self.stdout, self.stderr);
        &self.stdout
    }
}

/// A user without any right who has nothing but what one test made: whatever there is of theirs afterwards was left.
fn somebody() -> u32 {
    static PLACES: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(16) + PLACES.fetch_add(1, Ordering::Relaxed);
    20_000 + number % 40_000
}

/// Folders of one test, its image, its user, and the tree.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    tree: &'static Path,
    user: u32,
}

impl Place {
    pub(crate) fn new(tree: &'static Path) -> Self {
        let folder = tempfile::Builder::new().prefix("hpcvm-vbox-").tempdir().unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        open(folder.path(), 0o755);
        for name in ["work", "tmp", "home"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            open(&path, 0o777);
        }
        super::guest::store_image(&folder.path().join("store"), IMAGE);
        let user = somebody();
        let place = Self { folder, tree, user };
        // The image is root's and nobody else may write to it.
        let opened = Command::new("chmod")
            .args(["-R", "a+rX,a-w"])
            .arg(place.path("store"))
            .status();
        assert!(opened.unwrap().success());
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives `path` and all below it to the user.
    pub(crate) fn give(&self, path: &Path) {
        let owner = format!("{0}:{0}", self.user);
        let given = Command::new("chown").args(["-R", &owner]).arg(path).status();
        assert!(given.unwrap().success());
    }

    /// `program` where the real `VirtualBox` is, as the test's user, in `work`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(script("exec"));
        command
            .arg("--tree")
            .arg(self.tree)
            .args(["--user", &self.user.to_string()])
            .arg(program);
        command
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// hpcvm with `arguments`.
    pub(crate) fn hpcvm(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_hpcvm"));
        command.arg("--store").arg(self.path("store")).args(arguments);
        command
    }

    /// `hpcvm run` of the guest by `VirtualBox`' interpreter, with `arguments` after the image's name.
    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let common = [
            "run",
            "--hypervisor",
            "virtualbox",
            "--accel",
            "tcg",
            "--no-cwd",
            "--no-scan",
        ];
        let mut command = self.hpcvm(&common);
        let options = arguments
            .iter()
            .position(|word| *word == "--")
            .expect("a command follows --");
        command
            .args(&arguments[..options])
            .arg(IMAGE)
            .args(&arguments[options..]);
        command
    }

    /// Whether any process of this test's machines is there, and any file of theirs.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let tmp = self.path("tmp");
        let began = Instant::now();
        // Killed processes take a moment to be gone.
        while !self.processes().is_empty() && began.elapsed() < Duration::from_mins(1) {
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.processes(), Vec::<String>::new());
        assert_eq!(self.sockets(), Vec::<PathBuf>::new());
        let left: Vec<_> = fs::read_dir(&tmp)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }

    /// What the user has in `/tmp`: `VirtualBox` makes its folders of sockets nowhere else.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir("/tmp").unwrap().flatten();
        let ours = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == self.user));
        ours.map(|entry| entry.path()).collect()
    }

    /// Kills this test's processes whose command line has `word`.
    pub(crate) fn kill(&self, word: &str) {
        for (process, line) in self.found() {
            if line.contains(word) {
                let sent = Command::new("kill").args(["-s", "KILL", &process]).status();
                assert!(sent.unwrap().success());
            }
        }
    }

    /// Command lines of the user's processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.found().into_iter().map(|(_, line)| line).collect()
    }

    fn found(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            // One that has ended and that nobody has asked for has no command line.
            if !line.is_empty() && entry.metadata().is_ok_and(|found| found.uid() == self.user) {
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                found.push((entry.file_name().into_string().unwrap(), line));
            }
        }
        found
    }
}

impl Drop for Place {
    /// Services that `VBoxManage` started and that stay for some seconds, and sockets of those that a test kept or killed.
    fn drop(&mut self) {
        for (process, _) in self.found() {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &process])
                .stderr(Stdio::null())
                .status();
        }
        for left in self.sockets() {
            let _ = fs::remove_dir_all(left);
        }
    }
}

/// Waits for `child` to end, and kills it when it does not.
pub(crate) fn wait(mut child: Child) -> Told {
    let began = Instant::now();
    let drain = |stream: Option<Box<dyn std::io::Read + Send>>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            stream.unwrap().read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = drain(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = drain(child.stderr.take().map(|stream| Box::new(stream) as _));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("no end after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    Told {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Runs `command` to its end.
pub(crate) fn told(command: &mut Command) -> Told {
    wait(command.spawn().unwrap())
}
