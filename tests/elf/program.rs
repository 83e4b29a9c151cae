//! `hpcvm scan` from outside.

use std::path::Path;
use std::process::Command;

use crate::fixtures::{Machine, Workshop, compiler};

/// Exit code, standard output, standard error.
fn scan(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hpcvm"))
        .arg("scan")
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A root with a program that is whole, one that is not, and two scripts.
fn root() -> Workshop {
    let workshop = Workshop::new();
    workshop.program(Machine::I386, "bin/whole", &["liba.so"], &[]);
    workshop.program(Machine::I386, "bin/broken", &["libnone.so"], &["-Wl,-rpath,/opt"]);
    workshop.library(Machine::I386, "lib/ld-linux.so.2", &[], &[]);
    workshop.library(Machine::I386, "lib/liba.so", &["libb.so"], &[]);
    workshop.library(Machine::I386, "lib/libb.so", &[], &[]);
    std::fs::write(workshop.path("bin/script"), "#!/bin/whole\n").unwrap();
    std::fs::write(workshop.path("bin/orphan"), "#!/usr/bin/env nothing\n").unwrap();
    std::fs::write(workshop.path("bin/notes.txt"), "text\n").unwrap();
    workshop
}

const WHOLE: &str = "\
/bin/whole (i386)
├── /lib/ld-linux.so.2 => /lib/ld-linux.so.2 [interpreter]
└── liba.so => /lib/liba.so [default folder]
    └── libb.so => /lib/libb.so [default folder]
";

#[test]
fn a_folder_and_its_archive_scan_alike() {
    if !compiler() {
        return;
    }
    let workshop = root();
    let folder = workshop.root.to_str().unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let tar = Command::new("tar")
        .args(["-C", folder, "-cf"])
        .arg(archive.path())
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    for root in [folder, archive.path().to_str().unwrap()] {
        let (code, stdout, _) = scan(&["--root", root, "/bin/whole"]);
        assert_eq!((code, &*stdout), (0, WHOLE), "{root}");
        let (code, stdout, stderr) = scan(&["--root", root, "--problems"]);
        assert_eq!(code, 1);
        let expected = "\
/bin/broken
  problem: libnone.so is missing, which /bin/broken needs
/bin/orphan
  problem: its interpreter /usr/bin/env is missing
  problem: its interpreter nothing is missing
";
        assert_eq!(stdout, expected, "{root}");
        assert_eq!(stderr, "hpcvm: 7 files scanned, 2 with problems\n");
    }
}

#[test]
fn every_form_of_output_tells_the_same() {
    if !compiler() {
        return;
    }
    let workshop = root();
    let root = workshop.root.to_str().unwrap();
    let (code, stdout, _) = scan(&["--root", root, "--why", "libb.so", "/bin"]);
    assert_eq!(
        (code, &*stdout),
        (1, "/lib/libb.so\n└── /lib/liba.so\n    └── /bin/whole\n")
    );
    let (_, stdout, _) = scan(&["--root", root, "--dot", "/bin"]);
    assert!(stdout.contains("\"/lib/liba.so\" -> \"/lib/libb.so\";\n"), "{stdout}");
    assert!(stdout.contains("\"libnone.so\" [color=red];\n"), "{stdout}");
    let (code, stdout, _) = scan(&["--root", root, "--table", "/bin/whole", "/bin/script"]);
    assert_eq!(code, 0);
    let table = "\
STATE  KIND     ABI   LOADS  PLUG-INS  FILE
ok     script         0      0         /bin/script
ok     program  i386  3      0         /bin/whole
";
    assert_eq!(stdout, table);
    let (code, stdout, _) = scan(&["--root", root, "--json", "/bin/broken"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let file = &json["files"][0];
    assert_eq!((code, &json["scan"], &file["broken"]), (1, &1.into(), &true.into()));
    assert_eq!(file["elf"]["needs"][1]["name"], "libnone.so");
    assert_eq!(file["elf"]["needs"][1]["to"], serde_json::Value::Null);
    assert_eq!(file["elf"]["loads"][1]["rule"], "interpreter");
}

/// What is shown of a program that opens other files while it runs.
const OPENING: &str = "\
/bin/program (i386)
├── /lib/ld-linux.so.2 => /lib/ld-linux.so.2 [interpreter]
└── libc.so.6 => /lib/libc.so.6 [default folder]
  plug-ins of nss:
    libnss_gone.so.2 => not found [/etc/nsswitch.conf: passwd]
    libnss_ldap.so.2 => /lib/libnss_ldap.so.2 [/etc/nsswitch.conf: passwd]
      with /lib/libldap.so
      without libsasl.so, which is not found
  possible by dlopen:
    libmaybe.so.1 => not found [a string of /bin/program]
";

#[test]
fn plug_ins_are_told_and_never_break_a_program() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    let code = "int dlopen(), getpwnam(); void f(void) { getpwnam(); dlopen(\"libmaybe.so.1\"); }";
    workshop.program_from(
        Machine::I386,
        "bin/program",
        code,
        &["libc.so.6"],
        &["-Wl,-export-dynamic"],
    );
    workshop.library(Machine::I386, "lib/ld-linux.so.2", &[], &[]);
    workshop.library(Machine::I386, "lib/libc.so.6", &[], &[]);
    workshop.library(
        Machine::I386,
        "lib/libnss_ldap.so.2",
        &["libldap.so", "libsasl.so"],
        &[],
    );
    workshop.library(Machine::I386, "lib/libldap.so", &[], &[]);
    std::fs::create_dir(workshop.path("etc")).unwrap();
    std::fs::write(workshop.path("etc/nsswitch.conf"), "passwd: ldap gone\ngroup: ldap\n").unwrap();
    let root = workshop.root.to_str().unwrap();
    let (code, stdout, _) = scan(&["--root", root, "/bin/program"]);
    assert_eq!((code, &*stdout), (0, OPENING));
    let (_, stdout, _) = scan(&["--root", root, "--no-plugins", "/bin/program"]);
    assert!(OPENING.starts_with(&stdout) && stdout.lines().count() == 3, "{stdout}");
    let (code, stdout, _) = scan(&["--root", root, "--why", "libldap.so", "/bin/program"]);
    let why = "/lib/libldap.so\n└── /lib/libnss_ldap.so.2\n    └── /bin/program (plug-in: nss)\n";
    assert_eq!((code, &*stdout), (0, why));
    let (_, stdout, _) = scan(&["--root", root, "--dot", "/bin/program"]);
    let edge = "\"/bin/program\" -> \"/lib/libnss_ldap.so.2\" [style=dashed, label=\"nss\"];\n";
    assert!(
        stdout.contains(edge) && !stdout.contains("\"libnss_gone.so.2\" [color"),
        "{stdout}"
    );
    let (_, stdout, _) = scan(&["--root", root, "--table", "/bin/program"]);
    assert!(
        stdout.ends_with("ok     program  i386  2      1         /bin/program\n"),
        "{stdout}"
    );
    let (_, stdout, _) = scan(&["--root", root, "--json", "/bin/program"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let used = &json["files"][0]["elf"]["plugins"];
    assert_eq!(
        (&used[0]["trigger"], &used[1]["list"]),
        (&"/bin/program".into(), &1.into())
    );
    let lists = &json["plugins"];
    assert_eq!(
        (&lists[0]["family"], &lists[1]["certainty"]),
        (&"nss".into(), &"possible".into())
    );
    let member = &lists[0]["members"][0];
    assert_eq!(member["path"], "/lib/libnss_ldap.so.2");
    assert_eq!(
        member["needs"][1],
        serde_json::json!({ "name": "libsasl.so", "path": null })
    );
}

#[test]
fn what_cannot_be_scanned_is_an_error() {
    let root = env!("CARGO_MANIFEST_DIR");
    assert!(Path::new(root).join("Cargo.toml").exists());
    for (arguments, code, part) in [
        (&["/nonexistent/program"][..], 120, "HV2401"),
        (&["--root", "/dev/null", "/bin"], 120, "HV2403"),
        (&["--why", "libnone.so", "/bin/sh"], 120, "HV2404"),
        (&[], 2, "<PATHS>"),
        (&["--root", root, "/../../nonexistent"], 120, "HV2401"),
    ] {
        let (found, _, stderr) = scan(arguments);
        assert_eq!(found, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}
