//! Every way a machine's life ends leaves nothing: no process, no file, no socket.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{PATIENCE, Place, told, tree, wait};

/// Sends a signal to hpcvm itself: what `child` became by exec.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until one of the machine's processes has `word` in its command line.
fn await_process(place: &Place, word: &str) {
    let began = Instant::now();
    while !place.processes().iter().any(|line| line.contains(word)) {
        assert!(began.elapsed() < PATIENCE, "no {word}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a job that sleeps and waits until it runs.
fn running(place: &Place) -> Child {
    let mut child = place.run(&["--", "sh", "-c", "echo begun; sleep 600"]).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    if line != "begun\n" {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("{line:?} {said}");
    }
    child.stdout = Some(reader.into_inner());
    child
}

#[test]
fn a_signal_ends_the_job_within_its_grace_and_saves_nothing() {
    let Some(tree) = tree("a_signal_ends_the_job_within_its_grace_and_saves_nothing") else {
        return;
    };
    let place = Place::new(tree);
    let child = running(&place);
    signal(&child, "TERM");
    let ran = wait(child);
    assert_eq!(ran.code(), 143, "{}", ran.stderr);
    place.assert_clean();
}

#[test]
fn a_job_over_its_time_is_stopped() {
    let Some(tree) = tree("a_job_over_its_time_is_stopped") else {
        return;
    };
    let place = Place::new(tree);
    let ran = told(&mut place.run(&["--timeout", "1s", "--", "sleep", "600"]));
    assert!(ran.stderr.contains("error[HV4203]"), "{}", ran.stderr);
    place.assert_clean();
}

#[test]
fn a_signal_at_any_step_leaves_nothing() {
    let Some(tree) = tree("a_signal_at_any_step_leaves_nothing") else {
        return;
    };
    let place = Place::new(tree);
    for step in ["VBoxSVC", "VBoxHeadless"] {
        let child = place.run(&["--", "sleep", "600"]).spawn().unwrap();
        await_process(&place, step);
        signal(&child, "TERM");
        let ran = wait(child);
        assert_eq!(ran.code(), 143, "{step}: {}", ran.stderr);
        place.assert_clean();
    }
}

#[test]
fn after_sigkill_at_any_step_the_programs_die_and_the_next_launch_reaps() {
    let Some(tree) = tree("after_sigkill_at_any_step_the_programs_die_and_the_next_launch_reaps") else {
        return;
    };
    let place = Place::new(tree);
    for step in ["VBoxSVC", "VBoxHeadless", "the job"] {
        let child = if step == "the job" {
            running(&place)
        } else {
            let child = place.run(&["--", "sleep", "600"]).spawn().unwrap();
            await_process(&place, step);
            child
        };
        signal(&child, "KILL");
        assert_eq!(wait(child).code(), 137, "{step}");
        let began = Instant::now();
        while !place.processes().is_empty() {
            assert!(began.elapsed() < PATIENCE, "{step}: {:?}", place.processes());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(
            std::fs::read_dir(place.path("tmp")).unwrap().count(),
            1,
            "{step}: nothing was left to reap"
        );
        told(&mut place.run(&["--", "true"])).success();
        place.assert_clean();
    }
}

#[test]
fn a_killed_hypervisor_and_a_killed_service_end_the_launch() {
    let Some(tree) = tree("a_killed_hypervisor_and_a_killed_service_end_the_launch") else {
        return;
    };
    let place = Place::new(tree);
    for (program, code) in [("VBoxHeadless", "HV4107"), ("VBoxSVC", "HV4102")] {
        let child = running(&place);
        place.kill(program);
        let ran = wait(child);
        let error = format!("error[{code}]");
        assert!(ran.stderr.contains(&error), "{program}: {}", ran.stderr);
        place.assert_clean();
    }
}
