//! The rules that depend on a whole root: `ld.so.conf` and its cache, the default folders, folders
//! for hardware. The real loader is asked in a chroot of the same root, where it runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixtures::{Machine, Workshop, compiler};
use hpcvm::elf::closure::Closure;
use hpcvm::elf::file_system::FolderFiles;
use hpcvm::elf::loader::{Loader, Settings};
use hpcvm::elf::processor;

/// (path, flags); `{lib}` is the multiarch folder below `lib`.
type Library = (&'static str, &'static [&'static str]);

struct Case {
    name: &'static str,
    needs: &'static [&'static str],
    flags: &'static [&'static str],
    libraries: &'static [Library],
    foreign: &'static [&'static str],
    /// (path, text)
    texts: &'static [(&'static str, &'static str)],
    cache: bool,
    /// Where each library is found; "" for nowhere.
    expected: &'static [(&'static str, &'static str)],
}

const PLAIN: Case = Case {
    name: "",
    needs: &["liba.so"],
    flags: &[],
    libraries: &[],
    foreign: &[],
    texts: &[],
    cache: false,
    expected: &[],
};

const CASES: &[Case] = &[
    Case {
        name: "the default folders, in order",
        needs: &["liba.so", "libb.so", "libc.so", "libd.so"],
        libraries: &[
            ("lib/{lib}/liba.so", &[]),
            ("usr/lib/{lib}/liba.so", &[]),
            ("usr/lib/{lib}/libb.so", &[]),
            ("lib/libb.so", &[]),
            ("lib/libc.so", &[]),
            ("usr/lib/libc.so", &[]),
            ("usr/lib/libd.so", &[]),
        ],
        expected: &[
            ("liba.so", "/lib/{lib}/liba.so"),
            ("libb.so", "/usr/lib/{lib}/libb.so"),
            ("libc.so", "/lib/libc.so"),
            ("libd.so", "/usr/lib/libd.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "the cache of configured folders, those of included files too",
        needs: &["liba.so", "libb.so", "libc.so"],
        libraries: &[
            ("opt/a/liba.so", &[]),
            ("lib/{lib}/liba.so", &[]),
            ("opt/b/libb.so", &[]),
            ("opt/c/libc.so", &[]),
        ],
        texts: &[
            ("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n/opt/c/ # last\n"),
            ("etc/ld.so.conf.d/2.conf", "/opt/b\n"),
            ("etc/ld.so.conf.d/1.conf", "# first\n/opt/a\n"),
            ("etc/ld.so.conf.d/not", "/opt/none\n"),
        ],
        cache: true,
        expected: &[
            ("liba.so", "/opt/a/liba.so"),
            ("libb.so", "/opt/b/libb.so"),
            ("libc.so", "/opt/c/libc.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "a cache that is none",
        needs: &["liba.so"],
        libraries: &[("lib/{lib}/liba.so", &[])],
        texts: &[("etc/ld.so.conf", "/opt/a\n"), ("etc/ld.so.cache", "nonsense")],
        expected: &[("liba.so", "/lib/{lib}/liba.so")],
        ..PLAIN
    },
    Case {
        name: "files of another machine are passed over, in the cache and in folders",
        needs: &["liba.so", "libb.so", "libnone.so"],
        flags: &["-Wl,-rpath,/opt/foreign"],
        libraries: &[("opt/own/liba.so", &[]), ("lib/{lib}/libb.so", &[])],
        foreign: &["opt/foreign/liba.so", "opt/foreign/libb.so", "opt/foreign/libnone.so"],
        texts: &[("etc/ld.so.conf", "/opt/foreign\n/opt/own\n")],
        cache: true,
        expected: &[
            ("liba.so", "/opt/own/liba.so"),
            ("libb.so", "/lib/{lib}/libb.so"),
            ("libnone.so", ""),
        ],
    },
    Case {
        name: "NODEFLIB: default folders are left out, in the cache too; others are not",
        needs: &["liba.so", "libb.so", "libc.so"],
        flags: &["-Wl,-z,nodefaultlib", "-Wl,-rpath,/opt/r"],
        libraries: &[
            ("lib/{lib}/liba.so", &[]),
            ("opt/b/libb.so", &[]),
            ("opt/r/libc.so", &[]),
        ],
        texts: &[("etc/ld.so.conf", "/opt/b\n")],
        cache: true,
        expected: &[
            ("liba.so", ""),
            ("libb.so", "/opt/b/libb.so"),
            ("libc.so", "/opt/r/libc.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "$LIB and $PLATFORM",
        needs: &["liba.so", "libb.so"],
        flags: &["-Wl,-rpath,/opt/$LIB:/opt/${PLATFORM}/x"],
        libraries: &[("opt/lib/{lib}/liba.so", &[]), ("opt/{platform}/x/libb.so", &[])],
        expected: &[
            ("liba.so", "/opt/lib/{lib}/liba.so"),
            ("libb.so", "/opt/{platform}/x/libb.so"),
        ],
        ..PLAIN
    },
    Case {
        name: "an empty search path is none, an empty part is the working folder",
        needs: &["liba.so"],
        flags: &["-Wl,-rpath,/none::/opt"],
        libraries: &[("liba.so", &[]), ("opt/liba.so", &[])],
        expected: &[("liba.so", "/liba.so")],
        ..PLAIN
    },
    Case {
        name: "the name of a file counts, not its soname",
        needs: &["liba.so.1"],
        flags: &["-Wl,-rpath,/opt"],
        libraries: &[
            ("opt/liba.so.1", &["-Wl,-soname,libother.so.9"]),
            ("lib/{lib}/libother.so.9", &[]),
        ],
        expected: &[("liba.so.1", "/opt/liba.so.1")],
        ..PLAIN
    },
];

/// Folders for hardware; which of them count depends on the processor and the loader.
const HARDWARE: [&str; 12] = [
    "glibc-hwcaps/x86-64-v4",
    "glibc-hwcaps/x86-64-v3",
    "glibc-hwcaps/x86-64-v2",
    "tls/i686/sse2",
    "tls/x86_64",
    "tls",
    "i686/sse2",
    "x86_64",
    "i686",
    "sse2",
    "cmov",
    "",
];

const fn triplet(machine: Machine) -> (&'static str, &'static str) {
    match machine {
        Machine::I386 => ("i386-linux-gnu", "i686"),
        Machine::Amd64 => ("x86_64-linux-gnu", "x86_64"),
    }
}

/// A root with a loader and a C library that tells the loader's version.
fn root(machine: Machine, minor: u32) -> Workshop {
    let workshop = Workshop::new();
    let loader = workshop.path(&machine.loader()[1..]);
    fs::create_dir_all(loader.parent().unwrap()).unwrap();
    match machine.real_loader() {
        Some((real, _)) => drop(fs::copy(real, loader).unwrap()),
        None => drop(workshop.library(machine, &machine.loader()[1..], &[], &[])),
    }
    let map = workshop.path("map");
    fs::write(
        &map,
        format!("GLIBC_2.0 {{ global: x; }}; GLIBC_2.{minor} {{ global: y; }};"),
    )
    .unwrap();
    let script = format!("-Wl,--version-script={}", map.display());
    let path = format!("lib/{}/libc.so.6", triplet(machine).0);
    let flags = ["-shared", "-Wl,-soname,libc.so.6", &script];
    workshop.source(machine, &path, "void x(void) {} void y(void) {}", &flags);
    workshop
}

fn filled(text: &str, machine: Machine) -> String {
    let (lib, platform) = triplet(machine);
    text.replace("{lib}", lib).replace("{platform}", platform)
}

fn build(workshop: &Workshop, machine: Machine, case: &Case) {
    workshop.program(machine, "bin/program", case.needs, case.flags);
    for (path, flags) in case.libraries {
        workshop.library(machine, &filled(path, machine), &[], flags);
    }
    for path in case.foreign {
        workshop.library(machine.other(), path, &[], &[]);
    }
    for (path, text) in case.texts {
        let path = workshop.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    if case.cache {
        ldconfig(workshop);
    }
}

fn ldconfig(workshop: &Workshop) {
    fs::create_dir_all(workshop.path("etc")).unwrap();
    let status = Command::new("/sbin/ldconfig")
        .args(["-X", "-r"])
        .arg(&workshop.root)
        .output();
    assert!(status.unwrap().status.success());
}

type Found = BTreeMap<String, String>;

fn ours(workshop: &Workshop) -> Found {
    let files = FolderFiles::new(&workshop.root);
    let settings = Settings {
        cpu_level: processor::level(),
        working_folder: "/".into(),
        ..Settings::default()
    };
    let loader = Loader::new(&files, settings);
    let closure = Closure::of(&loader, Path::new("/bin/program")).unwrap();
    let needs = closure.edges.iter();
    let needs = needs.filter(|edge| !edge.name.to_string_lossy().contains("ld-linux"));
    let found = needs.map(|edge| {
        let path = edge
            .to
            .as_ref()
            .map(|to| closure.objects[*to].path.display().to_string());
        (edge.name.display().to_string(), path.unwrap_or_default())
    });
    found.collect()
}

/// What the real loader finds in the root; `None` where a chroot is not allowed.
fn theirs(workshop: &Workshop, machine: Machine) -> Option<Found> {
    let output = Command::new("chroot")
        .arg(&workshop.root)
        .args([machine.loader(), "--list", "/bin/program"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() && text.is_empty() {
        return None;
    }
    let kernel = ["ld-linux", "linux-vdso", "linux-gate"];
    let lines = text
        .lines()
        .filter(|line| !kernel.iter().any(|name| line.contains(name)));
    let found = lines.map(|line| {
        let (line, _) = line.trim().rsplit_once(" (0x").unwrap_or((line.trim(), ""));
        let (name, path) = match line.split_once(" => ") {
            Some((name, "not found")) => (name, String::new()),
            Some((name, path)) => (name, path.to_owned()),
            // Found in the working folder, which is the root.
            None => (line, format!("/{line}")),
        };
        (name.to_owned(), path)
    });
    Some(found.collect())
}

#[test]
fn a_root_is_searched_as_its_own_loader_does() {
    if !compiler() {
        return;
    }
    for machine in [Machine::I386, Machine::Amd64] {
        let real = machine.real_loader();
        for case in CASES {
            let workshop = root(machine, real.as_ref().map_or(36, |real| real.1));
            build(&workshop, machine, case);
            let expected = case.expected.iter();
            let expected: Found = expected
                .map(|(name, path)| ((*name).to_owned(), filled(path, machine)))
                .collect();
            if let Some(theirs) = real.as_ref().and_then(|_| theirs(&workshop, machine)) {
                assert_eq!(theirs, expected, "ld.so, {machine:?}: {}", case.name);
            }
            assert_eq!(ours(&workshop), expected, "{machine:?}: {}", case.name);
        }
    }
}

/// A library in every folder for hardware: the best one is taken away until none is left.
#[test]
fn folders_for_hardware_come_in_the_loaders_order() {
    if !compiler() {
        return;
    }
    for machine in [Machine::I386, Machine::Amd64] {
        let Some((_, minor)) = machine.real_loader() else {
            continue;
        };
        for (folder, configured) in [("opt/x", false), ("lib/{lib}", false), ("opt/x", true)] {
            let workshop = root(machine, minor);
            let folder = filled(folder, machine);
            let flags = format!("-Wl,-rpath,/{folder}");
            let flags: &[&str] = if configured { &[] } else { &[&flags] };
            workshop.program(machine, "bin/program", &["liba.so"], flags);
            let library = workshop.library(machine, "liba.so", &[], &[]);
            for place in HARDWARE {
                let place = workshop.path(&folder).join(place);
                fs::create_dir_all(&place).unwrap();
                fs::copy(&library, place.join("liba.so")).unwrap();
            }
            fs::remove_file(&library).unwrap();
            for round in 0..=HARDWARE.len() {
                if configured {
                    fs::create_dir_all(workshop.path("etc")).unwrap();
                    fs::write(workshop.path("etc/ld.so.conf"), format!("/{folder}\n")).unwrap();
                    ldconfig(&workshop);
                }
                let found = ours(&workshop);
                let Some(theirs) = theirs(&workshop, machine) else {
                    break;
                };
                assert_eq!(found, theirs, "{machine:?} {folder} {configured} {round}");
                let path = &found["liba.so"];
                if path.is_empty() {
                    break;
                }
                assert!(round < HARDWARE.len(), "{path} came back");
                fs::remove_file(workshop.path(&path[1..])).unwrap();
            }
        }
    }
}
