//! Builds that cannot succeed say why, and leave nothing half-written.

use std::fs;
use std::os::unix::fs::symlink;

use super::harness::{NOBODY, PATIENCE, Place, root_or_skip};
use super::images::{MINIMAL, minimal, recipe, test_recipe};

fn simple(name: &str, more: &str, package: &str) -> String {
    format!(
        "recipe: 1\nname: {name}\nbase: {{debian: bookworm, architecture: i386, bootstrap: extract{more}}}\n\
         packages: [dash, tar, {package}]\nkernel: {{package: linux-image-686}}\n"
    )
}

/// No image, no name and no folder of one that was being made.
#[track_caller]
fn store_is_empty(place: &Place) {
    for folder in ["images", "names", "staging", "builds"] {
        let path = place.store().join(folder);
        let left: Vec<_> = fs::read_dir(path).map_or_else(|_| Vec::new(), Iterator::collect);
        assert!(left.is_empty(), "{left:?}");
    }
    place.nothing_left();
}

#[test]
fn a_package_that_does_not_exist_is_named() {
    let place = Place::with_own_store();
    place.write("recipe.yaml", simple("missing", "", "no-such-package"));
    let said = place.line("build recipe.yaml").fails(120, "HV2010");
    assert!(said.contains("no-such-package"), "{said}");
    store_is_empty(&place);
}

#[test]
fn a_mirror_that_does_not_answer_is_named() {
    let place = Place::alone();
    place.write(
        "recipe.yaml",
        simple("unreachable", ", mirror: \"http://127.0.0.1:9\"", "grep"),
    );
    let said = place.line("build recipe.yaml").fails(122, "HV2004");
    assert!(said.contains("127.0.0.1:9") && said.contains("help: "), "{said}");
    store_is_empty(&place);
}

#[test]
fn a_missing_tool_is_named_with_its_package() {
    let place = Place::with_own_store();
    let tools = place.path("bin");
    fs::create_dir(&tools).unwrap();
    for folder in ["/usr/sbin", "/usr/bin"] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_name() != "mksquashfs" {
                // Some names are in both.
                let _ = symlink(entry.path(), tools.join(entry.file_name()));
            }
        }
    }
    let mut build = place.command(["build".as_ref(), recipe(MINIMAL).as_os_str()]);
    build.env("PATH", &tools);
    let said = super::harness::finish(build, Vec::new()).fails(122, "HV2301");
    assert!(
        said.contains("mksquashfs") && said.contains("apt-get install squashfs-tools"),
        "{said}"
    );
    store_is_empty(&place);
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    if !root_or_skip("a_full_disk_leaves_nothing_half_written") {
        return;
    }
    drop(minimal());
    let place = Place::with_own_store();
    fs::create_dir(place.store()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=12M tmpfs '{store}' || exit 99; \"$@\"; code=$?; find '{store}' -type f; exit $code",
        store = place.store().display()
    );
    let place = place.within(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let told = place.hpcvm(["build".as_ref(), recipe(MINIMAL).as_os_str()]);
    assert!(told.err().contains("No space left on device"), "{}", told.err());
    assert_eq!((told.code(), told.out().as_str()), (122, ""), "{}", told.err());
    place.nothing_left();
}

#[test]
fn without_sub_ids_a_configured_tree_cannot_be_made_and_that_is_said() {
    if !root_or_skip("without_sub_ids_a_configured_tree_cannot_be_made_and_that_is_said") {
        return;
    }
    let place = Place::alone();
    place.write("recipe.yaml", fs::read(test_recipe("configured-i386")).unwrap());
    let place = place.owned_by(NOBODY);
    let said = place.line("build recipe.yaml").fails(122, "HV2041");
    assert!(said.contains("help: "), "{said}");
    store_is_empty(&place);
}

#[test]
fn a_build_that_is_interrupted_leaves_no_image() {
    let place = Place::alone();
    let mut build = place.command(["build".as_ref(), recipe(MINIMAL).as_os_str()]);
    build
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = build.spawn().unwrap();
    let staging = place.store().join("staging");
    let started = std::time::Instant::now();
    while fs::read_dir(&staging).map_or(0, Iterator::count) == 0 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    super::harness::signal(child.id(), 15);
    let told = super::harness::end_of(child, Vec::new());
    assert_eq!(told.code(), 143, "{}", told.err());
    let images = place.store().join("images");
    assert_eq!(fs::read_dir(images).map_or(0, Iterator::count), 0);
    // What an interrupted build left does not trouble the next.
    place.hpcvm(["build".as_ref(), recipe(MINIMAL).as_os_str()]).success();
    assert_eq!(place.run(MINIMAL, &[], "echo $((2 + 3))").success(), "5\n");
}
