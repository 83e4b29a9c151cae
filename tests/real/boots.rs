//! Every image and every way to start it runs a job.

use super::harness::Place;
use super::images::{MINIMAL, minimal, place_with, recipe, test_recipe};

const ADD: &str = "echo $((2 + 3)); uname -m";

#[track_caller]
fn runs(place: &Place, image: &str, options: &[&str], machine: &str) {
    let said = place.run(image, options, ADD).success();
    assert_eq!(said, format!("5\n{machine}\n"), "{options:?}");
    place.nothing_left();
}

#[test]
fn minimal_i386_boots_directly() {
    runs(&minimal(), MINIMAL, &["--boot", "direct"], "i686");
}

#[test]
fn minimal_i386_boots_from_its_disk_by_ahci() {
    runs(&minimal(), MINIMAL, &["--boot", "bios"], "i686");
}

#[test]
fn minimal_i386_boots_from_its_disk_by_ide() {
    runs(&minimal(), MINIMAL, &["--boot", "bios-ide"], "i686");
}

#[test]
fn minimal_amd64_boots_directly_and_from_its_disk() {
    let place = place_with(&recipe("minimal-amd64"));
    for how in ["direct", "bios", "bios-ide"] {
        runs(&place, "minimal-amd64", &["--boot", how], "x86_64");
    }
}

#[test]
fn a_writable_root_is_fresh_in_every_vm() {
    let place = place_with(&test_recipe("writable-i386"));
    // Whoever runs the tests: the job may write to /var/tmp of the root file system.
    let leave_a_trace =
        "grep ' / ' /proc/mounts | cut -d ' ' -f 3; ls /var/tmp/trace 2>&1; echo > /var/tmp/trace; ls /var/tmp/trace";
    for how in ["direct", "direct", "bios"] {
        let said = place.run("writable-i386", &["--boot", how], leave_a_trace).success();
        let lines: Vec<_> = said.lines().collect();
        assert!(
            lines[0] == "ext4" && lines[1].ends_with("No such file or directory"),
            "{said}"
        );
        assert_eq!(lines[2], "/var/tmp/trace");
        place.nothing_left();
    }
    assert!(
        place
            .line("image verify writable-i386")
            .success()
            .contains("as the manifest says")
    );
}

#[test]
fn an_unoptimised_debian_runs_a_job_by_its_own_init() {
    let place = place_with(&recipe("unoptimised-i386"));
    let script = "cat; cat /proc/1/comm; echo $((2 + 3)); systemctl is-failed systemd-logind; echo aside >&2; exit 7";
    let told = place.run_with_input("unoptimised-i386", &[], script, b"typed\n".to_vec());
    assert_eq!(told.out(), "typed\nsystemd\n5\nactive\n", "{}", told.err());
    assert!(told.err().ends_with("aside\n"), "{}", told.err());
    assert_eq!(told.code(), 7);
    place.nothing_left();
}
