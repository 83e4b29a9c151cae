//! A shell that a template has started and held before its first instruction is a job like any other.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use super::harness::{NOBODY, Place, Told, finish, root_or_skip};
use super::images::{MINIMAL, copy_into, minimal, place_with, test_recipe};
use super::warm_node::{Node, can_save_or_skip};

/// Tells in its first line whether the shell was held: it has then a page of code that no file has.
pub(crate) const HELD: &str = "echo held $(grep -c 'r-xp 00000000 00:00 0 *$' /proc/$$/maps)\n";

/// What programs can know of themselves, but for numbers that differ from boot to boot.
const PROBE: &str = r#"
p=/proc/$$
for f in cmdline environ comm limits oom_score_adj coredump_filter personality autogroup; do
    echo "$f:"
    tr '\0' '\n' <$p/$f
done
readlink $p/exe $p/cwd $p/root
ls $p/fd
for fd in 0 1 2; do readlink $p/fd/$fd; grep flags $p/fdinfo/$fd; done | sed 's/[0-9]*]/]/'
grep -E '^(Umask|PPid|TracerPid|Uid|Gid|Groups|NS|Threads|Sig|Shd|Cap|NoNew|Seccomp)' $p/status | sed "s/\b$$\b/JOB/g"
# state, parent, group, session, terminal; nice value, threads; real-time priority and policy
cut -d ' ' -f 3-8,19,20,40,41 $p/stat | sed "s/\b$$\b/JOB/g"
echo "$PPID|$0|$#|$-|$PWD"
for word; do echo "<$word>"; done
umask
ulimit -a
trap
export -p
: >/dev/stdout && echo opens its streams
"#;

fn node(test: &str) -> Option<Node> {
    can_save_or_skip(test).then(|| Node::new(minimal(), MINIMAL))
}

/// Status and streams, without the line of [`HELD`].
fn said(told: &Told) -> (i32, String, String) {
    let out = told.out();
    let out = out
        .strip_prefix("held 0\n")
        .or(out.strip_prefix("held 1\n"))
        .unwrap_or(&out);
    (told.code(), out.to_owned(), told.err())
}

/// Fails unless the job's shell was held, or was not, as it says itself.
#[track_caller]
pub(crate) fn assert_held(told: &Told, held: bool) {
    let line = format!("held {}\n", u8::from(held));
    assert!(told.out().starts_with(&line), "{held}: {}{}", told.out(), told.err());
}

/// The same job started cold, and warm by the held shell.
#[track_caller]
fn assert_as_cold(node: &Node, image: &str, options: &[&str], command: &[&str]) -> Told {
    let words = [&["run", "--start", "cold"], options, &[image, "--"], command].concat();
    let cold = node.place.hpcvm(words);
    let warm = node.command_starts_warm(options, command);
    assert_held(&cold, false);
    assert_held(&warm, true);
    assert_eq!(said(&warm), said(&cold), "{command:?}");
    warm
}

#[test]
fn a_held_shell_is_a_process_like_any_other() {
    let test = "a_held_shell_is_a_process_like_any_other";
    if !can_save_or_skip(test) {
        return;
    }
    let place = minimal().within(&["sh", "-c", "umask 027; exec \"$@\"", "sh"]);
    let node = Node::new(place, MINIMAL);
    node.run(&[], ":").success();
    let script = format!("{HELD}{PROBE}");
    let options = ["--env", "MINE=a b\nc", "--env", "EMPTY="];
    let told = assert_as_cold(
        &node,
        MINIMAL,
        &options,
        &["sh", "-c", &script, "zero", "", "x\ny", "-e", "ü"],
    );
    let work = node.place.path("work");
    assert!(
        told.out().contains(&format!(
            "\n1|zero|4||{}\n<>\n<x\ny>\n<-e>\n<ü>\n0027\n",
            work.display()
        )),
        "{}",
        told.out()
    );
    let script = format!("{script}kill -TERM $$");
    let told = assert_as_cold(&node, MINIMAL, &["--cwd", "/etc"], &["/bin/sh", "-c", &script]);
    assert_eq!(told.code(), 143);
    node.place.nothing_left();
}

#[test]
fn a_held_shell_has_the_caller_s_rights() {
    let test = "a_held_shell_has_the_caller_s_rights";
    if !root_or_skip(test) || !can_save_or_skip(test) {
        return;
    }
    let place = Place::alone();
    let image = copy_into(&minimal(), MINIMAL, &place.path("image"));
    let image = image.to_str().unwrap();
    let node = Node::new(place.owned_by_member(NOBODY, &[NOBODY, 1000, 2000]), image);
    node.run(&[], ":").success();
    let script = format!("{HELD}{PROBE}echo >/root/x || echo no right; : >made; stat -c '%u %g' made");
    let told = assert_as_cold(&node, image, &[], &["sh", "-c", &script]);
    for line in [
        "Groups:\t1000 2000 65534 ",
        "CapEff:\t0000000000000000",
        "opens its streams",
        "no right",
        "65534 65534",
    ] {
        assert!(told.out().lines().any(|said| said == line), "{line}: {}", told.out());
    }
    node.place.nothing_left();
}

fn make_executable(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// A variable that nobody reads but that keeps a job from the held shell.
const ORDINARY: [&str; 2] = ["--env", "LD_NOTHING="];

/// The same job in a restored machine, by the held shell and started as ever; in both it has one more variable.
#[track_caller]
fn assert_as_ordinary(node: &Node, options: &[&str], command: &[&str]) -> (Told, Told) {
    let held = node.command(&[&["--env", "NOTHING="], options].concat(), command);
    let ordinary = node.command(&[&ORDINARY[..], options].concat(), command);
    assert_eq!(said(&held), said(&ordinary), "{options:?} {command:?}");
    (held, ordinary)
}

#[test]
fn scripts_start_by_a_held_shell() {
    let Some(node) = node("scripts_start_by_a_held_shell") else {
        return;
    };
    let place = &node.place;
    let tells = format!("{HELD}cat /proc/$$/comm; tr '\\0' '|' </proc/$$/cmdline; echo \" $0 $- $*\"; false; exit 3\n");
    for (name, first, executable) in [
        ("job.sh", "#!/bin/sh\n", true),
        ("fails.sh", "#! /bin/sh -e \n", true),
        ("bin/found", "#!/usr/bin/sh\n", true),
        ("data.sh", "#!/bin/sh\n", false),
        ("plain", "", true),
        ("orphan", "#!/opt/none/sh -e\n", true),
    ] {
        let path = place.write(name, format!("{first}{tells}"));
        if executable {
            make_executable(&path);
        }
    }
    let bin = place.work("bin").display().to_string();
    let path = format!("PATH=/none:{bin}:/usr/bin:/bin");
    let script = place.work("job.sh").display().to_string();
    node.run(&[], ":").success();
    let held: [(&[&str], &[&str], i32); 5] = [
        (&[], &["./job.sh", "a", "", "b c"], 3),
        (&[], &["./fails.sh"], 1),
        (&["--env", &path], &["found", "a"], 3),
        (&["--no-cwd", "--input", "job.sh:/opt/tool"], &["/opt/tool", "a"], 3),
        (&["--cwd", "/"], &[&script, "-x"], 3),
    ];
    for (options, command, code) in held {
        let (held, ordinary) = assert_as_ordinary(&node, options, command);
        assert_held(&held, true);
        assert_held(&ordinary, false);
        assert_eq!(held.code(), code, "{command:?} {}", held.err());
    }
    let refused: [(&[&str], &[&str]); 5] = [
        (&[], &["./data.sh"]),
        (&[], &["./plain"]),
        (&[], &["./orphan"]),
        (&[], &["./none.sh"]),
        (&["--cwd", "/none"], &["sh", "-c", "echo ran"]),
    ];
    for (options, command) in refused {
        let (held, _) = assert_as_ordinary(&node, options, command);
        assert!(held.code() >= 120 && held.out().is_empty(), "{command:?} {held:?}");
    }
    node.place.nothing_left();
}

#[test]
fn what_a_held_shell_cannot_be_starts_as_ever() {
    let Some(node) = node("what_a_held_shell_cannot_be_starts_as_ever") else {
        return;
    };
    let script = format!("{HELD}echo $# $1");
    let many = vec!["word"; 1100];
    let long = "x".repeat(100_000);
    let sh = ["sh", "-c", script.as_str(), "0"];
    let cases: [(&[&str], &[&str], bool, String); 7] = [
        (&[], &["a"], true, "1 a".into()),
        (&["--env", "LD_PRELOAD="], &["a"], false, "1 a".into()),
        (&["--env", "LD_LIBRARY_PATH=/opt"], &["a"], false, "1 a".into()),
        (&["--env", "MALLOC_ARENA_MAX=1"], &["a"], false, "1 a".into()),
        (&[], &many, false, "1100 word".into()),
        (&[], &[&long], true, format!("1 {long}")),
        (&[], &[&long, &long], false, format!("2 {long}")),
    ];
    for (options, words, held, said) in cases {
        let told = node.command(options, &[&sh[..], words].concat());
        assert_held(&told, held);
        assert_eq!(told.success().lines().nth(1).unwrap(), said, "{options:?} {held}");
    }
    // Other files in the guest than the template had: an own shell, libraries.
    let own = node.place.write("own", "#!/bin/bash\necho own \"$@\"\n");
    make_executable(&own);
    let script = node.place.write("script", "#!/bin/sh\necho not for this shell\n");
    make_executable(&script);
    node.run(&[], "cp /lib/*/libc.so.6 libc; : >none").success();
    for (input, command, said) in [
        ("own:/usr/bin/sh", &["sh", "-c", "x"][..], "own -c x\n"),
        ("own:/usr/local/bin/sh", &["sh", "-c", "x"], "own -c x\n"),
        ("own:/usr/bin/dash", &["./script"], "own ./script\n"),
        ("libc:/lib/i386-linux-gnu/libc.so.6", &sh, "held 0\n0\n"),
        ("none:/etc/ld.so.preload", &sh, "held 0\n0\n"),
    ] {
        let told = node.command(&["--input", input], command);
        assert_eq!(told.success(), said, "{input}");
    }
    fs::create_dir(node.place.work("tools")).unwrap();
    fs::rename(own, node.place.work("tools/sh")).unwrap();
    let share = format!("{}:/usr/local/bin", node.place.work("tools").display());
    for _ in 0..2 {
        let told = node.command(&["--share", &share], &["sh", "-c", "x"]);
        assert_eq!(told.success(), "own -c x\n");
    }
    node.place.nothing_left();
}

/// Prints how many processes there are but the kernel's, until they are as many as the first argument says.
const COUNT: &str = "for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n\
                     count=0\n\
                     for process in /proc/[0-9]*; do [ ! -e $process/exe ] || count=$((count + 1)); done\n\
                     [ $count != 2 ] || break\nsleep 0.5\ndone\necho $count processes\n";

#[test]
fn nothing_else_waits_beside_the_job() {
    let Some(node) = node("nothing_else_waits_beside_the_job") else {
        return;
    };
    for shell in ["bash", "sh"] {
        // The job runner and the job.
        let told = node.command_starts_warm(&[], &[shell, "-c", COUNT]);
        assert_eq!(told.success(), "2 processes\n", "{shell}");
    }
    for (job, input) in [
        (&["sh", "-s", "a"][..], "echo $1 $#\necho rest\necho of it"),
        (&["sh"], "echo a 1\necho rest\necho of it"),
        (
            &["sh", "-c", "while read line; do echo $line; done; echo $line"],
            "a 1\nrest\nof it",
        ),
    ] {
        let words = [&["run"], &node.options(&[])[..], &[MINIMAL, "--"], job].concat();
        let mut command = node.place.command(words);
        command.stdin(Stdio::piped());
        let told = finish(command, input.into());
        assert_eq!(told.success().trim_end(), "a 1\nrest\nof it", "{job:?}");
    }
    // Each machine draws its own addresses for what the held shell starts.
    let layouts: BTreeSet<String> = (0..3).map(|_| node.run(&[], "cat /proc/self/maps").success()).collect();
    assert_eq!(layouts.len(), 3);
    node.place.nothing_left();
}

/// As [`HELD`], in Perl.
const PERL: &str = "open my $maps, '<', '/proc/self/maps';\n\
                    print 'held ', 0 + grep(/r-xp 00000000 00:00 0 *$/, <$maps>), \"\\n\";\n\
                    print \"$0 $^X $^W @ARGV $ENV{MINE}\\n\"; exit 3";

#[test]
fn a_recipe_s_programs_are_held() {
    let test = "a_recipe_s_programs_are_held";
    if !can_save_or_skip(test) {
        return;
    }
    let node = Node::new(place_with(&test_recipe("held-i386")), "held-i386");
    let cache = node.place.path("node").display().to_string();
    let words = [
        "template",
        "build",
        "held-i386",
        "--shares",
        "1",
        "--node-cache",
        &cache,
    ];
    let told = node.place.hpcvm(words);
    told.success();
    let expected = "/opt/none cannot be preloaded: it does not start; /usr/bin/zcat cannot be preloaded: it is no program that \
                    everyone may execute with no more rights than theirs";
    assert!(told.err().contains(expected), "{}", told.err());
    for (name, first) in [("job.pl", "#!/usr/bin/perl -w\n"), ("job.bash", "#! /bin/bash\n")] {
        let content = if name == "job.pl" {
            PERL.to_owned()
        } else {
            format!("{HELD}echo $0 $MINE $*; exit 3")
        };
        make_executable(&node.place.write(name, format!("{first}{content}\n")));
    }
    let bash = format!("{HELD}echo $0 $MINE; exit 3");
    let cases: [(&[&str], &str); 5] = [
        (&["perl", "-e", PERL, "a", "b"], "-e /usr/bin/perl 0 a b own\n"),
        (&["./job.pl", "a", ""], "./job.pl /usr/bin/perl 1 a  own\n"),
        (&["bash", "-c", &bash], "bash own\n"),
        (&["./job.bash", "a"], "./job.bash own a\n"),
        (&["sh", "-c", &bash], "sh own\n"),
    ];
    for (command, expected) in cases {
        let (held, ordinary) = assert_as_ordinary(&node, &["--env", "MINE=own"], command);
        assert_held(&held, true);
        assert_held(&ordinary, false);
        assert_eq!(said(&held), (3, expected.to_owned(), String::new()), "{command:?}");
    }
    let told = node.run(&[], "echo packed | gzip >f.gz");
    told.success();
    assert_eq!(node.command(&[], &["zcat", "f.gz"]).success(), "packed\n");
    // The job runner and the job: the other programs have ended.
    let told = node.command_starts_warm(&[], &["bash", "-c", COUNT]);
    assert_eq!(told.success(), "2 processes\n");
    node.place.nothing_left();
}
