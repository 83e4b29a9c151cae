//! The closure of this host's programs against what its own loader does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use hpcvm::elf::closure::Closure;
use hpcvm::elf::file_system::HostFiles;
use hpcvm::elf::loader::{Loader, Settings};

const LD_SO: &str = "/lib64/ld-linux-x86-64.so.2";
/// How many programs are compared.
const SAMPLE: usize = 200;

/// What `ld.so --list` says is loaded, by soname; `None` where it refuses.
fn ld_so(program: &Path) -> Option<BTreeMap<String, Option<String>>> {
    let output = Command::new(LD_SO)
        .arg("--list")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD")
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let lines = text.lines().filter_map(|line| line.trim().split_once(" => "));
    let entries = lines.map(|(name, place)| {
        let path = place.rsplit_once(" (0x").map(|(path, _)| path.to_owned());
        (name.to_owned(), path)
    });
    // The loader itself is listed by the way it was started here.
    Some(entries.filter(|(name, _)| !name.contains("ld-linux")).collect())
}

fn ours(loader: &Loader<'_>, program: &Path) -> BTreeMap<String, Option<String>> {
    let closure = Closure::of(loader, program).unwrap();
    let found = closure
        .edges
        .iter()
        .filter(|edge| !edge.name.to_string_lossy().contains("ld-linux"));
    let entries = found.map(|edge| {
        let path = edge
            .to
            .as_ref()
            .ok()
            .map(|to| closure.objects[*to].path.display().to_string());
        (edge.name.to_string_lossy().into_owned(), path)
    });
    entries.collect()
}

/// The level of x86-64 of this processor, which decides about `glibc-hwcaps`.
fn cpu_level() -> u8 {
    let help = Command::new(LD_SO).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    (2..=4)
        .rev()
        .find(|level| help.contains(&format!("x86-64-v{level} (supported, searched)")))
        .unwrap_or(1)
}

#[test]
fn programs_of_the_host_load_what_its_loader_says() {
    if !Path::new(LD_SO).exists() {
        return;
    }
    let settings = Settings {
        cpu_level: cpu_level(),
        working_folder: "/".into(),
        ..Settings::default()
    };
    let loader = Loader::new(&HostFiles, settings);
    let mut programs: Vec<PathBuf> = std::fs::read_dir("/usr/bin")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // ld.so takes a program's path as it is, the kernel without links.
        .filter(|path| path.symlink_metadata().is_ok_and(|file| file.is_file()))
        .filter(|path| {
            loader
                .read(path)
                .is_some_and(|read| read.object.is_ok_and(|object| object.dynamic))
        })
        .collect();
    programs.sort();
    let step = programs.len().div_ceil(SAMPLE).max(1);
    let mut compared = 0;
    for program in programs.iter().step_by(step) {
        if let Some(expected) = ld_so(program) {
            assert_eq!(ours(&loader, program), expected, "{}", program.display());
            compared += 1;
        }
    }
    assert!(
        compared > 20,
        "only {compared} of {} programs could be compared",
        programs.len()
    );
}
