//! Images that link to a shared library repository: mounted, checked, and never written to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hpcvm::digest::Digest;

use super::linked::{LIBRARY, Linked, library, linked, program};

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

#[test]
fn what_is_not_as_it_was_linked_is_an_error_before_anything_starts() {
    let linked = linked("writable");
    let refused = |options: &[&str], code: i32, error: &str| {
        let options = [options, &["--console", "console"]].concat();
        let said = linked.place.run(linked.image(), &options, "true").fails(code, error);
        assert!(!linked.place.work("console").exists(), "something was started");
        linked.place.nothing_left();
        said
    };
    let (number, digest) = (linked.index.number, linked.index.digest);
    // A trailer that names another generation is no export.
    linked.export(Digest::of(b"another"));
    let said = refused(&["--libs-by", "disk"], 120, "HV4404");
    assert!(said.contains("hpcvm libs export"), "{said}");
    uses(&linked, &[], "9p");
    linked.export(digest);
    uses(&linked, &[], "squashfs");
    uses(&linked, &["--boot", "bios"], "9p");
    refused(&["--libs-by", "disk", "--boot", "bios"], 120, "HV4404");

    let object = linked.repository.object_path(linked.object);
    let content = fs::read(&object).unwrap();
    let other = vec![b'x'; content.len()];
    Linked::overwrite(&object, &other);
    let by_folder = &["--libs-by", "folder"];
    let said = refused(by_folder, 122, "HV4403");
    for word in [LIBRARY, "libanswer1", "/usr/local/bin/greet needs it", "other bytes"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // Whose time alone has changed is as good as before.
    Linked::overwrite(&object, &content);
    uses(&linked, by_folder, "9p");
    fs::remove_file(&object).unwrap();
    let said = refused(by_folder, 122, "HV4403");
    assert!(said.contains(LIBRARY) && said.contains("is missing"), "{said}");

    linked.name_generation(number, Digest::of(b"another"), true);
    let said = refused(&[], 122, "HV4402");
    assert!(said.contains(&digest.to_string()), "{said}");
    linked.name_generation(number + 7, digest, true);
    refused(&[], 120, "HV2504");
    linked.name_generation(number, digest, false);
    let said = refused(&[], 120, "HV4401");
    assert!(
        said.contains("repository site") && said.contains("HPCVM_LIBS"),
        "{said}"
    );
    refused(&["--libs", "/nonexistent"], 120, "HV2501");
    let folder = linked.repository.folder().to_str().unwrap();
    uses(&linked, &["--libs", folder], "squashfs");
    let site = linked.place.path("home").join(".config/hpcvm");
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("site.yaml"), format!("libraries: {folder}\n")).unwrap();
    uses(&linked, &[], "squashfs");
}

#[test]
fn a_program_that_lacks_a_library_is_told_what_to_add() {
    let linked = linked("read-only");
    let place = &linked.place;
    let work = place.path("work");
    let (gone, there) = (library(&work, "libgone.so.4"), library(&work, "libanswer.so.1"));
    program(&work, "lacking", &gone);
    program(&work, "complete", &there);
    fs::remove_file(gone).unwrap();
    fs::remove_file(there).unwrap();
    place.write("script", "#!/opt/bin/python9\n");
    fs::set_permissions(place.work("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |options: &[&str], command: &[&str]| {
        let words = [&["run"], options, &[linked.image(), "--"], command].concat();
        place.hpcvm(words)
    };
    // Before the start.
    assert_eq!(run(&[], &["./complete"]).success(), "7\n");
    let line = "libraries: {linked-packages: [libgone4]}";
    let said = run(&[], &["./lacking"]).fails(121, "HV4411");
    assert!(
        said.contains("libgone.so.4 is missing") && said.contains(line),
        "{said}"
    );
    let said = run(&["--no-cwd", "--input", "lacking:bin/x"], &["bin/x"]).fails(121, "HV4411");
    assert!(said.contains(line), "{said}");
    let said = run(&[], &["./script"]).fails(121, "HV4411");
    assert!(said.contains("/opt/bin/python9"), "{said}");
    let scan = place.hpcvm(["scan", "--image", linked.image(), "lacking", "complete"]);
    assert_eq!(scan.code(), 1, "{}", scan.err());
    assert!(
        scan.out().contains(line) && !scan.out().contains("libanswer1"),
        "{}",
        scan.out()
    );
    // After it: the loader's own words, and what the guest tells of a missing interpreter.
    for command in [&["./lacking"][..], &["sh", "-c", "exec ./lacking"]] {
        let told = run(&["--no-scan", "--report", "report"], command);
        assert_eq!(told.code(), 127, "{}", told.err());
        let said = told.err();
        assert!(
            said.starts_with("./lacking: error while loading shared libraries: "),
            "{said}"
        );
        assert!(said.contains(line), "{said}");
        let report: serde_json::Value = serde_json::from_slice(&fs::read(place.work("report")).unwrap()).unwrap();
        assert_eq!(report["remedies"][0]["name"], "libgone.so.4", "{report:#}");
        assert_eq!(report["remedies"][0]["recipe"], line, "{report:#}");
    }
    let said = run(&["--no-scan"], &["./script"]).fails(127, "HV4106");
    assert!(said.contains("/opt/bin/python9, which starts it, is not"), "{said}");
    // A job that succeeds is told nothing.
    let told = run(&["--no-scan"], &["sh", "-c", "./lacking; exit 0"]);
    assert!(told.code() == 0 && !told.err().contains("recipe"), "{}", told.err());
    place.nothing_left();
}
