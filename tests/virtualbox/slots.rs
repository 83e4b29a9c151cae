//! Several machines in a job slot, as a scheduler's wrapper starts them: `hpcvm launch` with a job file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::ends::signal;
use super::harness::{IMAGE, PATIENCE, Place, told, tree, wait};

/// VMs in a slot.
const VMS: usize = 4;

/// The job file that `hpcvm submit` writes for a slot of [`VMS`] machines that run `script`.
fn submit(place: &Place, script: &str) -> PathBuf {
    // A scheduler that takes every job, and starts none.
    let folder = place.path("scheduler");
    fs::create_dir_all(&folder).unwrap();
    let client = folder.join("sbatch");
    fs::write(&client, "#!/bin/sh\necho 7\n").unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    let before = job_folders(place);
    let options = "submit --scheduler slurm --hypervisor virtualbox --accel tcg --no-scan --no-cwd --boot-timeout 9m \
                   --name slot --retries 0";
    let mut command = place.hpcvm(&options.split_whitespace().collect::<Vec<_>>());
    command.args(["--vms-per-slot", &VMS.to_string(), "--node-cache"]);
    command.arg(place.path("home")).args([IMAGE, "--", "sh", "-c", script]);
    told(command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin", folder.display()))).success();
    let mut new = job_folders(place);
    new.retain(|folder| !before.contains(folder));
    assert_eq!(new.len(), 1, "{new:?}");
    new[0].join("job.json")
}

fn job_folders(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("work").join(".hpcvm"))
        .into_iter()
        .flatten()
        .flatten();
    entries.map(|entry| entry.path()).collect()
}

fn launch(place: &Place, job_file: &Path) -> Command {
    let mut command = place.hpcvm(&["launch", job_file.to_str().unwrap()]);
    command.env("SLURM_JOB_ID", "7");
    command
}

fn output(place: &Place, kind: char, vm: usize) -> String {
    fs::read_to_string(place.path("work").join(format!("slot.{kind}7.vm{vm}"))).unwrap_or_default()
}

/// How each VM ended, by the slot's table.
fn table(said: &str) -> Vec<String> {
    let begin = said
        .find("  VM   job at")
        .unwrap_or_else(|| panic!("no table in {said}"));
    let lines = said[begin..].lines().skip(1).take(VMS);
    lines
        .map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Starts a slot whose jobs sleep, and waits until all of them do.
fn sleeping(place: &Place) -> Child {
    let job_file = submit(place, "echo begun; sleep 600");
    let child = launch(place, &job_file).spawn().unwrap();
    let began = Instant::now();
    while !(0..VMS).all(|vm| output(place, 'o', vm).ends_with("begun\n")) {
        assert!(began.elapsed() < PATIENCE, "the slot's jobs do not begin");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn each_vm_of_a_slot_has_its_own_output_and_status() {
    let Some(tree) = tree("each_vm_of_a_slot_has_its_own_output_and_status") else {
        return;
    };
    let place = Place::new(tree);
    let script = "echo machine $HPCVM_VM_INDEX of $HPCVM_VM_COUNT; echo error $HPCVM_VM_INDEX >&2; \
                  test $HPCVM_VM_INDEX = 2 && exit 3; true";
    let job_file = submit(&place, script);
    let ran = told(&mut launch(&place, &job_file));
    assert_eq!(ran.code(), 3, "{}", ran.stderr);
    for vm in 0..VMS {
        assert_eq!(
            output(&place, 'o', vm),
            format!("machine {vm} of {VMS}\n"),
            "{}",
            ran.stderr
        );
        assert_eq!(output(&place, 'e', vm), format!("error {vm}\n"));
    }
    assert_eq!(table(&ran.stderr), ["exit 0", "exit 0", "exit 3", "exit 0"]);
    let status = fs::read_to_string(job_file.with_file_name("status").join("1.json")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["vms"], serde_json::json!([0, 0, 3, 0]));
    place.assert_clean();
}

#[test]
fn a_slot_that_is_killed_leaves_nothing_and_one_killed_outright_is_reaped() {
    let Some(tree) = tree("a_slot_that_is_killed_leaves_nothing_and_one_killed_outright_is_reaped") else {
        return;
    };
    let place = Place::new(tree);
    let child = sleeping(&place);
    assert_eq!(place.sockets().len(), VMS);
    signal(&child, "TERM");
    let ran = wait(child);
    assert_eq!(ran.code(), 143, "{}", ran.stderr);
    assert_eq!(table(&ran.stderr), ["signal 15 after signal 15 came"; VMS]);
    place.assert_clean();

    for vm in 0..VMS {
        fs::remove_file(place.path("work").join(format!("slot.o7.vm{vm}"))).unwrap();
    }
    let child = sleeping(&place);
    signal(&child, "KILL");
    assert_eq!(wait(child).code(), 137);
    let began = Instant::now();
    while !place.processes().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", place.processes());
        thread::sleep(Duration::from_millis(20));
    }
    let folders = fs::read_dir(place.path("tmp")).unwrap().count();
    assert_eq!((folders, place.sockets().len()), (VMS, VMS), "what there is to reap");
    let job_file = submit(&place, "true");
    told(&mut launch(&place, &job_file)).success();
    place.assert_clean();
}
