//! A VM is a filter: streams, status, arguments, environment and identity are the caller's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use super::harness::{end_of, finish, wait_until};
use super::images::{MINIMAL, minimal};

#[test]
fn the_three_examples_of_the_manual() {
    let place = minimal();
    let said = place
        .run(MINIMAL, &[], "echo $((2+3)); uname -m; cat /etc/debian_version")
        .success();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["5", "i686"]);
    assert!(lines.len() == 3 && lines[2].starts_with("12."), "{said}");

    let mut sum = place.command(["run", MINIMAL, "--", "awk", "{s += $1} END {print s}"]);
    sum.stdin(Stdio::piped());
    assert_eq!(finish(sum, b"3\n4\n5\n".to_vec()).success(), "12\n");

    assert_eq!(place.run(MINIMAL, &[], "exit 7").code(), 7);
    place.nothing_left();
}

fn random(bytes: u64) -> Vec<u8> {
    let mut data = Vec::new();
    let source = fs::File::open("/dev/urandom").unwrap();
    source.take(bytes).read_to_end(&mut data).unwrap();
    data
}

#[test]
fn a_hundred_megabytes_come_back_as_they_went() {
    const TO_STDERR: usize = 8 << 20;
    let place = minimal();
    let data = random(100 << 20);
    let script = format!("head -c {TO_STDERR} >&2; cat");
    let told = place.run_with_input(MINIMAL, &["--quiet"], &script, data.clone());
    assert_eq!(told.code(), 0);
    assert!(told.stderr.ends_with(&data[..TO_STDERR]), "standard error differs");
    assert!(told.stdout == data[TO_STDERR..], "standard output differs");
    place.nothing_left();
}

#[test]
fn input_may_be_empty_closed_or_left_unread() {
    let place = minimal();
    assert_eq!(place.run(MINIMAL, &[], "cat; echo read").success(), "read\n");
    let unread = place.run_with_input(MINIMAL, &[], "echo not read", random(10 << 20));
    assert_eq!(unread.success(), "not read\n");
    // Nobody ever ends this input.
    let mut command = place.run_command(MINIMAL, &[], "head -n 1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"one\n").unwrap();
    assert_eq!(end_of(child, Vec::new()).success(), "one\n");
    drop(stdin);
    place.nothing_left();
}

#[test]
fn a_reader_that_leaves_ends_the_job() {
    let place = minimal();
    let mut command = place.command(["run", MINIMAL, "--", "yes"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "y\n");
    drop(reader);
    // SIGPIPE, as on the host.
    assert_eq!(end_of(child, Vec::new()).code(), 141);
    place.nothing_left();
}

#[test]
fn output_comes_while_the_job_runs() {
    let place = minimal();
    let mut command = place.run_command(
        MINIMAL,
        &[],
        "echo first; while ! [ -e go ]; do sleep 0.1; done; echo last",
    );
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    place.write("go", "");
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "first\nlast\n");
    assert_eq!(end_of(child, Vec::new()).code(), 0);
}

#[test]
fn jobs_that_cannot_start_or_are_killed_are_told_apart() {
    let place = minimal();
    assert_eq!(place.run(MINIMAL, &[], "kill -9 $$").code(), 137);
    for (command, code, help) in [
        ("no-such-program", 127, "No such file"),
        ("/no/such/program", 127, "No such file"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/etc", 126, "Permission denied"),
    ] {
        let said = place.hpcvm(["run", MINIMAL, "--", command]).fails(code, "HV4106");
        assert!(
            said.contains(command) && said.contains(help) && said.contains("help: "),
            "{said}"
        );
    }
    place.write("script", "#!/bin/sh\necho \"run by its path: $1\"\n");
    let not_executable = place.hpcvm(["run", MINIMAL, "--", "./script", "x"]);
    not_executable.fails(126, "HV4106");
    let executable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(place.work("script"), executable).unwrap();
    let said = place.hpcvm(["run", MINIMAL, "--", "./script", "x"]).success();
    assert_eq!(said, "run by its path: x\n");
    place.nothing_left();
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let place = minimal();
    let odd: [&[u8]; 12] = [
        b"two words",
        b"it's",
        b"\"",
        b"$HOME `id` $(id)",
        b"line\nbreak\t",
        b"",
        b"-n",
        b"--memory",
        b"\\",
        b"*",
        b"\xff\xfe\x80",
        "gr\u{fc}\u{df}e \u{1f427}".as_bytes(),
    ];
    let mut words: Vec<OsString> = ["run", MINIMAL, "--", "printf", "%s\\0"].map(OsString::from).to_vec();
    words.extend(odd.iter().map(|word| OsStr::from_bytes(word).to_owned()));
    let told = place.hpcvm(words);
    told.success();
    let expected = [odd.join(&0), vec![0]].concat();
    assert_eq!(told.stdout, expected, "{:?}", told.out());
}

#[test]
fn the_environment_is_made_from_nothing() {
    let place = minimal();
    let options = [
        "--env",
        "A=1",
        "--env",
        "B=two words=x",
        "--env",
        "PASSED",
        "--env",
        "NOT_SET",
        "--env",
        "LANG=C",
    ];
    let mut command = place.run_command(MINIMAL, &options, "exec env -0");
    command
        .env("PASSED", "on")
        .env("SECRET", "stays")
        .env("NOT_EXPORTED", "x");
    let told = finish(command, Vec::new());
    let said = told.success();
    let mut variables: Vec<_> = said.split_terminator('\0').collect();
    variables.sort_unstable();
    let work = format!("PWD={}", place.path("work").display());
    let root = rustix::process::getuid().is_root();
    let user = if root { "root" } else { "job" };
    let home = if root { "/root" } else { "/home/job" };
    let mut expected = vec![
        "A=1".to_owned(),
        "B=two words=x".to_owned(),
        format!("HOME={home}"),
        format!("HPCVM_IMAGE={MINIMAL}"),
        "LANG=C".to_owned(),
        format!("LOGNAME={user}"),
        "PASSED=on".to_owned(),
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".to_owned(),
        work,
        "SHELL=/bin/sh".to_owned(),
        format!("USER={user}"),
    ];
    expected.sort_unstable();
    assert_eq!(variables, expected);
}

#[test]
fn the_job_is_who_and_where_and_when_its_caller_is() {
    let place = minimal();
    let script = "id -u; id -g; pwd; hostname; umask; cat /proc/net/dev | grep -c :; date +%s; echo made > made; \
                  test -t 0 || test -t 1 || echo no terminal; ps 2>/dev/null; ls /proc | grep -c '^[0-9]*$'; \
                  cat /proc/sys/kernel/random/entropy_avail";
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = seconds();
    let said = place.run(MINIMAL, &[], script).success();
    let after = seconds();
    let lines: Vec<_> = said.lines().collect();
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    assert_eq!(lines[0], uid.as_raw().to_string());
    assert_eq!(lines[1], gid.as_raw().to_string());
    assert_eq!(lines[2], place.path("work").to_str().unwrap());
    assert_eq!(lines[3], MINIMAL);
    let mask = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap();
    assert_eq!(lines[4].as_bytes(), mask.stdout.trim_ascii());
    assert_eq!(lines[5], "1", "there is only the loopback interface");
    let clock: u64 = lines[6].parse().unwrap();
    assert!((before - 5..=after + 5).contains(&clock), "{before} {clock} {after}");
    assert_eq!(lines[7], "no terminal");
    assert!(lines[8].parse::<u32>().unwrap() > 3);
    // Fully seeded: reading random bytes never waits.
    assert_eq!(lines[9], "256");
    let made = fs::metadata(place.work("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (uid.as_raw(), gid.as_raw()));
    assert_eq!(fs::read(place.work("made")).unwrap(), b"made\n");
}

#[test]
fn two_vms_share_no_random_bytes() {
    let place = minimal();
    let script = "head -c 32 /dev/random | od -An -tx1; cat /proc/sys/kernel/random/uuid";
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = place.run_command(MINIMAL, &[], script);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> = children
        .into_iter()
        .map(|child| end_of(child, Vec::new()).success())
        .collect();
    let all: Vec<_> = said.iter().flat_map(|said| said.lines()).collect();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (6, 6), "{all:?}");
    wait_until("both are gone", || place.hypervisors().is_empty());
}

/// A dozen by default; `HPCVM_TEST_LAUNCHES` asks for more.
#[test]
fn many_launches_in_a_row_all_succeed() {
    let place = minimal();
    let launches = std::env::var("HPCVM_TEST_LAUNCHES").map_or(12, |count| count.parse().unwrap());
    for launch in 0..launches {
        let said = place.run(MINIMAL, &[], &format!("echo {launch}; exit 3"));
        assert_eq!((said.code(), said.out()), (3, format!("{launch}\n")), "{}", said.err());
        place.nothing_left();
    }
}
