//! The boot sector guest of the tests with `VirtualBox`, under QEMU, where it is quick: does it speak the job protocol
//! as the launcher does?

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use hpcvm::guest::control::{Order, Report, Step};
use hpcvm::guest::job_disk::{Identity, JobDescription};
use hpcvm::guest::result_disk::{self, Ending, ResultHeader};
use hpcvm::image::DISK_FILE;

#[path = "virtualbox/guest/mod.rs"]
mod guest;

/// What came of a job.
struct Ran {
    reports: Vec<Report>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// What stands on the result disk.
    result: Option<ResultHeader>,
}

impl Ran {
    /// How the guest says it ended.
    fn ended(&self) -> (Step, ResultHeader) {
        match self.reports.last() {
            Some(Report::Ended { step, result, .. }) => (*step, *result),
            other => panic!("the guest's last word is {other:?}"),
        }
    }
}

fn job(command: &[&str]) -> JobDescription {
    JobDescription {
        clock: (1_700_000_000, 5),
        hostname: "node7".into(),
        seed: vec![9; 64],
        identity: Identity {
            uid: 1234,
            gid: 567,
            groups: vec![4, 27],
            user: "eve".into(),
            home: "/home/eve".into(),
        },
        command: command.iter().map(Into::into).collect(),
        environment: vec![("LANG".into(), "C.UTF-8".into())],
        folder: "/home/eve/work".into(),
        umask: 0o22,
        ..JobDescription::default()
    }
}

/// Runs a job whose job disk begins with these bytes; `answer` is given each report and says what the launcher says.
fn run(job_disk: &[u8], input: &[&[u8]], mut answer: impl FnMut(&Report) -> Option<Order>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = guest::store_image(&path("store"), "boot-guest");
    for (name, content) in [("job.disk", job_disk), ("result.disk", &result_disk::blank())] {
        let file = File::create_new(path(name)).unwrap();
        file.write_all_at(content, 0).unwrap();
        file.set_len(1 << 20).unwrap();
    }
    let [control, streams] = ["control", "streams"].map(|name| UnixListener::bind(path(name)).unwrap());
    let mut qemu = start_qemu(folder.path(), &image.path(DISK_FILE));
    let [mut control, mut streams] = [control, streams].map(|listener| listener.accept().unwrap().0);
    let mut output = streams.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        output.read_to_end(&mut read).map(|_| read)
    });
    let (mut reports, mut frames) = (Vec::new(), input.iter());
    for line in BufReader::new(control.try_clone().unwrap()).lines() {
        let line = line.unwrap();
        if line == "more" {
            let frame = frames.next().copied().unwrap_or_default();
            let length = u32::try_from(frame.len()).unwrap();
            streams.write_all(&[&length.to_le_bytes(), frame].concat()).unwrap();
            continue;
        }
        let report = Report::parse(&line).unwrap();
        let last = matches!(report, Report::Ended { .. });
        if let Some(order) = answer(&report) {
            control.write_all(order.line().as_bytes()).unwrap();
        }
        if last {
            control.write_all(Order::Acknowledge.line().as_bytes()).unwrap();
        }
        reports.push(report);
    }
    assert!(qemu.wait().unwrap().success());
    Ran {
        reports,
        stdout: reader.join().unwrap().unwrap(),
        stderr: fs::read(path("stderr")).unwrap(),
        result: ResultHeader::decode(&fs::read(path("result.disk")).unwrap()),
    }
}

/// QEMU with the disks and ports that `VirtualBox` gives the guest: COM1 is the console, COM2 control, COM3 standard
/// output and input, COM4 standard error.
fn start_qemu(folder: &Path, disk: &Path) -> Child {
    let mut qemu = Command::new("qemu-system-i386");
    qemu.args("-accel tcg -m 32 -display none -monitor none -nic none -no-reboot".split(' '))
        .current_dir(folder)
        .stdin(Stdio::null());
    for (index, (file, format, snapshot)) in [
        (disk.to_str().unwrap(), "vdi", "on"),
        ("job.disk", "raw", "on"),
        ("result.disk", "raw", "off"),
    ]
    .into_iter()
    .enumerate()
    {
        let drive = format!("file={file},format={format},if=ide,index={index},snapshot={snapshot}");
        qemu.args(["-drive", &drive]);
    }
    for (id, back_end) in [
        ("console", "null"),
        ("control", "socket,path=control"),
        ("streams", "socket,path=streams"),
        ("stderr", "file,path=stderr"),
    ] {
        qemu.args(["-chardev", &format!("{back_end},id={id}")]);
        qemu.args(["-serial", &format!("chardev:{id}")]);
    }
    qemu.spawn().unwrap()
}

/// Runs a job to its end.
fn run_job(job: &JobDescription) -> Ran {
    run(&job.encode().unwrap(), &[], |_| None)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_job_gets_its_arguments_and_its_streams_and_status_come_back() {
    let script = "echo hello; args 'two words' \"a;b\" ''; id; pwd; hostname; env; echo problem >&2; exit 7; echo no";
    let ran = run_job(&job(&["/bin/sh", "-c", script]));
    let expected = "hello\nargs\ntwo words\na;b\n\nuid=1234 gid=567 user=eve\n/home/eve/work\nnode7\nLANG=C.UTF-8\n";
    assert_eq!(text(&ran.stdout), expected);
    assert_eq!(text(&ran.stderr), "problem\n");
    assert!(
        matches!(ran.reports[..], [Report::Ready { .. }, Report::Started { .. }, _]),
        "{:?}",
        ran.reports
    );
    let result = ResultHeader {
        ending: Ending::Exited(7),
        outputs: 0,
        stdout_bytes: expected.len() as u64,
        stderr_bytes: 8,
    };
    assert_eq!(ran.ended(), (Step::Ran, result));
    assert_eq!(ran.result, Some(result), "the result disk says the same");
}

#[test]
fn arguments_arrive_as_they_are() {
    let ran = run_job(&job(&["args", "", "ä 'b' \"c\"", "-n", "; exit 1"]));
    assert_eq!(text(&ran.stdout), "args\n\nä 'b' \"c\"\n-n\n; exit 1\n");
    assert_eq!(ran.result.unwrap().ending, Ending::Exited(0));
}

#[test]
fn an_unknown_command_is_not_started() {
    let ran = run_job(&job(&["/usr/bin/python3"]));
    let (step, result) = ran.ended();
    assert_eq!((step, result.ending), (Step::Command, Ending::NotStarted(2)));
    assert_eq!(ran.result, Some(result));
}

#[test]
fn stop_ends_a_job_that_sleeps_and_one_that_was_not_started() {
    let stop = Order::Stop {
        grace: std::time::Duration::from_secs(5),
    };
    let sleeps = job(&["sleep", "3600"]).encode().unwrap();
    let ran = run(&sleeps, &[], |report| {
        matches!(report, Report::Started { .. }).then_some(stop)
    });
    assert_eq!(ran.ended().1.ending, Ending::Killed(15));
    assert_eq!(ran.result.unwrap().ending, Ending::Killed(15));
    // `true` may be over before the word arrives; either ending is right, but there must be one.
    let short = job(&["true"]).encode().unwrap();
    let ran = run(&short, &[], |report| {
        matches!(report, Report::Ready { .. }).then_some(stop)
    });
    let expected = [Ending::NotStarted(0), Ending::Exited(0)];
    assert!(expected.contains(&ran.ended().1.ending), "{:?}", ran.reports);
}

#[test]
fn a_stream_that_nobody_reads_kills_the_job_that_writes_to_it() {
    let endless = job(&["fill", "2000000000"]).encode().unwrap();
    let ran = run(&endless, &[], |report| {
        matches!(report, Report::Started { .. }).then_some(Order::CloseStdout)
    });
    let result = ran.result.unwrap();
    assert_eq!(result.ending, Ending::Killed(13));
    assert_eq!(result.stdout_bytes, ran.stdout.len() as u64);
}

#[test]
fn standard_input_comes_in_frames_that_were_asked_for() {
    let cat = job(&["cat"]).encode().unwrap();
    let long = "0123456789\n".repeat(500);
    let ran = run(&cat, &[b"first\n", long.as_bytes()], |_| None);
    assert_eq!(text(&ran.stdout), format!("first\n{long}"));
    assert_eq!(ran.result.unwrap().ending, Ending::Exited(0));
}

#[test]
fn a_large_environment_is_read_past_and_a_damaged_disk_refused() {
    let mut large = job(&["echo", "here"]);
    large.environment = (0..2000)
        .map(|number| (format!("VARIABLE_{number}").into(), "x".repeat(40).into()))
        .collect();
    let ran = run_job(&large);
    assert_eq!(text(&ran.stdout), "here\n");

    let mut damaged = large.encode().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let ran = run(&damaged, &[], |_| None);
    let says = |report: &Report| matches!(report, Report::Problem(text) if text.contains("damaged"));
    assert!(ran.reports.iter().any(says), "{:?}", ran.reports);
    assert_eq!(ran.ended().0, Step::Prepare);
    assert_eq!(ran.result.unwrap().ending, Ending::NotStarted(19));
}

#[test]
fn the_guest_is_an_image_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let image = guest::store_image(folder.path(), "boot-guest");
    assert_eq!(image.manifest.name, "boot-guest");
    assert!(hpcvm::image::verify::verify(&image).is_empty());
    let again = tempfile::tempdir().unwrap();
    assert_eq!(guest::store_image(again.path(), "boot-guest").digest, image.digest);
}
