//! Jobs from end to end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use super::harness::{IMAGE, Place, told, tree, wait};

#[test]
fn a_job_s_streams_and_status_come_back() {
    let Some(tree) = tree("a_job_s_streams_and_status_come_back") else {
        return;
    };
    let place = Place::new(tree);
    let base = fs::read(disk(&place)).unwrap();
    for (script, status, stdout, stderr) in [
        ("echo hello there; echo oh >&2; exit 7", 7, "hello there\n", "oh\n"),
        ("hostname; true", 0, "boot-guest\n", ""),
        ("kill 9", 137, "", ""),
    ] {
        let ran = told(&mut place.run(&["--", "sh", "-c", script]));
        assert_eq!(
            (ran.code(), ran.stdout.as_str(), ran.stderr.as_str()),
            (status, stdout, stderr),
            "{script}"
        );
    }
    let missing = told(&mut place.run(&["--", "nosuch"]));
    assert_eq!(missing.code(), 127);
    assert!(missing.stderr.contains("error[HV4106]"), "{}", missing.stderr);
    place.assert_clean();
    assert!(
        fs::read(disk(&place)).unwrap() == base,
        "the image's disk was written to"
    );
}

/// The image's disk in the store.
pub(crate) fn disk(place: &Place) -> std::path::PathBuf {
    let store = place.path("store");
    let find = |folder: &std::path::Path| -> Vec<_> {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect()
    };
    let mut open = find(&store);
    while let Some(path) = open.pop() {
        if path.ends_with(hpcvm::image::DISK_FILE) {
            return path;
        }
        open.extend(find(&path));
    }
    panic!("no disk in {}", store.display());
}

#[test]
fn standard_input_longer_than_a_serial_port_s_queue_arrives_whole() {
    let Some(tree) = tree("standard_input_longer_than_a_serial_port_s_queue_arrives_whole") else {
        return;
    };
    let place = Place::new(tree);
    let mut child = place.run(&["--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let input = "a line of twenty-one.\n".repeat(1000);
    let mut stdin = child.stdin.take().unwrap();
    let fed = input.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(fed.as_bytes()));
    let ran = wait(child);
    feeder.join().unwrap().unwrap();
    assert!(ran.success() == input, "{} bytes of {}", ran.stdout.len(), input.len());
    place.assert_clean();
}

/// What the guest's `fill` writes.
fn filled(bytes: usize) -> String {
    let byte = |index: usize| {
        if index.is_multiple_of(64) {
            b'\n'
        } else {
            b'a' + u8::try_from(index % 26).unwrap()
        }
    };
    String::from_utf8((1..=bytes).map(byte).collect()).unwrap()
}

#[test]
fn output_too_much_for_a_serial_port_arrives_whole() {
    let Some(tree) = tree("output_too_much_for_a_serial_port_arrives_whole") else {
        return;
    };
    let place = Place::new(tree);
    // Standard output goes on on the result disk in the middle of a buffer, standard error just not.
    let script = "fill 40001; echo oh >&2; fill 16380 >&2; exit 5";
    let ran = told(&mut place.run(&["--boot-timeout", "9m", "--", "sh", "-c", script]));
    assert_eq!(ran.code(), 5, "{}", &ran.stderr[ran.stderr.len().saturating_sub(500)..]);
    assert!(ran.stdout == filled(40_001), "{} bytes", ran.stdout.len());
    assert!(
        ran.stderr == format!("oh\n{}", filled(16_380)),
        "{} bytes",
        ran.stderr.len()
    );
    place.assert_clean();
}

#[test]
fn a_kept_launch_leaves_its_files_and_the_result_disk_says_the_same() {
    let Some(tree) = tree("a_kept_launch_leaves_its_files_and_the_result_disk_says_the_same") else {
        return;
    };
    let place = Place::new(tree);
    let output = place.path("work").join("out");
    let option = format!("out:{}", output.display());
    let ran = told(&mut place.run(&["--keep", "--output", &option, "--", "sh", "-c", "fill 5000; exit 3"]));
    // This guest has no tar: that nothing came back is told, and the job's own status counts for more.
    assert_eq!((ran.code(), ran.stdout.len()), (3, 5000), "{}", ran.stderr);
    let kept: Vec<_> = fs::read_dir(place.path("tmp")).unwrap().flatten().collect();
    let [folder] = &kept[..] else { panic!("{kept:?}") };
    let folder = folder.path();
    let mut bytes = vec![0; 4096];
    fs::File::open(folder.join("result.disk"))
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    let result = hpcvm::guest::result_disk::ResultHeader::decode(&bytes).unwrap();
    assert_eq!(result.ending, hpcvm::guest::result_disk::Ending::Exited(3));
    assert_eq!(result.stdout_bytes, 5000);
    for name in [
        "hpcvm.vbox",
        "clone.vdi",
        "Logs/VBox.log",
        "console.log",
        "hypervisor.log",
        "virtualbox/VirtualBox.xml",
    ] {
        assert!(folder.join(name).exists(), "{name}");
    }
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
fn a_dry_run_tells_files_sockets_and_programs_in_their_order() {
    let Some(tree) = tree("a_dry_run_tells_files_sockets_and_programs_in_their_order") else {
        return;
    };
    let place = Place::new(tree);
    let told = told(&mut place.run(&["--dry-run", "--", "true"]));
    let said = told.success();
    let mut rest = said;
    for words in [
        &format!("clone.vdi: empty differencing image of {}", disk(&place).display())[..],
        "/job.disk: the disk job",
        "/job.vmdk: its descriptor",
        "/result.disk: the disk result",
        "/hpcvm.vbox: the machine's settings",
        "/virtualbox/VirtualBox.xml: ",
        "/tmp/.vbox-hpcvm-vm-XXXXXXXXXXXX-ipc/control",
        "VBOX_IPC_SOCKETID=hpcvm-vm-XXXXXXXXXXXX VBoxSVC --auto-shutdown",
        "VBoxHeadless --startvm hpcvm --vrde off",
    ] {
        rest = rest
            .split_once(words)
            .unwrap_or_else(|| panic!("no {words} in its place: {said}"))
            .1;
    }
    place.assert_clean();
}

#[test]
fn what_virtualbox_cannot_do_is_refused_before_anything_starts() {
    let Some(tree) = tree("what_virtualbox_cannot_do_is_refused_before_anything_starts") else {
        return;
    };
    let place = Place::new(tree);
    let run = |arguments: &[&str]| {
        told(
            &mut place.hpcvm(
                &[
                    &["run", "--no-cwd", "--no-scan", "--hypervisor", "virtualbox"],
                    arguments,
                ]
                .concat(),
            ),
        )
    };
    for (arguments, error) in [
        // There is no /dev/vboxdrv.
        (&[IMAGE, "true"][..], "error[HV4702]"),
        (
            &["--accel", "tcg", "--start", "warm", IMAGE, "true"][..],
            "error[HV4707]",
        ),
    ] {
        let ran = run(arguments);
        assert!(
            ran.code() != 0 && ran.stderr.contains(error),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
    // Templates have a place of their own in TMPDIR.
    assert_eq!(place.processes(), Vec::<String>::new());
    let doctor = told(&mut place.hpcvm(&["doctor", "--for", "run"]));
    assert!(
        doctor.stdout.contains("kernel driver is not loaded"),
        "{}",
        doctor.stdout
    );
    assert!(doctor.stdout.contains("modprobe vboxdrv"), "{}", doctor.stdout);
}
