//! Starts hpcvm as a user would: in an environment, a working directory and a `TMPDIR` of its own.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No wait of a test is longer; one that gets there has found a bug.
pub(crate) const PATIENCE: Duration = Duration::from_mins(15);

/// The numeric user that stands for "somebody without any right".
pub(crate) const NOBODY: u32 = 65534;

/// The program under test: the release build where ci/test made one.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("HPCVM_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_hpcvm").into(), PathBuf::from)
}

/// What test runs share and keep: packages, trees, images.
pub(crate) fn cache() -> PathBuf {
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    cache
}

/// Says that a test cannot be made here; ci/test prints these lines at its end.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("skipped {test}: {why}");
    let list = File::options().append(true).create(true).open(cache().join("skipped"));
    writeln!(list.unwrap(), "{test}: {why}").unwrap();
}

/// Whether the tests run as root; says so for those that must be left out otherwise.
pub(crate) fn root_or_skip(test: &str) -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        skip(test, "needs root to become another user or to mount");
    }
    root
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Told {
    /// The exit code, or 128 and the signal as a shell gives it.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .unwrap()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn success(&self) -> String {
        assert_eq!(self.code(), 0, "{}\n{}", self.out(), self.err());
        self.out()
    }

    /// Standard error of a program that must have ended with `code` and named the error `error`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, error: &str) -> String {
        let said = self.err();
        assert_eq!(self.code(), code, "{}\n{said}", self.out());
        assert!(said.contains(&format!("error[{error}]: ")), "{said}");
        said
    }
}

/// Folders of one test: `work`, where commands run, `tmp`, which must be empty in the end, `home`.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    store: PathBuf,
    cache: PathBuf,
    /// Becomes somebody else before hpcvm starts.
    prefix: Vec<OsString>,
    uid: Option<u32>,
    program: PathBuf,
}

impl Place {
    /// With the image store that all tests share.
    pub(crate) fn new() -> Self {
        Self::with_store(cache().join("store"))
    }

    /// With a store of its own.
    pub(crate) fn with_store(store: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("hpcvm-test-").tempdir().unwrap();
        for name in ["work", "tmp", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            store,
            cache: cache().join("hpcvm"),
            prefix: Vec::new(),
            uid: None,
            program: program(),
        }
    }

    /// With a store of its own and the cache that all tests share.
    pub(crate) fn with_own_store() -> Self {
        let mut place = Self::new();
        place.store = place.path("store");
        place
    }

    /// With a store and a cache inside the test's own folder.
    pub(crate) fn alone() -> Self {
        let mut place = Self::with_store(PathBuf::new());
        place.store = place.path("store");
        place.cache = place.path("cache");
        place
    }

    /// Everything in it belongs to the user `uid` from now on, whom every command runs as.
    ///
    /// The program is copied, for the checkout may lie where only its owner can go.
    pub(crate) fn owned_by(self, uid: u32) -> Self {
        self.owned_by_member(uid, &[])
    }

    /// The same with supplementary groups.
    pub(crate) fn owned_by_member(mut self, uid: u32, groups: &[u32]) -> Self {
        let id = uid.to_string();
        let list: Vec<String> = groups.iter().map(u32::to_string).collect();
        let groups = match list.join(",") {
            none if none.is_empty() => "--clear-groups".to_owned(),
            list => format!("--groups={list}"),
        };
        let words = ["setpriv", "--reuid", &id, "--regid", &id, &groups, "--"];
        self.prefix = words.map(OsString::from).to_vec();
        self.uid = Some(uid);
        let program = self.path("hpcvm");
        fs::copy(&self.program, &program).unwrap();
        self.program = program;
        self.hand_over();
        self
    }

    /// Puts further words before every command.
    pub(crate) fn within(mut self, words: &[&str]) -> Self {
        let words = words.iter().map(OsString::from);
        self.prefix = words.chain(self.prefix).collect();
        self
    }

    /// Gives what the test has put here to the user that runs the commands.
    pub(crate) fn hand_over(&self) {
        if let Some(uid) = self.uid {
            for entry in walkdir::WalkDir::new(self.folder.path()) {
                std::os::unix::fs::lchown(entry.unwrap().path(), Some(uid), Some(uid)).unwrap();
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// hpcvm with these arguments, not started yet.
    pub(crate) fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut words = self.prefix.clone();
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(arguments).env_clear();
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("HPCVM_STORE", &self.store)
            .env("HPCVM_CACHE", &self.cache)
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs hpcvm to its end.
    pub(crate) fn hpcvm<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Told {
        finish(self.command(arguments), Vec::new())
    }

    /// Runs `hpcvm` with the words of `line`.
    pub(crate) fn line(&self, line: &str) -> Told {
        self.hpcvm(line.split(' '))
    }

    /// Runs a shell script in a fresh VM of `image`; `options` are words between.
    pub(crate) fn run(&self, image: &str, options: &[&str], script: &str) -> Told {
        finish(self.run_command(image, options, script), Vec::new())
    }

    /// The same with standard input.
    pub(crate) fn run_with_input(&self, image: &str, options: &[&str], script: &str, input: Vec<u8>) -> Told {
        let mut command = self.run_command(image, options, script);
        command.stdin(Stdio::piped());
        finish(command, input)
    }

    /// The same, not started yet.
    pub(crate) fn run_command(&self, image: &str, options: &[&str], script: &str) -> Command {
        let words = ["run"].into_iter().chain(options.iter().copied());
        self.command(words.chain([image, "--", "sh", "-c", script]))
    }

    /// Fails unless no process of a launch lives and no file of one is left.
    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        let needle = self.path("tmp");
        wait_until("the hypervisor is gone", || processes_naming(&needle).is_empty());
        let left: Vec<_> = fs::read_dir(&needle)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Process ids of hypervisors that work in this place.
    pub(crate) fn hypervisors(&self) -> Vec<i32> {
        processes_naming(&self.path("tmp"))
    }
}

/// Feeds `input`, reads both outputs, waits for the end.
pub(crate) fn finish(mut command: Command, input: Vec<u8>) -> Told {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    end_of(command.spawn().unwrap(), input)
}

/// Waits for the end of a child with piped streams.
pub(crate) fn end_of(mut child: Child, input: Vec<u8>) -> Told {
    let stdin = child.stdin.take();
    let feeder = thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // A job may leave its input unread.
            let _ = stdin.write_all(&input);
        }
    });
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let mut status = None;
    wait_until("the program ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    feeder.join().unwrap();
    Told {
        status: status.unwrap(),
        stdout: stdout.map_or_else(Vec::new, |reader| reader.join().unwrap()),
        stderr: stderr.map_or_else(Vec::new, |reader| reader.join().unwrap()),
    }
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Asks again and again until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ids of QEMU processes that have `needle` in their command line.
fn processes_naming(needle: &Path) -> Vec<i32> {
    let needle = needle.as_os_str().as_encoded_bytes();
    let names = |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.windows(needle.len()).any(|window| window == needle)
            && line.split(|&byte| byte == 0).next().is_some_and(is_qemu)
    };
    let ids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(names).collect()
}

fn is_qemu(name: &[u8]) -> bool {
    String::from_utf8_lossy(name).contains("qemu-system")
}

/// Runs another program, which must succeed; returns its standard output.
#[track_caller]
pub(crate) fn tool<I: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = I>) -> String {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    finish(command, Vec::new()).success()
}

/// Sends a signal, as kill(1) does.
pub(crate) fn signal(process: u32, signal: i32) {
    let process = rustix::process::Pid::from_raw(process.cast_signed()).unwrap();
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}
