//! However a VM goes wrong, the launch ends, says why, and leaves nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::harness::{Told, end_of, root_or_skip, signal, wait_until};
use super::images::{MINIMAL, copy, minimal};

#[test]
fn a_guest_that_panics_is_reported() {
    if !root_or_skip("a_guest_that_panics_is_reported") {
        return;
    }
    let place = minimal();
    let told = place.run(
        MINIMAL,
        &[],
        "echo before; sleep 1; echo c > /proc/sysrq-trigger; sleep 1000",
    );
    let said = told.fails(123, "HV4102");
    assert!(said.contains("panic"), "{said}");
    assert_eq!(told.out(), "before\n");
    place.nothing_left();
}

#[test]
fn a_hypervisor_that_is_killed_is_reported() {
    let place = minimal();
    let mut command = place.run_command(MINIMAL, &[], "echo before; : > running; sleep 100000");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the job runs", || place.work("running").exists());
    for hypervisor in place.hypervisors() {
        signal(hypervisor.cast_unsigned(), 9);
    }
    let told = end_of(child, Vec::new());
    let said = told.fails(122, "HV4107");
    assert!(said.contains("SIGKILL"), "{said}");
    place.nothing_left();
}

#[test]
fn a_guest_that_hangs_before_its_job_is_given_up() {
    let place = minimal();
    place
        .run(MINIMAL, &["--boot-timeout", "0s"], "true")
        .fails(123, "HV4103");
    place.nothing_left();

    let mut command = place.run_command(MINIMAL, &["--boot-timeout", "8s"], "echo started; sleep 100000");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the hypervisor runs", || !place.hypervisors().is_empty());
    for hypervisor in place.hypervisors() {
        signal(hypervisor.cast_unsigned(), 19);
    }
    let told = end_of(child, Vec::new());
    told.fails(123, "HV4103");
    assert_eq!(told.out(), "");
    place.nothing_left();
}

#[test]
fn a_damaged_image_is_told_from_a_failing_job() {
    let place = minimal();
    let folder = copy(&place, MINIMAL);
    let run = |how: &str| -> Told {
        // Long for an error, and a guest that hangs shall not hold the test up.
        let options = ["--boot-timeout", "20s", "--boot", how];
        place.run(folder.to_str().unwrap(), &options, "true")
    };
    place.run(folder.to_str().unwrap(), &[], "true").success();
    for (name, how, left) in [
        ("kernel", "direct", 2),
        ("initrd", "direct", 2),
        ("image.vdi", "direct", 4),
        ("image.vdi", "bios", 4),
    ] {
        let path = folder.join(name);
        let sound = fs::read(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let length = sound.len() as u64;
        file.set_len(length / left).unwrap();
        assert_eq!(run(how).code(), 121, "{name} cut");
        // Of the right length, but the rest is zeros: only the guest can find that.
        file.set_len(length).unwrap();
        let told = run(how);
        assert!(
            [121, 123].contains(&told.code()),
            "{name}: {} {}",
            told.code(),
            told.err()
        );
        assert!(told.err().contains("error[HV"), "{name}: {}", told.err());
        place.nothing_left();
        fs::write(&path, sound).unwrap();
    }
    for name in ["manifest.json", "image.vdi"] {
        fs::rename(folder.join(name), folder.join("away")).unwrap();
        let told = run("direct");
        assert_eq!(told.code(), 121, "{name}: {}", told.err());
        fs::rename(folder.join("away"), folder.join(name)).unwrap();
        place.nothing_left();
    }
}

#[test]
fn a_job_that_leaves_processes_behind_ends() {
    let place = minimal();
    let script = "sleep 100000 & (sleep 100000; echo never) & setsid sleep 100000 2>/dev/null & echo done";
    assert_eq!(place.run(MINIMAL, &[], script).success(), "done\n");
    place.nothing_left();
}
