//! Python that was started before its job was known behaves as one that was not.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use super::harness::{NOBODY, Place, end_of, root_or_skip};
use super::images::{copy_into, place_with, test_recipe};
use super::warm_node::{Node, can_save_or_skip};

const IMAGE: &str = "python-i386";

fn node(test: &str) -> Option<Node> {
    can_save_or_skip(test).then(|| Node::new(place_with(&test_recipe(IMAGE)), IMAGE))
}

/// `ssl` takes long to import: who has it at once was preloaded.
const PRELOADED: &str = "import sys; print('ssl' in sys.modules)";

#[test]
fn a_preloaded_interpreter_is_the_job() {
    let Some(node) = node("a_preloaded_interpreter_is_the_job") else {
        return;
    };
    node.place
        .write("lib/mine.py", "import sys\nprint(sys.argv[1:], __name__)\n");
    node.place.write(
        "script.py",
        "import sys\nprint(__file__, sys.path[0], input())\nsys.exit(5)\n",
    );
    node.place.write("wrong.py", "def f():\n    1 / 0\nf()\n");
    let work = node.place.path("work").display().to_string();
    let cases: [(&[&str], i32, String, &str); 6] = [
        (&["-c", PRELOADED], 0, "True\n".into(), ""),
        (
            &["-c", "import sys; print(sys.argv, sys.path[0] == '')", "a", "b"],
            0,
            "['-c', 'a', 'b'] True\n".into(),
            "",
        ),
        (&["-m", "lib.mine", "x"], 0, "['x'] __main__\n".into(), ""),
        (
            &["-m", "none"],
            1,
            String::new(),
            "/usr/bin/python3: No module named none\n",
        ),
        (
            &["wrong.py"],
            1,
            String::new(),
            "    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n",
        ),
        (&["-c", "import os; os.kill(os.getpid(), 9)"], 137, String::new(), ""),
    ];
    for (words, code, out, err) in cases {
        let command = [&["python3"], words].concat();
        let told = node.command_starts_warm(&[], &command);
        assert_eq!((told.code(), told.out()), (code, out), "{words:?}: {}", told.err());
        assert!(told.err().ends_with(err), "{words:?}: {}", told.err());
        assert!(
            !told.err().contains("wait_for_job") && !told.err().contains("in job"),
            "{}",
            told.err()
        );
    }
    let words = [&["run"], &node.options(&[])[..], &[IMAGE, "--", "python3", "script.py"]].concat();
    let mut command = node.place.command(words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let told = end_of(command.spawn().unwrap(), b"read\n".to_vec());
    assert_eq!(told.code(), 5, "{}", told.err());
    assert_eq!(told.out(), format!("{work}/script.py {work} read\n"));
    node.place.nothing_left();
}

#[test]
fn what_a_preloaded_interpreter_cannot_be_starts_as_ever() {
    let Some(node) = node("what_a_preloaded_interpreter_cannot_be_starts_as_ever") else {
        return;
    };
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &["python3", "-B", "-c", PRELOADED]),
        (&["--env", "PYTHONHASHSEED=1"], &["python3", "-c", PRELOADED]),
        (&["--env", "OMP_NUM_THREADS=1"], &["python3", "-c", PRELOADED]),
        (
            &["--env", "PATH=/opt:/bin"],
            &["sh", "-c", "exec python3 -c \"$0\"", PRELOADED],
        ),
        (&["--env", "LC_ALL=C"], &["/usr/bin/python3", "-c", PRELOADED]),
        // The job's own folder may have another.
        (&["--env", "PATH=:/usr/bin:/bin"], &["python3", "-c", PRELOADED]),
    ];
    for (options, command) in cases {
        let told = node.command_starts_warm(options, command);
        assert_eq!(told.success(), "False\n", "{options:?} {command:?}");
    }
    let told = node.command_starts_warm(&["--env", "MY=own"], &["/usr/bin/python3", "-c", PRELOADED]);
    assert_eq!(told.success(), "True\n");
    let told = node.command(&[], &["python3", "no-such-file.py"]);
    assert_eq!(told.code(), 2, "{}", told.err());
    assert!(told.err().contains("can't open file"), "{}", told.err());
    let (told, _) = node.phases_of(&["--cwd", "/no/such/folder"], &["python3", "-c", "1"]);
    assert!(told.code() >= 120, "{}", told.err());
    // No other process is left of it.
    let count = "ls -d /proc/[0-9]*/exe | xargs -n 1 readlink | grep -c python || true";
    assert_eq!(node.starts_warm(&[], count).success(), "0\n");
    node.place.nothing_left();
}

#[test]
fn preloaded_generators_differ() {
    let Some(node) = node("preloaded_generators_differ") else {
        return;
    };
    let script = "import random, ssl, os, uuid, tempfile\n\
                  print(random.random(), ssl.RAND_bytes(8).hex(), os.urandom(8).hex(), uuid.uuid4(), tempfile.mktemp(), sep='\\n')";
    let mut values = BTreeSet::new();
    for _ in 0..4 {
        let said = node.command_starts_warm(&[], &["python3", "-c", script]).success();
        values.extend(said.lines().map(str::to_owned));
    }
    assert_eq!(values.len(), 20, "{values:?}");
    let cache = node.place.path("node");
    let line = format!("test {IMAGE} --clones 4 --node-cache {}", cache.display());
    let said = node.place.line(&line).success();
    for name in [
        "python-random",
        "python-openssl",
        "openssl",
        "urandom",
        "hardware-address",
    ] {
        assert!(
            said.contains(&format!("ok      {name}: 4 different in 4 machines")),
            "{said}"
        );
    }
    node.place.nothing_left();
}

#[test]
fn a_preloaded_interpreter_has_the_caller_s_rights() {
    let test = "a_preloaded_interpreter_has_the_caller_s_rights";
    if !root_or_skip(test) || !can_save_or_skip(test) {
        return;
    }
    let shared = place_with(&test_recipe(IMAGE));
    let place = Place::alone();
    let image = copy_into(&shared, IMAGE, &place.path("image"));
    let node = Node::new(place.owned_by(NOBODY), image.to_str().unwrap());
    let script = "import os, sys\n\
                  print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups(), 'ssl' in sys.modules)\n\
                  open('/dev/stdout', 'w').write('own descriptors\\n')\n\
                  try: os.setuid(0)\nexcept PermissionError: print('not root')\n\
                  open('made', 'w').close()";
    let told = node.command_starts_warm(&[], &["python3", "-c", script]);
    assert_eq!(told.success(), "own descriptors\n65534 65534 65534 [] True\nnot root\n");
    let made = fs::metadata(node.place.work("made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), NOBODY);
    node.place.nothing_left();
}
