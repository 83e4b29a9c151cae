//! A job in a restored machine goes as it goes in one that was booted, and no two are alike.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::harness::{end_of, finish, root_or_skip, signal, wait_until};
use super::images::{MINIMAL, minimal};
use super::warm_node::{Node, can_save_or_skip, rewrite, seal};

fn node(test: &str) -> Option<Node> {
    can_save_or_skip(test).then(|| Node::new(minimal(), MINIMAL))
}

#[test]
fn a_restored_machine_is_a_filter_like_any_other() {
    let Some(node) = node("a_restored_machine_is_a_filter_like_any_other") else {
        return;
    };
    let (told, phases) = node.phases(&[], "echo out; echo err >&2; exit 3");
    assert_eq!((told.code(), told.out().as_str()), (3, "out\n"), "{}", told.err());
    assert_eq!(told.err(), "err\n");
    assert!(
        phases.contains("template-made") && phases.contains("restored"),
        "{phases:?}"
    );
    let told = node.starts_warm(&[], "kill -9 $$");
    assert_eq!(told.code(), 137, "{}", told.err());
    let mut input: Vec<u8> = (0..10_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    input.extend_from_slice(b"end");
    let options = node.options(&[]);
    let told = node.place.run_with_input(MINIMAL, &options, "cat", input.clone());
    told.success();
    assert!(
        told.stdout == input,
        "{} of {} bytes came back",
        told.stdout.len(),
        input.len()
    );
    assert_eq!(node.run(&[], "no-such-command").code(), 127);
    // A job is told on the control port, a longer one by its disk.
    for length in [100, 40_000, 100_000] {
        let odd: String = "a\\\nn\n\u{e9} go\nstop 0\n".chars().cycle().take(length).collect();
        let told = node.command_starts_warm(&[], &["sh", "-c", "printf %s \"$1\"", "sh", &odd]);
        assert!(told.code() == 0 && told.out() == odd, "{length}: {}", told.err());
    }
    node.place.nothing_left();
    assert_eq!(node.templates().len(), 1);
}

#[test]
fn shares_inputs_outputs_and_scratch_come_after_the_restore() {
    let Some(node) = node("shares_inputs_outputs_and_scratch_come_after_the_restore") else {
        return;
    };
    node.place.write("in", "input\n");
    node.place.write("other/file", "shared\n");
    let other = node.place.work("other");
    let share = format!("{}:/other:ro", other.display());
    let script = "cat in /other/file; echo made > made; mkdir out; echo result > out/file; echo x > /other/file";
    for round in 0..2 {
        let options = ["--share", &share, "--input", "in", "--output", "out:brought"];
        let told = node.starts_warm(&options, &format!("{script}; rm -r out"));
        assert!(
            told.out().starts_with("input\nshared\n"),
            "{round}: {} {}",
            told.out(),
            told.err()
        );
        let told = node.starts_warm(&options, &format!("{script} 2>/dev/null; exit 0"));
        told.success();
        assert_eq!(fs::read_to_string(node.place.work("brought/file")).unwrap(), "result\n");
        assert_eq!(fs::read_to_string(node.place.work("made")).unwrap(), "made\n");
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "shared\n");
        fs::remove_dir_all(node.place.work("out")).unwrap();
        fs::remove_dir_all(node.place.work("brought")).unwrap();
    }
    let script = "ls /scratch; echo kept > /scratch/file; cat /scratch/file; df /scratch | tail -n 1 | cut -d ' ' -f 1";
    for _ in 0..2 {
        let said = node.starts_warm(&["--no-cwd", "--scratch", "64M"], script).success();
        assert!(said.starts_with("lost+found\nkept\n/dev/vd"), "{said}");
    }
    node.place.nothing_left();
}

#[test]
fn a_restored_job_is_stopped_like_any_other() {
    let Some(node) = node("a_restored_job_is_stopped_like_any_other") else {
        return;
    };
    node.run(&[], "true").success();
    let told = node.run(&["--timeout", "1s"], "echo before; sleep 1000");
    told.fails(124, "HV4203");
    assert_eq!(told.out(), "before\n");
    let script = "trap 'echo caught; exit 9' TERM; : > running; while :; do sleep 0.1; done";
    let mut command = node.place.run_command(MINIMAL, &node.options(&[]), script);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the job runs", || node.place.work("running").exists());
    signal(child.id(), 15);
    let told = end_of(child, Vec::new());
    assert_eq!((told.code(), told.out().as_str()), (9, "caught\n"), "{}", told.err());
    node.place.nothing_left();
}

#[test]
fn clones_differ_and_know_the_time() {
    let Some(node) = node("clones_differ_and_know_the_time") else {
        return;
    };
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    node.run(&[], "true").success();
    // A guest whose clock stood still since the template was saved would be late by this.
    thread::sleep(Duration::from_secs(3));
    let script = "date +%s; cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; \
                  head -c 16 /dev/urandom | od -An -tx1; head -c 16 /dev/random | od -An -tx1; hostname; id -u";
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = node.place.run_command(MINIMAL, &node.options(&[]), script);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> = children
        .into_iter()
        .map(|child| end_of(child, Vec::new()).success())
        .collect();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut random = Vec::new();
    for said in &said {
        let lines: Vec<&str> = said.lines().collect();
        let clock: u64 = lines[0].parse().unwrap();
        assert!((before + 3..=after).contains(&clock), "{before} {clock} {after}");
        random.extend_from_slice(&lines[1..5]);
        let uid = rustix::process::getuid().as_raw().to_string();
        assert_eq!(&lines[5..], [MINIMAL, &uid]);
    }
    let different: BTreeSet<_> = random.iter().collect();
    assert_eq!((random.len(), different.len()), (16, 16), "{random:?}");
    node.place.nothing_left();
}

#[test]
fn the_kernel_knows_that_it_is_a_copy() {
    if !root_or_skip("the_kernel_knows_that_it_is_a_copy") {
        return;
    }
    let Some(node) = node("the_kernel_knows_that_it_is_a_copy") else {
        return;
    };
    let script = "timeout 1 cat /dev/kmsg | grep -c 'crng reseeded due to virtual machine fork'";
    for _ in 0..2 {
        assert_eq!(node.run(&[], script).success(), "1\n");
    }
    node.place.nothing_left();
}

/// What fails must cost no job.
#[test]
fn a_damaged_template_is_replaced_by_a_cold_start() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 3] = [
        ("the state is cut", |folder| {
            let state = fs::read(folder.join("state")).unwrap();
            rewrite(folder, "state", &state[..state.len() / 2]);
        }),
        ("the state is another", |folder| {
            let mut state = fs::read(folder.join("state")).unwrap();
            state.fill(0);
            rewrite(folder, "state", &state);
        }),
        ("the memory is another", |folder| {
            let path = folder.join("ram");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(0).unwrap();
            file.set_len(length).unwrap();
            seal(&file);
        }),
    ];
    let Some(node) = node("a_damaged_template_is_replaced_by_a_cold_start") else {
        return;
    };
    for (what, harm) in harms {
        // What failed less than an hour ago is only tried again by who insists.
        node.run(&[], "true").success();
        let templates = node.templates();
        assert_eq!(templates.len(), 1, "{what}");
        harm(&templates[0]);
        let began = Instant::now();
        let (told, phases) = node.phases(&[], "cat; echo done");
        assert_eq!(told.success(), "done\n", "{what}");
        assert!(
            phases.contains("restore-failed") && phases.contains("guest-ready"),
            "{what}: {phases:?}"
        );
        assert!(told.err().contains("it is started cold"), "{what}: {}", told.err());
        assert!(began.elapsed() < Duration::from_mins(2), "{what}");
        assert!(node.templates().is_empty(), "{what}");
        node.place.nothing_left();
    }
}

#[test]
fn a_hypervisor_that_hangs_in_the_restore_is_given_up() {
    let Some(node) = node("a_hypervisor_that_hangs_in_the_restore_is_given_up") else {
        return;
    };
    node.run(&[], "true").success();
    // A hypervisor that does nothing when it is to restore, and all else when not.
    let path = node.path_with_hypervisor("*-incoming*) exec sleep 1000;;");
    let report = node.place.work("report.json");
    let options = node.options(&["--report", report.to_str().unwrap()]);
    let mut command = node.place.run_command(MINIMAL, &options, "echo done");
    let told = finish(
        {
            command.env("PATH", path);
            command
        },
        Vec::new(),
    );
    assert_eq!(told.success(), "done\n");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let at = |phase: &str| {
        let marks = report["timeline"].as_array().unwrap().iter();
        let mut of_phase = marks.filter(|mark| mark["phase"] == phase);
        of_phase.next().map(|mark| mark["seconds"].as_f64().unwrap())
    };
    let given_up = at("restore-failed").unwrap() - at("hypervisor-started").unwrap();
    assert!(given_up > 0.25, "{given_up}");
    node.place.nothing_left();
}

#[test]
fn a_hypervisor_that_cannot_save_machines_starts_them_cold() {
    let place = minimal();
    let node = Node::new(place, MINIMAL);
    let path = node.path_with_hypervisor("--version) echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'; exit;;");
    let with_old = |mut command: std::process::Command| {
        command.env("PATH", &path);
        finish(command, Vec::new())
    };
    let told = with_old(node.place.run_command(MINIMAL, &node.options(&[]), "echo done"));
    assert_eq!(told.success(), "done\n");
    let why = "cannot be saved by QEMU 7.2.22: warm starts need 8.2 or later";
    assert!(told.err().contains(why), "{}", told.err());
    assert!(node.templates().is_empty());
    let line = format!(
        "template build {MINIMAL} --node-cache {}",
        node.place.path("node").display()
    );
    let said = with_old(node.place.command(line.split(' '))).fails(122, "HV4605");
    assert!(said.contains(why), "{said}");
    node.place.nothing_left();
}

#[test]
fn templates_are_listed_and_removed_and_nobody_else_s() {
    let Some(node) = node("templates_are_listed_and_removed_and_nobody_else_s") else {
        return;
    };
    let cache = node.place.path("node");
    let cache = cache.to_str().unwrap();
    let template = |words: &str| {
        let words = format!("template {words} --node-cache {cache}");
        node.place.line(&words)
    };
    template("build minimal-i386 --memory 128M").success();
    let told = template("build minimal-i386 --memory 128M");
    assert!(told.err().contains("there already"), "{}", told.err());
    let listed = template("ls").success();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    node.starts_warm(&["--memory", "128M"], "true").success();
    assert_eq!(node.templates().len(), 1, "the job found what was built");
    for entry in fs::read_dir(&node.templates()[0]).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o400);
    }
    let key = listed.split_whitespace().next().unwrap();
    template(&format!("rm {key}")).success();
    template(&format!("rm {key}")).fails(120, "HV4608");
    let told = node.run(&["--boot", "bios"], "true");
    told.fails(120, "HV4601");
    node.place.nothing_left();
}

#[test]
fn eight_clones_differ_where_they_must() {
    let Some(node) = node("eight_clones_differ_where_they_must") else {
        return;
    };
    let cache = node.place.path("node");
    let line = format!("test {MINIMAL} --clones 8 --node-cache {}", cache.display());
    let said = node.place.line(&line).success();
    assert!(
        !said.contains("FAILED") && said.matches("ok      ").count() >= 9,
        "{said}"
    );
    assert!(said.contains("urandom: 8 different in 8 machines"), "{said}");
    node.place.nothing_left();
}

/// While one makes the template, the others do not wait for it.
#[test]
fn launches_at_once_are_warm_or_cold_and_all_succeed() {
    let Some(node) = node("launches_at_once_are_warm_or_cold_and_all_succeed") else {
        return;
    };
    let cache = node.place.path("node");
    let options = ["--start", "auto", "--node-cache", cache.to_str().unwrap()];
    let children: Vec<_> = (0..3)
        .map(|number| {
            let mut command = node.place.run_command(MINIMAL, &options, &format!("echo {number}"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        assert_eq!(end_of(child, Vec::new()).success(), format!("{number}\n"));
    }
    assert_eq!(node.templates().len(), 1);

    // While as many boot as there are processors, the next one waits for its turn.
    let boots = fs::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("boots");
    let processors = thread::available_parallelism().unwrap().get();
    let token = |number| File::create(boots.join(format!("token-{number}"))).unwrap();
    let held: Vec<File> = (0..processors).map(token).collect();
    for token in &held {
        token.lock().unwrap();
    }
    let mut command = node.place.run_command(MINIMAL, &options, "echo late");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(node.place.hypervisors().is_empty());
    drop(held);
    assert_eq!(end_of(child, Vec::new()).success(), "late\n");
    node.place.nothing_left();
}

/// Nobody pays for templates of what is launched once, nor finds them where no room was named.
#[test]
fn the_second_launch_of_a_kind_makes_the_template() {
    let Some(node) = node("the_second_launch_of_a_kind_makes_the_template") else {
        return;
    };
    let cache = node.place.path("node");
    let report = node.place.work("report.json");
    let phases = |options: &[&str]| {
        let options = [options, &["--report", report.to_str().unwrap()]].concat();
        assert_eq!(node.place.run(MINIMAL, &options, "echo hi").success(), "hi\n");
        fs::read_to_string(&report).unwrap()
    };
    for _ in 0..2 {
        let said = phases(&[]);
        assert!(
            said.contains("guest-ready") && !said.contains("template-made"),
            "{said}"
        );
    }
    node.place.nothing_left();
    let named = ["--node-cache", cache.to_str().unwrap()];
    let said = phases(&named);
    assert!(said.contains("guest-ready") && node.templates().is_empty(), "{said}");
    let said = phases(&named);
    assert!(said.contains("template-made") && said.contains("restored"), "{said}");
    let said = phases(&named);
    assert!(said.contains("restored") && !said.contains("template-made"), "{said}");
    // What cannot be saved is no reason to complain.
    let options = [&named[..], &["--boot", "bios"]].concat();
    let told = node.place.run(MINIMAL, &options, "echo hi");
    assert_eq!((told.success().as_str(), told.err().as_str()), ("hi\n", ""));
    node.place.nothing_left();
}
