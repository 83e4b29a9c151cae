//! The job runner with `VirtualBox`' devices and the launcher's side of them: a `VBoxHeadless` that is QEMU with the serial
//! ports and disks of the machine's settings. The real one interprets a kernel in minutes (`ci/virtualbox-full`).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::harness::{Place, Told, finish};
use super::images::{MINIMAL, minimal};

/// `VBoxSVC`: ready at once.
const SERVICE: &str = "printf READY >&100; exec 100>&-; exec sleep 1000";
/// `VBoxHeadless`: what the settings file names, by QEMU.
const HEADLESS: &str = r#"
folder=$(dirname "$VBOX_USER_HOME") sockets=/tmp/.vbox-$VBOX_IPC_SOCKETID-ipc
mkdir "$folder/Logs" && echo begun >"$folder/Logs/VBox.log"
base=$(sed -n 's/.*location="\([^"]*\)" format="VDI" type="MultiAttach".*/\1/p' "$folder/hpcvm.vbox")
memory=$(sed -n 's/.*<Memory RAMSize="\([0-9]*\)".*/\1/p' "$folder/hpcvm.vbox")
disk() { echo "-drive file=$2,format=$3,if=ide,index=$1,snapshot=$4,file.locking=off"; }
port() { echo "-chardev socket,id=$1,path=$sockets/$1 -serial chardev:$1"; }
exec qemu-system-i386 -accel tcg -machine q35 -m "$memory" -display none -monitor none -nic none -no-reboot \
  -smbios type=1,product=VirtualBox $(disk 0 "$base" vdi on) $(disk 1 "$folder/job.disk" raw on) \
  $(disk 2 "$folder/result.disk" raw off) -serial "file:$folder/console.log" \
  $(port control) $(port streams) $(port stderr)
"#;

/// Runs a script in the smallest image; `before` is done in the launch's folder before the machine starts.
fn run(place: &Place, before: &str, script: &str) -> Told {
    let bin = place.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let before = format!("cd \"$(dirname \"$VBOX_USER_HOME\")\"; {before}");
    for (name, body) in [("VBoxSVC", SERVICE), ("VBoxHeadless", &format!("{before}\n{HEADLESS}"))] {
        let program = bin.join(name);
        fs::write(&program, format!("#!/bin/bash\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let options = ["--hypervisor", "virtualbox", "--accel", "tcg", "--no-cwd", "--no-scan"];
    let mut command: Command = place.run_command(MINIMAL, &options, script);
    command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", bin.display()));
    finish(command, Vec::new())
}

fn numbers(last: u32) -> Vec<u8> {
    (1..=last)
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect()
}

#[test]
fn output_too_large_for_serial_ports_arrives_whole_and_in_order() {
    let place = minimal();
    // Megabytes on both at once; the job ends while most of it is on its way.
    let told = run(&place, "", "seq 1 500000 & seq 1 400000 >&2; wait; exit 6");
    assert_eq!(told.code(), 6, "{}", &told.err()[..told.err().len().min(2000)]);
    assert!(told.stdout == numbers(500_000), "{} bytes", told.stdout.len());
    assert!(told.stderr == numbers(400_000), "{} bytes", told.stderr.len());
    place.nothing_left();
}

#[test]
fn output_that_the_result_disk_does_not_hold_is_told() {
    let place = minimal();
    // One MiB of room for standard output, and none for standard error.
    let told = run(
        &place,
        "truncate -s $(((65536 + 1) << 20)) result.disk",
        "yes 2>/dev/null; exit 6",
    );
    let said = told.fails(120, "HV4304");
    assert!(
        said.contains("standard output does not fit on the result disk"),
        "{said}"
    );
    assert!(said.contains("--share"), "{said}");
    assert!(
        told.stdout.starts_with(b"y\ny\n") && told.stdout.len() > 1 << 20,
        "{} bytes",
        told.stdout.len()
    );
    place.nothing_left();
}
