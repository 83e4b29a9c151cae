//! Files go into a VM and come out again as the caller's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::harness::{Place, finish, root_or_skip};
use super::images::{MINIMAL, minimal};

#[test]
fn shared_folders_are_the_hosts_own() {
    let place = minimal();
    place.write("here", "in the working directory\n");
    for name in ["data", "out", "plain"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    fs::write(place.path("data").join("x"), "read only\n").unwrap();
    let shares = [
        format!("{}:/in:ro", place.path("data").display()),
        format!("{}:/out", place.path("out").display()),
        place.path("plain").display().to_string(),
    ];
    let options = ["--share", &shares[0], "--share", &shares[1], "--share", &shares[2]];
    let script = format!(
        "cat here /in/x; echo changed > /in/x; echo status $?; mkdir -p /out/a/b; cp /in/x /out/a/b/y; \
         ln -s y /out/a/b/link; chmod 640 /out/a/b/y; echo plain > '{}/z'; mv here there; umask",
        place.path("plain").display()
    );
    let told = place.run(MINIMAL, &options, &script);
    let said = told.success();
    assert!(
        said.starts_with("in the working directory\nread only\nstatus "),
        "{said}"
    );
    assert!(!said.contains("status 0"), "{said}");
    assert!(told.err().contains("Read-only file system"), "{}", told.err());
    assert_eq!(fs::read(place.path("data").join("x")).unwrap(), b"read only\n");
    let y = place.path("out").join("a/b/y");
    assert_eq!(fs::read(&y).unwrap(), b"read only\n");
    let metadata = fs::metadata(&y).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert_eq!(metadata.uid(), rustix::process::getuid().as_raw());
    let link = fs::symlink_metadata(place.path("out").join("a/b/link")).unwrap();
    assert!(link.is_symlink(), "{link:?}");
    assert_eq!(fs::read(place.path("plain").join("z")).unwrap(), b"plain\n");
    assert!(place.work("there").exists() && !place.work("here").exists());
    place.nothing_left();
}

#[test]
fn without_the_working_directory_the_job_is_at_home() {
    let place = minimal();
    let script = format!(
        "test -e '{}' || echo not there; test \"$PWD\" = \"$HOME\" && echo home",
        place.path("work").display()
    );
    assert_eq!(
        place.run(MINIMAL, &["--no-cwd"], &script).success(),
        "not there\nhome\n"
    );
    assert_eq!(
        place.run(MINIMAL, &["--no-cwd", "--cwd", "/usr"], "pwd").success(),
        "/usr\n"
    );
    let said = place
        .run(MINIMAL, &["--cwd", "/no/such/folder"], "pwd")
        .fails(120, "HV4105");
    assert!(said.contains("/no/such/folder"), "{said}");
    place.nothing_left();
}

#[test]
fn shares_that_cannot_be_are_refused_before_anything_starts() {
    let place = minimal();
    for share in ["/no/such/folder", "/etc/passwd", "/etc:/usr", "/etc:relative"] {
        place.run(MINIMAL, &["--share", share], "true").fails(120, "HV4004");
    }
    place.nothing_left();
}

#[test]
fn inputs_and_outputs_of_any_name_are_copied() {
    let place = minimal();
    let odd = OsStr::from_bytes(b"odd \xff'\"$(x)\n -name");
    let long = "l".repeat(200);
    fs::create_dir_all(place.work("in/deep/er")).unwrap();
    fs::write(place.work("in").join(odd), "odd\n").unwrap();
    fs::write(place.work("in/deep/er").join(&long), vec![7; 3 << 20]).unwrap();
    fs::write(place.work("in/deep/run"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(place.work("in/deep/run"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("deep/run", place.work("in/link")).unwrap();
    place.write("-single", "single\n");
    place.write("results/old", "kept\n");
    // Copies in the guest: neither the working directory nor what the host has is touched.
    let script =
        "ls -A; in/link; cat -- single; mkdir -p out/empty; cp -a in out/; echo new > out/old; echo last > -last";
    let words = [
        "run",
        "--no-cwd",
        "--input",
        "in",
        "--input=-single:single",
        "--output",
        "out:results",
        "--output",
        "./-last:last",
        "--output",
        "/etc/debian_version:version",
        MINIMAL,
        "--",
        "sh",
        "-c",
        script,
    ];
    let told = place.hpcvm(words);
    let said = told.success();
    assert!(said.ends_with("ran\nsingle\n"), "{said}");
    let back = place.work("results/in");
    assert_eq!(fs::read(back.join(odd)).unwrap(), b"odd\n");
    assert_eq!(fs::read(back.join("deep/er").join(&long)).unwrap(), vec![7; 3 << 20]);
    assert_eq!(
        fs::metadata(back.join("deep/run")).unwrap().permissions().mode() & 0o777,
        0o750
    );
    assert_eq!(fs::read_link(back.join("link")).unwrap().as_os_str(), "deep/run");
    assert!(place.work("results/empty").is_dir());
    assert_eq!(fs::read(place.work("results/old")).unwrap(), b"new\n");
    assert_eq!(fs::read(place.work("last")).unwrap(), b"last\n");
    assert!(fs::read(place.work("version")).unwrap().starts_with(b"12"));
    assert_eq!(
        fs::metadata(back.join("deep/run")).unwrap().uid(),
        rustix::process::getuid().as_raw()
    );
    place.nothing_left();
}

#[test]
fn an_input_with_an_odd_name_can_be_named_itself() {
    let place = minimal();
    let name = OsStr::from_bytes(b"\xfe \n*");
    fs::write(place.work("x").with_file_name(name), "there\n").unwrap();
    let mut words: Vec<OsString> = ["run", "--no-cwd", "--input"].map(OsString::from).to_vec();
    words.push(name.to_owned());
    words.extend([MINIMAL, "--", "cat"].map(OsString::from));
    words.push(name.to_owned());
    assert_eq!(finish(place.command(words), Vec::new()).success(), "there\n");
    place
        .run(MINIMAL, &["--input", "no-such-input"], "true")
        .fails(120, "HV4005");
    place.nothing_left();
}

#[test]
fn a_missing_output_is_an_error_unless_the_job_failed() {
    let place = minimal();
    let options = ["--output", "there", "--output", "missing:host-name"];
    let script = "cd; echo x > there";
    let told = place.hpcvm([
        "run", "--no-cwd", options[0], options[1], options[2], options[3], MINIMAL, "--", "sh", "-c", script,
    ]);
    let said = told.fails(120, "HV4302");
    assert!(said.contains("missing"), "{said}");
    let told = place.run(MINIMAL, &options, "echo x > /tmp/there; exit 9");
    assert_eq!(told.code(), 9, "{}", told.err());
    assert!(!place.work("host-name").exists());
    place.nothing_left();
}

#[test]
fn outputs_that_do_not_fit_are_not_half_there() {
    if !root_or_skip("outputs_that_do_not_fit_are_not_half_there") {
        return;
    }
    let place = minimal();
    fs::create_dir(place.path("full")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1M tmpfs '{full}' || exit 99; \"$@\"; code=$?; find '{full}' -mindepth 1; exit $code",
        full = place.path("full").display()
    );
    let place = place.within(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let output = format!("/tmp/big:{}", place.path("full").join("big").display());
    let told = place.run(MINIMAL, &["--output", &output], "head -c 8388608 /dev/zero > /tmp/big");
    let said = told.fails(120, "HV4302");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(told.out(), "");
    place.nothing_left();
}

#[test]
fn a_full_temporary_folder_is_named() {
    if !root_or_skip("a_full_temporary_folder_is_named") {
        return;
    }
    let place: Place = minimal();
    place.write("big", vec![1; 8 << 20]);
    let script = format!(
        "mount -t tmpfs -o size=2M tmpfs '{tmp}' || exit 99; \"$@\"; code=$?; find '{tmp}' -mindepth 1; exit $code",
        tmp = place.path("tmp").display()
    );
    let place = place.within(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let told = place.run(MINIMAL, &["--input", "big"], "true");
    assert!(told.err().contains("No space left on device"), "{}", told.err());
    assert_eq!((told.code(), told.out().as_str()), (122, ""), "{}", told.err());
}
