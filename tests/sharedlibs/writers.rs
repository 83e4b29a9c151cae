//! Several writers at once, and writers that are killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hpcvm::sharedlibs::Wanted;

use super::fixtures::{Place, command, compile, compiler, hpcvm, library};

/// Processes that add at once.
const PROCESSES: usize = 6;
/// What each of them adds, one after the other.
const ADDITIONS: usize = 4;

#[test]
fn processes_that_add_at_once_all_get_in() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let template = fs::read(compile(&place.home.path().join("t"), "-m32", "libdemo.so.1", "DEMO_1")).unwrap();
    let file = |process: usize, addition: usize| {
        let path = place.home.path().join(format!("lib{process}-{addition}.so"));
        // What stands behind the file's own content is part of it, but of no meaning.
        fs::write(
            &path,
            [template.as_slice(), &[u8::try_from(process * 16 + addition).unwrap()]].concat(),
        )
        .unwrap();
        path
    };
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (place, file) = (&place, &file);
            scope.spawn(move || {
                for addition in 0..ADDITIONS {
                    let path = file(process, addition);
                    let (code, _, stderr) = hpcvm(place, &["add", path.to_str().unwrap()]);
                    assert_eq!(code, 0, "{stderr}");
                }
            });
        }
    });
    let all = u32::try_from(PROCESSES * ADDITIONS).unwrap();
    let numbers: Vec<u32> = (1..=all).collect();
    assert_eq!(place.repository.generations().unwrap(), numbers, "each made one");
    let sizes: Vec<usize> = numbers
        .iter()
        .map(|&n| place.repository.generation(n).unwrap().entries.len())
        .collect();
    assert_eq!(sizes, (1..=PROCESSES * ADDITIONS).collect::<Vec<_>>());
    assert!(place.repository.verify(false).unwrap().findings.is_empty());
}

#[test]
fn processes_that_create_at_once_make_one_repository() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("new/libs");
    let names: Vec<String> = (0..8).map(|number| format!("site{number}")).collect();
    let found: Vec<String> = thread::scope(|scope| {
        let makers: Vec<_> = names
            .iter()
            .map(|name| {
                let folder = &folder;
                scope.spawn(move || {
                    hpcvm::sharedlibs::Repository::create(folder, name)
                        .unwrap()
                        .name()
                        .to_owned()
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert!(found.iter().all(|name| *name == found[0]), "{found:?}");
}

/// Numbers that look random and are the same every time.
struct Chance(u64);

impl Chance {
    /// A part of `whole`.
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        whole.mul_f64(f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX))
    }
}

/// A tree with libraries and a folder of data, other ones for each number.
fn tree(place: &Place, template: &[u8], number: usize) -> PathBuf {
    let tree = place.home.path().join(format!("tree{number}"));
    for part in ["usr/lib", "usr/share/demo"] {
        fs::create_dir_all(tree.join(part)).unwrap();
    }
    for file in 0..30 {
        let text = format!("{number} {file}").repeat(4000);
        fs::write(
            tree.join(format!("usr/lib/l{file}.so")),
            [template, text.as_bytes()].concat(),
        )
        .unwrap();
        fs::write(tree.join(format!("usr/share/demo/{file}")), text).unwrap();
    }
    tree
}

#[test]
fn a_writer_killed_at_any_moment_leaves_nothing() {
    if !compiler() {
        return;
    }
    let place = Place::new();
    let repository = &place.repository;
    let template = fs::read(compile(&place.home.path().join("t"), "-m32", "libdemo.so.1", "DEMO_1")).unwrap();
    let other = |line: &[&str]| {
        let mut command: Command = command(&place, line);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let add = |tree: &PathBuf| other(&["add", "--folder", "/usr/share/demo", tree.to_str().unwrap()]);
    let first = tree(&place, &template, 0);
    let begun = Instant::now();
    assert!(add(&first).wait().unwrap().success());
    let whole = begun.elapsed();
    let mut chance = Chance(7);
    let (mut killed, mut interrupted) = (0, 0);
    for number in 1..=25 {
        let tree = tree(&place, &template, number);
        let mut writer = match number % 5 {
            3 => other(&["export"]),
            4 => other(&["gc", "--keep-generations", "2"]),
            _ => add(&tree),
        };
        thread::sleep(chance.part_of(whole));
        writer.kill().unwrap();
        if !writer.wait().unwrap().success() {
            killed += 1;
        }
        let incoming = fs::read_dir(repository.folder().join("incoming")).unwrap();
        interrupted += usize::from(incoming.count() > 0);
        // Whatever has a name is whole.
        for index in repository.generations().unwrap() {
            let index = repository.generation(index).unwrap();
            let entries = index
                .entries
                .iter()
                .map(|entry| Wanted::object(entry.object, Some(entry.length)));
            let folders = index.folders.iter().map(|folder| Wanted::folder(folder.digest));
            let wanted: Vec<Wanted> = entries.chain(folders).collect();
            assert_eq!(repository.check(&wanted), [], "{number}");
        }
        fs::remove_dir_all(tree).unwrap();
    }
    assert!(killed > 5, "only {killed} of 25 were killed in time");
    assert!(interrupted > 0, "none was killed while it wrote");
    // The next writer clears what they left, and reading every byte finds nothing else.
    repository.provide(&[library("usr/lib/last", "last")]).unwrap();
    assert_eq!(fs::read_dir(repository.folder().join("incoming")).unwrap().count(), 0);
    assert!(!repository.folder().join("lock.holder").exists());
    assert_eq!(repository.verify(false).unwrap().findings, []);
    repository.gc(&[], None, false).unwrap();
    assert_eq!(repository.verify(false).unwrap().findings, []);
}
