//! Nothing needs root.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::harness::{NOBODY, Place, root_or_skip};
use super::images::{MINIMAL, minimal, test_recipe};

/// A place of the user `uid`, with root's store, which has [`MINIMAL`].
pub(crate) fn somebody_elses_store(uid: u32) -> Place {
    let place = Place::alone();
    let shared = minimal();
    let image = super::images::folder(&shared, MINIMAL);
    let there = place.path("store/images").join(image.file_name().unwrap());
    fs::create_dir_all(&there).unwrap();
    for entry in fs::read_dir(&image).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), there.join(entry.file_name())).unwrap();
    }
    fs::create_dir(place.path("store/names")).unwrap();
    fs::copy(
        shared.store().join("names").join(MINIMAL),
        place.path("store/names").join(MINIMAL),
    )
    .unwrap();
    let place = place.owned_by(uid);
    std::os::unix::fs::chown(place.path("store"), Some(0), Some(0)).unwrap();
    place
}

/// A store that the user may only read: somebody else's.
#[test]
fn an_unprivileged_user_runs_jobs_from_somebody_elses_store() {
    if !root_or_skip("an_unprivileged_user_runs_jobs_from_somebody_elses_store") {
        return;
    }
    let place = somebody_elses_store(NOBODY);
    let script = "id -un; id -u; id -g; echo made > made; cat made; echo > /root/x 2>/dev/null || echo no right; head -c 9 /scratch/x; echo $HOME > /dev/stdout; : > /dev/stderr";
    let options = ["--scratch", "32M"];
    let said = place
        .run(
            MINIMAL,
            &options,
            &script.replace("head", "echo scratched > /scratch/x; head"),
        )
        .success();
    assert_eq!(said, "job\n65534\n65534\nmade\nno right\nscratched/home/job\n");
    let made = fs::metadata(place.work("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY));
    place.nothing_left();
}

/// A user that no host has.
const USER: u32 = 54321;

/// A user who has lines in /etc/subuid and /etc/subgid, in a mount namespace of the test's own.
#[test]
fn a_user_with_sub_ids_builds_a_configured_image() {
    if !root_or_skip("a_user_with_sub_ids_builds_a_configured_image") {
        return;
    }
    let place = Place::alone();
    place.write("recipe.yaml", fs::read(test_recipe("configured-i386")).unwrap());
    let etc = place.path("etc");
    fs::create_dir(&etc).unwrap();
    let sub_ids = "hpcvmtest:200000:65536\n";
    let mut script = Vec::new();
    for (name, line) in [
        (
            "passwd",
            format!("hpcvmtest:x:{USER}:{USER}::{}:/bin/sh\n", place.path("home").display()),
        ),
        ("group", format!("hpcvmtest:x:{USER}:\n")),
        ("subuid", sub_ids.to_owned()),
        ("subgid", sub_ids.to_owned()),
    ] {
        let host = format!("/etc/{name}");
        let before = fs::read_to_string(&host).unwrap_or_default();
        fs::write(etc.join(name), before + &line).unwrap();
        script.push(format!(
            "mount --bind '{}' {host} || exit 99; ",
            etc.join(name).display()
        ));
    }
    script.push("exec \"$@\"".to_owned());
    let script = script.concat();
    let place = place
        .owned_by(USER)
        .within(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let built = place.line("build recipe.yaml");
    assert!(built.success().contains(" built: "), "{}", built.err());
    let said = place
        .run("configured-i386", &[], "id -un; id -u; echo $((2 + 3))")
        .success();
    assert_eq!(said, format!("job\n{USER}\n5\n"));
    place.nothing_left();
}
