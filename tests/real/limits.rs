//! What a VM is given: processors, memory, disks, network, time.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::harness::wait_until;
use super::images::{MINIMAL, minimal};

#[test]
fn a_vm_has_what_was_asked_for() {
    let place = minimal();
    let options = ["--cpus", "2", "--memory", "200M", "--scratch", "64M", "--net", "user"];
    let script = "nproc; sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; \
                  grep -c : /proc/net/dev; cat /etc/resolv.conf; \
                  set -- $(df -k /scratch | tail -n 1); echo $2; \
                  head -c 40000000 /dev/zero > /scratch/file && wc -c < /scratch/file";
    let said = place.run(MINIMAL, &options, script).success();
    let lines: Vec<_> = said.lines().collect();
    let number = |line: usize| lines[line].parse::<u64>().unwrap();
    assert_eq!(lines[0], "2");
    assert!((140 << 10..200 << 10).contains(&number(1)), "{said}");
    assert_eq!(lines[2..4], ["2", "nameserver 10.0.2.3"]);
    assert!((56 << 10..=64 << 10).contains(&number(4)), "{said}");
    assert_eq!(lines[5], "40000000");
    place.nothing_left();
}

#[test]
fn a_vm_that_does_not_fit_is_refused() {
    let place = minimal();
    let said = place.run(MINIMAL, &["--memory", "500T"], "true").fails(122, "HV4002");
    assert!(said.contains("help: "), "{said}");
    place
        .run(MINIMAL, &["--scratch", "64M", "--boot", "bios"], "true")
        .fails(121, "HV4003");
    for options in [
        ["--cpus", "0"],
        ["--memory", "many"],
        ["--timeout", "soon"],
        ["--net", "all"],
    ] {
        assert_eq!(place.run(MINIMAL, &options, "true").code(), 2, "{options:?}");
    }
    place.nothing_left();
}

#[test]
fn a_guest_that_drowns_for_lack_of_memory_ends() {
    let place = minimal();
    // tail keeps all it has read, and this has no end. Whether the kernel kills it or the guest
    // is busy for good reading its programs again and again, the launch must end.
    let options = ["--memory", "64M", "--timeout", "20s", "--grace", "1s"];
    let told = place.run(MINIMAL, &options, "cat /dev/zero | tail -c 400000000");
    assert!([124, 137].contains(&told.code()), "{} {}", told.code(), told.err());
    place.nothing_left();
}

#[test]
fn a_job_is_stopped_when_its_time_is_up() {
    let place = minimal();
    let told = place.run(MINIMAL, &["--timeout", "2s"], "echo before; exec sleep 100000");
    let said = told.fails(124, "HV4203");
    assert!(said.contains("2 s"), "{said}");
    assert_eq!(told.out(), "before\n");
    let script = "trap 'echo asked; exit 0' TERM; echo before; while :; do sleep 0.1; done";
    let told = place.run(MINIMAL, &["--timeout", "2s"], script);
    told.fails(124, "HV4203");
    assert_eq!(told.out(), "before\nasked\n");
    let deaf = "trap '' TERM; echo before; while :; do sleep 0.1; done";
    let told = place.run(MINIMAL, &["--timeout", "2s", "--grace", "1s"], deaf);
    told.fails(124, "HV4203");
    assert_eq!(told.out(), "before\n");
    place.nothing_left();
}

#[test]
fn a_dry_run_starts_nothing() {
    let place = minimal();
    let said = place.run(MINIMAL, &["--dry-run", "--memory", "300M"], "true").success();
    assert!(
        said.starts_with("qemu-system-i386 ") && said.contains("image.vdi"),
        "{said}"
    );
    assert!(said.contains("300"), "{said}");
    assert_eq!(said.lines().count(), 1);
    place.nothing_left();
}

#[test]
fn console_report_and_private_folder_are_kept_when_asked_for() {
    let place = minimal();
    let options = [
        "--console",
        "console.log",
        "--report",
        "report.json",
        "--timing",
        "--keep",
    ];
    let told = place.run(
        MINIMAL,
        &options,
        "dmesg >/dev/null 2>&1; echo 'said to the console' > /dev/console; exit 4",
    );
    assert_eq!(told.code(), 4, "{}", told.err());
    let console = fs::read(place.work("console.log")).unwrap();
    let console = String::from_utf8_lossy(&console);
    assert!(console.contains("said to the console"), "{console}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.work("report.json")).unwrap()).unwrap();
    assert_eq!(report["ending"]["status"], 4);
    assert!(
        report["timeline"].as_array().is_some_and(|marks| marks.len() > 5),
        "{report}"
    );
    wait_until("the hypervisor is gone", || place.hypervisors().is_empty());
    let kept: Vec<_> = fs::read_dir(place.path("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mode = fs::metadata(&kept[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "what a job is given is its user's business only");
    assert!(kept[0].join("job.disk").exists() && kept[0].join("hypervisor.log").exists());
    assert!(
        told.err().contains(kept[0].to_str().unwrap()),
        "it says where: {}",
        told.err()
    );
    // The next launch leaves it alone.
    place.run(MINIMAL, &[], "true").success();
    assert!(kept[0].exists());
}
