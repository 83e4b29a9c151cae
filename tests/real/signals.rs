//! Schedulers and users end launches by signals: always cleanly, with what the job wrote.

use std::process::{Child, Stdio};

use super::harness::{Place, end_of, signal, wait_until};
use super::images::{MINIMAL, minimal};

/// SIGHUP, SIGINT, SIGUSR2, SIGTERM, SIGXCPU
const SIGNALS: [i32; 5] = [1, 2, 12, 15, 24];

fn start(place: &Place, options: &[&str], script: &str) -> Child {
    let mut command = place.run_command(MINIMAL, options, script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts a job and waits until it has made the file `running`.
fn start_and_wait(place: &Place, options: &[&str], script: &str) -> Child {
    let file = place.work("running");
    let _ = std::fs::remove_file(&file);
    let child = start(
        place,
        options,
        &format!("{script}: > running; while :; do sleep 0.1; done"),
    );
    wait_until("the job runs", || file.exists());
    child
}

#[test]
fn every_signal_ends_a_launch_while_the_guest_boots() {
    let place = minimal();
    for number in SIGNALS {
        let child = start(&place, &[], "echo started");
        wait_until("the hypervisor runs", || !place.hypervisors().is_empty());
        signal(child.id(), number);
        let told = end_of(child, Vec::new());
        told.fails(128 + number, "HV4201");
        assert_eq!(told.out(), "");
        place.nothing_left();
    }
}

#[test]
fn every_signal_lets_a_running_job_finish_in_its_own_way() {
    let place = minimal();
    for number in SIGNALS {
        let script = "trap 'echo asked to stop; echo aside >&2; exit 3' TERM; echo begun; ";
        let child = start_and_wait(&place, &[], script);
        signal(child.id(), number);
        let told = end_of(child, Vec::new());
        assert_eq!(
            (told.code(), told.out().as_str()),
            (3, "begun\nasked to stop\n"),
            "{}",
            told.err()
        );
        assert!(told.err().ends_with("aside\n"), "{}", told.err());
        place.nothing_left();
    }
}

#[test]
fn a_job_without_a_handler_is_ended_by_sigterm() {
    let place = minimal();
    let child = start_and_wait(&place, &[], "echo begun; ");
    signal(child.id(), 2);
    let told = end_of(child, Vec::new());
    assert_eq!((told.code(), told.out().as_str()), (143, "begun\n"), "{}", told.err());
    place.nothing_left();
}

#[test]
fn a_deaf_job_is_killed_after_its_grace() {
    let place = minimal();
    let child = start_and_wait(&place, &["--grace", "1s"], "trap '' TERM; echo begun; ");
    signal(child.id(), 15);
    let told = end_of(child, Vec::new());
    assert_eq!((told.code(), told.out().as_str()), (137, "begun\n"), "{}", told.err());
    place.nothing_left();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = minimal();
    // If the second one did nothing, the test would wait longer than it may.
    let child = start_and_wait(&place, &["--grace", "2h"], "trap ': > asked' TERM; ");
    signal(child.id(), 15);
    wait_until("the job was asked to stop", || place.work("asked").exists());
    signal(child.id(), 15);
    let told = end_of(child, Vec::new());
    told.fails(143, "HV4202");
    place.nothing_left();
}

#[test]
fn a_killed_launcher_takes_its_vm_with_it_and_the_next_one_tidies_up() {
    let place = minimal();
    let child = start_and_wait(&place, &[], "");
    signal(child.id(), 9);
    assert_eq!(end_of(child, Vec::new()).code(), 137);
    wait_until("the hypervisor is gone", || place.hypervisors().is_empty());
    let left = || std::fs::read_dir(place.path("tmp")).unwrap().count();
    assert_eq!(left(), 1, "a killed launcher cannot remove its folder");
    place.run(MINIMAL, &[], "true").success();
    place.nothing_left();
}
