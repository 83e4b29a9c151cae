//! Machines of every kind start warm.

use std::collections::BTreeSet;
use std::fs;

use super::harness::Place;
use super::images::{MINIMAL, minimal, place_with, recipe, test_recipe};
use super::linked::linked;
use super::warm_held::HELD;
use super::warm_node::{Node, can_save_or_skip};

/// Uses the library and the folder of data, and tells by what they came.
const USE: &str = "greet; cat /usr/share/answer/file; grep ' /usr/lib/hpcvm/libs ' /proc/mounts | cut -d' ' -f3";

#[test]
fn linked_libraries_come_from_a_folder_and_from_a_disk() {
    if !can_save_or_skip("linked_libraries_come_from_a_folder_and_from_a_disk") {
        return;
    }
    let linked = linked("read-only");
    let image = linked.image().to_owned();
    let digest = linked.index.digest;
    let export = linked.export(digest);
    let folder = linked.repository.folder().to_owned();
    let index = linked.index.number;
    let node = Node::new(linked.place, &image);
    let uses = |options: &[&str], file_system: &str, templates: usize| {
        for _ in 0..2 {
            let said = node.starts_warm(options, USE).success();
            assert_eq!(said, format!("7\ndata\n{file_system}\n"), "{options:?}");
        }
        assert_eq!(node.templates().len(), templates, "{options:?}");
    };
    uses(&["--libs-by", "folder"], "9p", 1);
    uses(&["--libs-by", "disk"], "squashfs", 2);
    uses(&["--libs-by", "disk", "--scratch", "16M"], "squashfs", 3);
    // The same generation exported anew is another file system: what a template knows of the old one is wrong.
    let copy = fs::read(&export).unwrap();
    fs::remove_file(&export).unwrap();
    fs::write(&export, copy).unwrap();
    uses(&["--libs-by", "disk"], "squashfs", 4);
    assert!(export.starts_with(&folder) && index > 0);
    node.place.nothing_left();
}

#[test]
fn any_memory_and_number_of_processors_start_warm() {
    if !can_save_or_skip("any_memory_and_number_of_processors_start_warm") {
        return;
    }
    let node = Node::new(minimal(), MINIMAL);
    let script = "nproc; sed -n 's/MemTotal: *//p' /proc/meminfo";
    for (cpus, memory, least) in [("1", "96M", 60_000), ("2", "128M", 90_000), ("4", "1536M", 1_400_000)] {
        for _ in 0..2 {
            let said = node
                .starts_warm(&["--cpus", cpus, "--memory", memory], script)
                .success();
            let (found, total) = said.split_once('\n').unwrap();
            let total: u32 = total.split(' ').next().unwrap().parse().unwrap();
            assert!(found == cpus && total > least, "{said}");
        }
    }
    // What a guest never touched takes no space, however much it could.
    let bytes: Vec<u64> = node
        .templates()
        .iter()
        .map(|folder| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(folder.join("ram")).unwrap()) * 512)
        .collect();
    assert!(
        bytes.len() == 3 && bytes.iter().all(|&bytes| bytes < 300 << 20),
        "{bytes:?}"
    );
    node.place.nothing_left();
}

#[test]
fn a_guest_of_amd64_starts_warm() {
    if !can_save_or_skip("a_guest_of_amd64_starts_warm") {
        return;
    }
    let node = Node::new(place_with(&recipe("minimal-amd64")), "minimal-amd64");
    let script = format!("{HELD}uname -m; cat; echo $MINE $0 $*");
    for _ in 0..2 {
        let told = node.command_starts_warm(&["--env", "MINE=own"], &["sh", "-c", &script, "zero", "one"]);
        assert_eq!(told.success(), "held 1\nx86_64\nown zero one\n");
    }
    node.place.nothing_left();
}

#[test]
fn a_writable_root_is_the_template_s_and_every_copy_s_own() {
    if !can_save_or_skip("a_writable_root_is_the_template_s_and_every_copy_s_own") {
        return;
    }
    let node = Node::new(place_with(&test_recipe("writable-i386")), "writable-i386");
    let script = "cat /kept 2>/dev/null; echo mine > /kept; sync; cat /kept; grep ' / ' /proc/mounts | cut -d' ' -f3";
    for _ in 0..3 {
        assert_eq!(node.starts_warm(&[], script).success(), "mine\next4\n");
    }
    let templates = node.templates();
    assert_eq!(templates.len(), 1);
    // What a template wrote is kept with it, and nothing of it changes.
    let saved = templates[0].join("clone.qcow2");
    let before = fs::read(&saved).unwrap();
    let written = node.starts_warm(&[], "head -c 8M /dev/urandom > /big; sync; du -m /big | cut -f1");
    assert_eq!(written.success(), "8\n");
    assert!(fs::read(&saved).unwrap() == before);
    // A template whose clone is gone is none.
    fs::remove_file(&saved).unwrap();
    let (told, phases) = node.phases(&[], script);
    assert_eq!(told.success(), "mine\next4\n");
    assert!(phases.contains("template-made"), "{phases:?}");
    node.place.nothing_left();
}

fn services() -> Place {
    place_with(&test_recipe("service-i386"))
}

#[test]
fn a_guest_with_services_is_saved_when_they_run() {
    if !can_save_or_skip("a_guest_with_services_is_saved_when_they_run") {
        return;
    }
    let node = Node::new(services(), "service-i386");
    let script = "systemctl is-active cron; cat /etc/machine-id /proc/sys/kernel/random/boot_id; ps -o comm= -p 1";
    let mut own = BTreeSet::new();
    for _ in 0..3 {
        let said = node.starts_warm(&[], script).success();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[3]), (4, "active", "systemd"), "{said}");
        assert_eq!(lines[1].len(), 32, "{said}");
        own.extend(lines[1..3].iter().map(|&line| line.to_owned()));
    }
    assert_eq!(own.len(), 6, "{own:?}");
    assert_eq!(node.starts_warm(&[], "echo err >&2; exit 4").code(), 4);
    node.place.nothing_left();
}
