//! What is read of ELF files, on files made for it; and that no damage does harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixtures::{Machine, Workshop, compiler};
use hpcvm::elf::abi::Class;
use hpcvm::elf::bytes::{FileId, Source};
use hpcvm::elf::closure::Closure;
use hpcvm::elf::file_system::{FolderFiles, HostFiles};
use hpcvm::elf::loader::{Loader, Settings};
use hpcvm::elf::notes::Priority;
use hpcvm::elf::object::{Fault, Object};
use hpcvm::elf::scan::{Found, Options, Program, providers, scan};
use hpcvm::elf::search::Miss;
use hpcvm::elf::symbols::Symbols;
use hpcvm::elf::verify::{Gravity, missing_versions};
use proptest::prelude::*;

const BOTH: [Machine; 2] = [Machine::I386, Machine::Amd64];

/// A note of UAPI.12, as a compiler would be told to emit it.
const DLOPEN: &str = r#"
__attribute__((used, section(".note.dlopen"), aligned(4)))
static const struct { int n, d, t; char name[4]; char json[76]; } note = { 4, 76, 0x407c0c0a, "FDO",
  "[{\"soname\":[\"libz.so.1\"],\"feature\":\"zip\",\"priority\":\"required\"}]" };
"#;

fn read(path: &Path) -> Object {
    Object::read(&Source::host(path).unwrap()).unwrap()
}

fn readelf(path: &Path, option: &str) -> String {
    let output = Command::new("readelf").args(["-W", option]).arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn objects_are_read_as_readelf_reads_them() {
    if !compiler() {
        return;
    }
    for machine in BOTH {
        let workshop = Workshop::new();
        let flags = ["-Wl,-z,nodefaultlib", "-Wl,-rpath,/a:$ORIGIN"];
        let program = workshop.program(machine, "program", &["liba.so.1", "libb.so.2"], &flags);
        let object = read(&program);
        assert_eq!(object.needed, ["liba.so.1", "libb.so.2"]);
        assert_eq!(object.runpath.as_deref(), Some("/a:$ORIGIN".as_ref()));
        assert_eq!((&object.rpath, &object.soname), (&None, &None));
        assert!(object.no_default_folders && object.is_program() && object.dynamic);
        assert_eq!(object.interpreter, Some(machine.loader().into()));
        assert_eq!(object.abi.class == Class::Elf32, machine == Machine::I386);
        let id = object.build_id.unwrap();
        assert!(readelf(&program, "-n").contains(&id), "{id}");
        let noted = workshop.source(machine, "libnoted.so", DLOPEN, &["-shared"]);
        let dlopen = &read(&noted).dlopen;
        assert_eq!(
            (&*dlopen[0].soname[0], dlopen[0].priority),
            ("libz.so.1", Priority::Required)
        );
    }
}

#[test]
fn a_runpath_takes_the_place_of_an_rpath() {
    if !compiler() {
        return;
    }
    for (machine, word) in [(Machine::I386, 4), (Machine::Amd64, 8)] {
        let workshop = Workshop::new();
        let flags = ["-Wl,--disable-new-dtags", "-Wl,-rpath,/a"];
        let program = workshop.program(machine, "program", &["liba.so"], &flags);
        assert_eq!(read(&program).rpath.as_deref(), Some("/a".as_ref()));
        // No linker writes both: make DT_DEBUG (21, 0) a DT_RUNPATH (29) of the same string.
        let mut bytes = fs::read(&program).unwrap();
        let entry = |tag: u8, value: &[u8]| [vec![tag], vec![0; word - 1], value.to_vec()].concat();
        let find = |what: &[u8]| bytes.windows(what.len()).rposition(|window| window == what);
        let debug = find(&entry(21, &vec![0; word])).unwrap();
        let rpath = (0..debug)
            .rfind(|at| bytes[*at..].starts_with(&entry(15, &[])))
            .unwrap();
        let value = bytes[rpath + word..rpath + 2 * word].to_vec();
        bytes[debug..debug + 2 * word].copy_from_slice(&entry(29, &value));
        let object = Object::read(&Source::memory(FileId::Path("/x".into()), bytes.into())).unwrap();
        assert_eq!((object.rpath, object.runpath), (None, Some("/a".into())));
    }
}

/// A library with versions V1 to `last`, and a program that needs the version `needs` of it.
fn versioned(workshop: &Workshop, machine: Machine) -> PathBuf {
    let script = |name: &str, versions: &str| {
        fs::write(workshop.path(name), versions).unwrap();
        format!("-Wl,--version-script={}", workshop.path(name).display())
    };
    let old = script("old.map", "V1 { global: one; local: *; };");
    let new = script("new.map", "V1 { global: one; local: *; }; V2 { global: two; } V1;");
    let soname = "-Wl,-soname,libv.so";
    let code = "void one(void) {} void two(void) {}";
    workshop.source(machine, "old/libv.so", code, &["-shared", soname, &old]);
    let newer = workshop.source(machine, "new/libv.so", code, &["-shared", soname, &new]);
    let loader = format!("-Wl,--dynamic-linker={}", machine.loader());
    let both = [
        "-pie",
        &loader,
        newer.to_str().unwrap(),
        "-Wl,-rpath,$ORIGIN/old:$ORIGIN/new",
    ];
    let code = "void one(void); void two(void);
                __attribute__((weak)) void four(void);
                void _start(void) { one(); two(); four(); }";
    workshop.source(machine, "program", code, &both)
}

#[test]
fn the_first_library_counts_even_if_it_lacks_a_version() {
    if !compiler() {
        return;
    }
    for machine in BOTH {
        let workshop = Workshop::new();
        let program = versioned(&workshop, machine);
        let needs = read(&program).requires;
        let versions: Vec<&str> = needs.iter().map(|need| &*need.version).collect();
        assert!(versions.contains(&"V1") && versions.contains(&"V2"), "{versions:?}");
        let settings = Settings {
            working_folder: "/".into(),
            ..Settings::default()
        };
        let loader = Loader::new(&HostFiles, settings);
        let options = Options {
            symbols: true,
            ..Options::default()
        };
        let scanned = scan(&loader, std::slice::from_ref(&workshop.root), &options).unwrap();
        let file = scanned.iter().find(|file| file.path == program).unwrap();
        let Found::Elf(found) = &file.found else {
            panic!("{file:?}")
        };
        let Program {
            versions,
            symbols,
            closure,
            ..
        } = &**found;
        let missing: Vec<_> = versions.iter().map(|m| (&*m.need.version, m.gravity)).collect();
        assert_eq!(missing, [("V2", Gravity::Fatal)]);
        assert_eq!(closure.objects[versions[0].library].path, workshop.path("old/libv.so"));
        // The old library does not export `two`; `four` is weak.
        let symbols: Vec<&str> = symbols.iter().map(|missing| &*missing.name).collect();
        assert_eq!(symbols, ["two"]);
        let abi = closure.objects[0].object.abi;
        assert_eq!(providers(&loader, "libv.so", "V2", abi), [workshop.path("new/libv.so")]);
        assert!(file.is_broken());
        if machine == Machine::Amd64 && Path::new(machine.loader()).exists() {
            let output = Command::new(&program)
                .env("LD_TRACE_LOADED_OBJECTS", "1")
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains("version `V2' not found"), "{said}");
        }
    }
}

#[test]
fn weak_and_absent_versions_do_not_stop_a_program() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    let program = versioned(&workshop, Machine::I386);
    fs::remove_file(workshop.path("old/libv.so")).unwrap();
    workshop.library(Machine::I386, "old/libv.so", &[], &[]);
    let loader = Loader::new(&HostFiles, Settings::default());
    let missing = missing_versions(&Closure::of(&loader, &program).unwrap());
    assert_eq!(missing.len(), 2);
    assert!(missing.iter().all(|m| m.gravity == Gravity::Unversioned), "{missing:?}");
}

#[test]
fn the_search_ends_at_a_broken_library() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    let program = workshop.program(
        Machine::I386,
        "program",
        &["liba.so"],
        &["-Wl,-rpath,$ORIGIN/x:$ORIGIN/y"],
    );
    workshop.library(Machine::I386, "y/liba.so", &[], &[]);
    fs::create_dir(workshop.path("x")).unwrap();
    for (content, fault) in [
        (&b"text"[..], Fault::NotElf),
        (b"\x7fELF", Fault::Damaged("the file header")),
    ] {
        fs::write(workshop.path("x/liba.so"), content).unwrap();
        let loader = Loader::new(&HostFiles, Settings::default());
        let closure = Closure::of(&loader, &program).unwrap();
        let misses: Vec<&Miss> = closure.misses().map(|(_, miss)| miss).collect();
        assert!(
            misses.contains(&&Miss::Unusable(workshop.path("x/liba.so"), fault)),
            "{misses:?}"
        );
    }
}

#[test]
fn a_root_in_a_folder_is_searched_by_its_own_rules() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    workshop.program(Machine::I386, "bin/program", &["liba.so", "libb.so", "libc.so"], &[]);
    workshop.library(Machine::I386, "lib/ld-linux.so.2", &[], &[]);
    workshop.library(Machine::I386, "opt/a/liba.so", &[], &[]);
    workshop.library(Machine::I386, "usr/lib/i386-linux-gnu/libb.so", &[], &[]);
    workshop.library(Machine::I386, "lib/libc.so", &[], &[]);
    fs::create_dir(workshop.path("etc")).unwrap();
    fs::write(workshop.path("etc/ld.so.conf"), "/opt/a\n").unwrap();
    std::os::unix::fs::symlink("/lib/libc.so", workshop.path("usr/lib/i386-linux-gnu/libc.so")).unwrap();
    let files = FolderFiles::new(&workshop.root);
    let settings = Settings {
        working_folder: "/".into(),
        ..Settings::default()
    };
    let loader = Loader::new(&files, settings);
    let closure = Closure::of(&loader, Path::new("/bin/program")).unwrap();
    let paths: Vec<&Path> = closure.objects.iter().map(|loaded| &*loaded.path).collect();
    let expected = [
        "/bin/program",
        "/lib/ld-linux.so.2",
        "/opt/a/liba.so",
        "/usr/lib/i386-linux-gnu/libb.so",
        "/usr/lib/i386-linux-gnu/libc.so",
    ];
    assert_eq!(paths, expected.map(Path::new));
}

/// Files with everything in them that is read.
fn samples() -> Vec<Vec<u8>> {
    if !compiler() {
        return Vec::new();
    }
    let mut samples = Vec::new();
    for machine in BOTH {
        let workshop = Workshop::new();
        let program = versioned(&workshop, machine);
        let library = workshop.path("new/libv.so");
        samples.extend([program, library].map(|path| fs::read(path).unwrap()));
    }
    let workshop = Workshop::new();
    let noted = workshop.source(Machine::I386, "libnoted.so", DLOPEN, &["-shared"]);
    samples.push(fs::read(noted).unwrap());
    samples
}

fn read_all(bytes: &[u8]) {
    let source = Source::memory(FileId::Path("/x".into()), bytes.into());
    // Only that both return is asked for: a damaged file may still be readable.
    Object::read(&source).ok();
    Symbols::read(&source).ok();
}

#[test]
fn truncated_files_are_errors_or_whole() {
    for sample in samples() {
        for length in (0..sample.len()).step_by(7) {
            read_all(&sample[..length]);
        }
        let short = Source::memory(FileId::Path("/x".into()), sample[..300].into());
        assert!(Object::read(&short).is_err());
    }
}

#[test]
fn every_byte_may_be_wrong() {
    for sample in samples() {
        let mut broken = sample.clone();
        for place in 0..sample.len().min(4096) {
            for value in [0, 0xff, sample[place] ^ 0x80] {
                broken[place] = value;
                read_all(&broken);
            }
            broken[place] = sample[place];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 1..12),
                                    which in 0_usize..5) {
        static SAMPLES: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(samples);
        if let Some(sample) = SAMPLES.get(which) {
            let mut broken = sample.clone();
            for (place, value) in changes {
                let place = place.index(broken.len() - 8);
                broken[place..place + 8].copy_from_slice(&value);
            }
            read_all(&broken);
        }
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read_all(&[b"\x7fELF\x01\x01\x01".to_vec(), bytes.clone()].concat());
        read_all(&bytes);
    }
}
