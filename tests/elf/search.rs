//! Each rule by which `ld.so` finds libraries, on files made for it; a real loader is asked
//! too where there is one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::fixtures::{Machine, Workshop, compiler};
use hpcvm::elf::closure::Closure;
use hpcvm::elf::file_system::HostFiles;
use hpcvm::elf::loader::{Loader, Settings};

/// Old-style `DT_RPATH`.
const RPATH: &str = "-Wl,--disable-new-dtags";
const RUNPATH: &str = "-Wl,--enable-new-dtags";

/// (path, needs, flags)
type File = (&'static str, &'static [&'static str], &'static [&'static str]);

struct Case {
    name: &'static str,
    /// `LD_LIBRARY_PATH`, with `{root}`.
    library_path: &'static str,
    /// The first is the program.
    files: &'static [File],
    /// Libraries of the other word size.
    foreign: &'static [&'static str],
    /// (target, link)
    links: &'static [(&'static str, &'static str)],
    /// Which file is started.
    start: &'static str,
    /// Where each need is found, below the root; "" for nowhere.
    expected: &'static [(&'static str, &'static str)],
}

const PLAIN: Case = Case {
    name: "",
    library_path: "",
    files: &[],
    foreign: &[],
    links: &[],
    start: "bin/program",
    expected: &[],
};

const CASES: &[Case] = &[
    Case {
        name: "$ORIGIN and ${ORIGIN}",
        files: &[
            (
                "bin/program",
                &["liba.so", "libb.so"],
                &["-Wl,-rpath,$ORIGIN/../lib:${ORIGIN}/b//"],
            ),
            ("lib/liba.so", &[], &[]),
            ("bin/b/libb.so", &[], &[]),
        ],
        expected: &[("liba.so", "bin/../lib/liba.so"), ("libb.so", "bin/b/libb.so")],
        ..PLAIN
    },
    Case {
        name: "rpath of the parent's parent",
        files: &[
            ("bin/program", &["liba.so"], &[RPATH, "-Wl,-rpath,$ORIGIN/x"]),
            ("bin/x/liba.so", &["libb.so"], &[RPATH, "-Wl,-rpath,/nowhere"]),
            ("bin/x/libb.so", &["libc.so"], &[]),
            ("bin/x/libc.so", &[], &[]),
        ],
        expected: &[
            ("liba.so", "bin/x/liba.so"),
            ("libb.so", "bin/x/libb.so"),
            ("libc.so", "bin/x/libc.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "runpath is not inherited",
        files: &[
            ("bin/program", &["liba.so"], &[RUNPATH, "-Wl,-rpath,$ORIGIN/x"]),
            ("bin/x/liba.so", &["libb.so"], &[]),
            ("bin/x/libb.so", &[], &[]),
        ],
        expected: &[("liba.so", "bin/x/liba.so"), ("libb.so", "")],
        ..PLAIN
    },
    Case {
        name: "a runpath switches all rpaths off, for its own file only",
        files: &[
            ("bin/program", &["liba.so"], &[RPATH, "-Wl,-rpath,$ORIGIN/x"]),
            (
                "bin/x/liba.so",
                &["libb.so", "libhidden.so"],
                &[RUNPATH, "-Wl,-rpath,$ORIGIN/../y"],
            ),
            ("bin/y/libb.so", &["libc.so"], &[]),
            ("bin/x/libc.so", &[], &[]),
            ("bin/x/libhidden.so", &[], &[]),
        ],
        expected: &[
            ("liba.so", "bin/x/liba.so"),
            ("libb.so", "bin/x/../y/libb.so"),
            ("libc.so", "bin/x/libc.so"),
            ("libhidden.so", ""),
        ],
        ..PLAIN
    },
    Case {
        name: "rpath before LD_LIBRARY_PATH",
        library_path: "{root}/env",
        files: &[
            ("bin/program", &["liba.so", "libb.so"], &[RPATH, "-Wl,-rpath,$ORIGIN/x"]),
            ("bin/x/liba.so", &[], &[]),
            ("env/liba.so", &[], &[]),
            ("env/libb.so", &[], &[]),
        ],
        expected: &[("liba.so", "bin/x/liba.so"), ("libb.so", "env/libb.so")],
        ..PLAIN
    },
    Case {
        name: "LD_LIBRARY_PATH before runpath",
        library_path: "{root}/none;{root}/env/:$ORIGIN/y",
        files: &[
            (
                "bin/program",
                &["liba.so", "libb.so", "libc.so"],
                &[RUNPATH, "-Wl,-rpath,$ORIGIN/x"],
            ),
            ("bin/x/liba.so", &[], &[]),
            ("env/liba.so", &[], &[]),
            ("bin/x/libb.so", &[], &[]),
            ("bin/y/libc.so", &[], &[]),
        ],
        expected: &[
            ("liba.so", "env/liba.so"),
            ("libb.so", "bin/x/libb.so"),
            ("libc.so", "bin/y/libc.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "32 and 64 bits side by side",
        files: &[
            ("bin/program", &["liba.so"], &["-Wl,-rpath,$ORIGIN/foreign:$ORIGIN/own"]),
            ("bin/own/liba.so", &[], &[]),
        ],
        foreign: &["bin/foreign/liba.so"],
        expected: &[("liba.so", "bin/own/liba.so")],
        ..PLAIN
    },
    Case {
        name: "$ORIGIN is where a library's link is",
        files: &[
            ("bin/program", &["liba.so"], &["-Wl,-rpath,$ORIGIN/links"]),
            ("real/liba.so", &["libb.so"], &["-Wl,-rpath,$ORIGIN"]),
            ("real/libb.so", &[], &[]),
            ("bin/links/libb.so", &[], &[]),
        ],
        links: &[("../../real/liba.so", "bin/links/liba.so")],
        expected: &[("liba.so", "bin/links/liba.so"), ("libb.so", "bin/links/libb.so")],
        ..PLAIN
    },
    Case {
        name: "$ORIGIN of a program is where the program is, not its link",
        files: &[
            ("real/program", &["liba.so"], &["-Wl,-rpath,$ORIGIN"]),
            ("real/liba.so", &[], &[]),
        ],
        links: &[("../real/program", "bin/program")],
        expected: &[("liba.so", "real/liba.so")],
        ..PLAIN
    },
    Case {
        name: "NODEFLIB",
        files: &[("bin/program", &["libc.so.6"], &["-Wl,-z,nodefaultlib"])],
        expected: &[("libc.so.6", "")],
        ..PLAIN
    },
    Case {
        name: "the first folder wins",
        files: &[
            (
                "bin/program",
                &["liba.so"],
                &["-Wl,-rpath,$ORIGIN/none:$ORIGIN/b:$ORIGIN/a"],
            ),
            ("bin/a/liba.so", &[], &[]),
            ("bin/b/liba.so", &[], &[]),
        ],
        expected: &[("liba.so", "bin/b/liba.so")],
        ..PLAIN
    },
    Case {
        name: "names with slashes are paths",
        files: &[
            (
                "bin/program",
                &["{root}/lib/liba.so", "$ORIGIN/libb.so"],
                &["-Wl,-rpath,$ORIGIN/x"],
            ),
            ("lib/liba.so", &[], &["-Wl,-soname,{root}/lib/liba.so"]),
            ("bin/libb.so", &[], &[]),
            ("bin/x/libb.so", &[], &[]),
        ],
        expected: &[
            ("{root}/lib/liba.so", "lib/liba.so"),
            ("$ORIGIN/libb.so", "bin/libb.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "what is loaded is not searched again",
        files: &[
            ("bin/program", &["liba.so", "libb.so"], &["-Wl,-rpath,$ORIGIN"]),
            ("bin/liba.so", &[], &[]),
            ("bin/libb.so", &["liba.so"], &["-Wl,-rpath,$ORIGIN/other"]),
            ("bin/other/liba.so", &[], &[]),
        ],
        expected: &[("liba.so", "bin/liba.so"), ("libb.so", "bin/libb.so")],
        ..PLAIN
    },
    Case {
        name: "a loaded library answers to its soname",
        files: &[
            ("bin/program", &["libfile.so", "libb.so"], &["-Wl,-rpath,$ORIGIN"]),
            ("bin/libfile.so", &[], &["-Wl,-soname,libreal.so.1"]),
            ("bin/libb.so", &["libreal.so.1"], &[]),
        ],
        expected: &[
            ("libb.so", "bin/libb.so"),
            ("libfile.so", "bin/libfile.so"),
            ("libreal.so.1", "bin/libfile.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "breadth first: the program's own folders decide",
        files: &[
            ("bin/program", &["liba.so", "libb.so"], &["-Wl,-rpath,$ORIGIN"]),
            ("bin/liba.so", &["libc.so"], &["-Wl,-rpath,$ORIGIN/a"]),
            ("bin/libb.so", &["libc.so"], &["-Wl,-rpath,$ORIGIN/b"]),
            ("bin/a/libc.so", &[], &[]),
            ("bin/b/libc.so", &[], &[]),
        ],
        expected: &[
            ("liba.so", "bin/liba.so"),
            ("libb.so", "bin/libb.so"),
            ("libc.so", "bin/a/libc.so"),
        ],
        ..PLAIN
    },
];

fn build(workshop: &Workshop, case: &Case, machine: Machine) {
    for (index, (path, needs, flags)) in case.files.iter().enumerate() {
        if index == 0 {
            workshop.program(machine, path, needs, flags);
        } else {
            workshop.library(machine, path, needs, flags);
        }
    }
    for path in case.foreign {
        workshop.library(machine.other(), path, &[], &[]);
    }
    for (target, link) in case.links {
        let link = workshop.path(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }
}

type Found = BTreeMap<String, String>;

fn ours(workshop: &Workshop, case: &Case) -> Found {
    let settings = Settings {
        library_path: case
            .library_path
            .replace("{root}", workshop.root.to_str().unwrap())
            .into(),
        cpu_level: 1,
        working_folder: "/".into(),
    };
    let loader = Loader::new(&HostFiles, settings);
    let closure = Closure::of(&loader, &workshop.path(case.start)).unwrap();
    let needs = closure
        .edges
        .iter()
        .filter(|edge| !edge.name.to_string_lossy().contains("ld-linux"));
    let found = needs.map(|edge| {
        let path = edge
            .to
            .as_ref()
            .map(|to| closure.objects[*to].path.display().to_string());
        (edge.name.to_string_lossy().into_owned(), path.unwrap_or_default())
    });
    found.collect()
}

/// What the real loader finds: when the kernel starts the program where it can, else when the
/// loader is told to, which takes a program's path as it is; `None` where it then refuses, as it
/// does for want of what a library needs.
fn ld_so(machine: Machine, real: &Path, program: &Path, library_path: &str) -> Option<Found> {
    let mut command = if Path::new(machine.loader()).exists() {
        let mut command = Command::new(program);
        command.env("LD_TRACE_LOADED_OBJECTS", "1");
        command
    } else {
        let mut command = Command::new(real);
        command.arg("--list").arg(program.canonicalize().unwrap());
        command
    };
    let output = command.env("LD_LIBRARY_PATH", library_path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if text.is_empty() {
        return None;
    }
    let lines = text.lines().map(str::trim).filter(|line| {
        !["linux-vdso", "linux-gate", "ld-linux", "ld.so"]
            .iter()
            .any(|name| line.contains(name))
    });
    let found = lines.filter_map(|line| {
        // A need that is a path is printed without an arrow.
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        let name = name.split(" (0x").next()?;
        let path = if place == "not found" {
            ""
        } else {
            place.rsplit_once(" (0x")?.0
        };
        Some((name.to_owned(), path.to_owned()))
    });
    Some(found.collect())
}

fn check(case: &Case, machine: Machine) {
    let workshop = Workshop::new();
    build(&workshop, case, machine);
    let root = workshop.root.to_str().unwrap();
    let absolute = |path: &str| {
        if path.is_empty() {
            String::new()
        } else {
            format!("{root}/{path}")
        }
    };
    let expected = case
        .expected
        .iter()
        .map(|(name, path)| (name.replace("{root}", root), absolute(path)));
    let expected: Found = expected.collect();
    assert_eq!(ours(&workshop, case), expected, "{machine:?}: {}", case.name);
    if let Some((real, _)) = machine.real_loader() {
        let library_path = case.library_path.replace("{root}", root);
        let Some(theirs) = ld_so(machine, &real, &workshop.path(case.start), &library_path) else {
            return;
        };
        // The loader tells each file once, by the name it was loaded for.
        let paths = |found: &Found| found.values().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(paths(&theirs), paths(&expected), "ld.so: {}", case.name);
    }
}

#[test]
fn libraries_are_found_as_the_loader_finds_them() {
    if !compiler() {
        return;
    }
    for case in CASES {
        for machine in [Machine::I386, Machine::Amd64] {
            check(case, machine);
        }
    }
}
