//! Images that link to a shared library repository: mounted, checked, and never written to.

use std::fs;

use hpcvm::digest::Digest;

use super::linked::{LIBRARY, Linked, linked};

/// Uses the library and the folder of data, and fails to write to both.
const USE: &str = "greet; cat /usr/share/answer/file; echo x 2>&- >/usr/lib/hpcvm/libs/x || echo refused; \
                   rm -f /usr/share/answer/file 2>&- || echo kept; grep ' /usr/lib/hpcvm/libs ' /proc/mounts | cut -d' ' -f3";

#[track_caller]
fn uses(linked: &Linked, options: &[&str], file_system: &str) {
    let said = linked.place.run(linked.image(), options, USE).success();
    assert_eq!(said, format!("7\ndata\nrefused\nkept\n{file_system}\n"), "{options:?}");
    linked.place.nothing_left();
}

#[test]
fn a_linked_library_is_used_from_a_folder_and_from_a_disk() {
    let linked = linked("read-only");
    uses(&linked, &[], "9p");
    let before: Vec<_> = walkdir::WalkDir::new(linked.repository.folder())
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    let export = linked.export(linked.index.digest);
    uses(&linked, &[], "squashfs");
    uses(&linked, &["--libs-by", "folder"], "9p");
    uses(&linked, &["--boot", "bios"], "squashfs");
    uses(&linked, &["--boot", "bios-ide"], "squashfs");
    uses(&linked, &["--scratch", "16M"], "squashfs");
    // Objects inside an export need not be beside it.
    fs::remove_file(linked.repository.object_path(linked.object)).unwrap();
    uses(&linked, &["--libs-by", "disk"], "squashfs");
    fs::remove_file(export).unwrap();
    assert!(before.len() > 5);
}
