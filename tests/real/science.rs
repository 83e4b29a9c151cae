//! The science guest computes what is known, and loads what its own loader says.
//!
//! `tests/science` holds the reference results and tells where they are from.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use hpcvm::sharedlibs::{MOUNT_POINT, Repository};
use serde_json::Value;

use super::harness::{Place, cache, finish, root_or_skip, tool};
use super::images::{assert_valid, folder, manifest, place_with, recipe, test_recipe};

const SCIENCE: &str = "science-i386";
/// The same with every library in the image.
const LOCAL: &str = "science-local-i386";

/// The loader of i386, which lists what a program loads.
const LD_SO: &str = "/lib/ld-linux.so.2";
/// The only program that is linked statically; the loader cannot list it.
const STATIC: &str = "/usr/lib/hpcvm/job-runner";

/// A place with the science guest, and the repository that it links to.
fn science() -> (Place, PathBuf) {
    let repository = cache().join("libraries");
    let lock = File::create(cache().join("libraries.lock")).unwrap();
    lock.lock().unwrap();
    if !repository.exists() {
        Repository::create(&repository, "tests").unwrap();
    }
    let place = Place::new();
    let recipe = recipe(SCIENCE);
    let words = ["build".as_ref(), "--libs".as_ref(), repository.as_os_str()];
    place.hpcvm(words.into_iter().chain([recipe.as_os_str()])).success();
    (place, repository)
}

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/science").join(name)
}

#[test]
fn reference_results_follow_from_their_derivation() {
    tool("python3", [reference("derive.py"), reference("reference.json")]);
}

#[test]
fn the_science_guest_passes_its_validations() {
    let (place, repository) = science();
    let words = ["test", "--libs", repository.to_str().unwrap(), SCIENCE];
    let said = place.hpcvm(words).success();
    assert_valid(&said, 13);
    place.nothing_left();
}

#[test]
fn numpy_scipy_and_octave_compute_the_reference_results() {
    let (place, repository) = science();
    let files = ["compute.py", "compute.m", "reference.json"];
    let inputs = files.map(|name| format!("--input={}:/tmp/{name}", reference(name).display()));
    let mut options = vec!["--libs", repository.to_str().unwrap()];
    options.extend(inputs.iter().map(String::as_str));
    let script = "python3 /tmp/compute.py /tmp/reference.json && octave-cli -qf /tmp/compute.m /tmp/reference.json";
    let told = place.run(SCIENCE, &options, script);
    let said = told.success();
    assert_eq!(told.err(), "", "nothing to warn of");
    let results: Vec<&str> = said.lines().collect();
    assert_eq!(results.len(), 14, "{said}");
    assert!(results.iter().all(|line| line.ends_with(" ok")), "{said}");
    place.nothing_left();
}

/// What loading one file comes to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The libraries, in the order of loading, by the names they were asked for; the loader itself
    /// and the kernel's own library are left out.
    Loads(Vec<(String, String)>),
    /// The first library that is not there.
    Lacks(String),
    /// A version is not there.
    Unversioned,
}

type Answers = BTreeMap<String, Answer>;

/// Whether a name is the loader's or the library's that the kernel brings.
fn is_loader(name: &str) -> bool {
    name.contains("ld-linux") || name.starts_with("linux-gate.so")
}

/// Runs a program where `repository` is what the guest has at its mount point under `root`.
fn inside<I: AsRef<OsStr>>(root: &Path, repository: Option<&Path>, words: impl IntoIterator<Item = I>) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec"]);
    command.arg(r#"test -z "$1" || mount --bind "$1" "$2"; shift 2; exec "$@""#);
    command.arg("sh").arg(repository.unwrap_or(Path::new("")));
    command.arg(root.join(MOUNT_POINT.trim_start_matches('/')));
    let told = finish(
        {
            command
                .args(words)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command
        },
        Vec::new(),
    );
    assert!([0, 1].contains(&told.code()), "{}\n{}", told.err(), told.out());
    told.out()
}

/// Asks the guest's loader about all `paths` in one go.
fn asked(root: &Path, repository: Option<&Path>, paths: &[String]) -> Answers {
    fs::write(root.join("asked"), paths.join("\n") + "\n").unwrap();
    let script =
        format!("while read -r path; do echo \"@ $path\"; {LD_SO} --list \"$path\" 2>&1; echo \"= $?\"; done </asked");
    let words = ["chroot".as_ref(), root.as_os_str(), "/bin/sh".as_ref(), "-c".as_ref()];
    let said = inside(root, repository, words.into_iter().chain([script.as_ref()]));
    let blocks = said.split("@ ").skip(1);
    blocks
        .map(|block| {
            let (path, lines) = block.split_once('\n').unwrap();
            (path.to_owned(), told_by_loader(lines))
        })
        .collect()
}

fn told_by_loader(lines: &str) -> Answer {
    if let Some((_, rest)) = lines.split_once("error while loading shared libraries: ") {
        return Answer::Lacks(rest.split(':').next().unwrap().to_owned());
    }
    if lines.contains(": version `") {
        return Answer::Unversioned;
    }
    assert!(lines.ends_with("= 0\n"), "{lines}");
    let listed = lines.lines().filter_map(|line| line.strip_prefix('\t'));
    let loads = listed.filter_map(|line| {
        let (entry, _) = line.rsplit_once(" (0x")?;
        let (name, path) = entry.split_once(" => ").unwrap_or((entry, entry));
        (!is_loader(name)).then(|| (name.to_owned(), path.to_owned()))
    });
    Answer::Loads(loads.collect())
}

/// What `hpcvm scan` says of `paths`, all of them if there are none.
fn scanned(place: &Place, root: &Path, repository: Option<&Path>, paths: &[String]) -> Answers {
    let mut command = place.command(["scan", "--json", "--root"]);
    command.arg(root).args(paths);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_owned).collect();
    answers(&inside(root, repository, words))
}

/// What `hpcvm scan` says of `paths` of an image that links to `repository`.
fn scanned_image(place: &Place, image: &str, repository: &Path, paths: &[String]) -> Answers {
    let mut command = place.command(["scan", "--json", "--root", image, "--libs"]);
    command.arg(repository).args(paths);
    let told = finish(command, Vec::new());
    assert!([0, 1].contains(&told.code()), "{}", told.err());
    answers(&told.out())
}

fn answers(json: &str) -> Answers {
    let told: Value = serde_json::from_str(json).unwrap();
    let files = told["files"].as_array().unwrap().iter();
    files
        .filter(|file| file["kind"] == "elf" && file["path"] != STATIC)
        .map(|file| (text(&file["path"]), told_by_us(&file["elf"])))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn told_by_us(elf: &Value) -> Answer {
    let needs = elf["needs"].as_array().unwrap();
    if let Some(miss) = needs.iter().find(|need| need["to"].is_null()) {
        return Answer::Lacks(text(&miss["name"]));
    }
    let versions = elf["missing-versions"].as_array().unwrap().iter();
    if versions.into_iter().any(|missing| missing["gravity"] == "fatal") {
        return Answer::Unversioned;
    }
    let loads = elf["loads"].as_array().unwrap().iter().enumerate().skip(1);
    let loads = loads.filter_map(|(index, loaded)| {
        let need = needs.iter().find(|need| need["to"] == index).unwrap();
        let name = text(&need["name"]);
        (!is_loader(&name)).then(|| (name, text(&loaded["path"])))
    });
    Answer::Loads(loads.collect())
}

/// Fails unless both say the same of every file.
#[track_caller]
fn assert_agreement(ours: &Answers, theirs: &Answers) {
    let differing: Vec<String> = ours
        .iter()
        .filter(|(path, answer)| theirs.get(*path) != Some(answer))
        .map(|(path, answer)| format!("{path}\n  hpcvm: {answer:?}\n  ld.so: {:?}", theirs.get(path)))
        .collect();
    assert_eq!(ours.len(), theirs.len());
    assert!(
        differing.is_empty(),
        "{} of {} differ\n{}",
        differing.len(),
        ours.len(),
        differing.join("\n")
    );
}

/// The root file system of an image as a folder.
fn unpacked(place: &Place, image: &str) -> PathBuf {
    let root = place.path(image);
    let offset = manifest(place, image)["disk"]["root"]["offset"].to_string();
    let disk = folder(place, image).join("image.vdi");
    let words = ["-quiet", "-no-progress", "-no-xattrs", "-offset", &offset, "-dest"].map(AsRef::as_ref);
    tool(
        "unsquashfs",
        words.into_iter().chain([root.as_os_str(), disk.as_os_str()]),
    );
    root
}

/// How many programs and libraries of the guest are compared at least.
const LEAST: usize = 1000;

/// As the image is found on a folder or by its name, with and without links into the repository: the
/// guest's own loader lists what `hpcvm scan` says, and the links change nothing.
#[test]
fn closures_are_what_the_guests_loader_says() {
    if !root_or_skip("closures_are_what_the_guests_loader_says") {
        return;
    }
    let place = place_with(&test_recipe(LOCAL));
    let root = unpacked(&place, LOCAL);
    let local = scanned(&place, &root, None, &[]);
    assert!(local.len() >= LEAST, "only {} files", local.len());
    let paths: Vec<String> = local.keys().cloned().collect();
    assert_agreement(&local, &asked(&root, None, &paths));
    fs::remove_dir_all(root).unwrap();

    let (place, repository) = science();
    let root = unpacked(&place, SCIENCE);
    let linked = scanned(&place, &root, Some(&repository), &paths);
    assert_agreement(&linked, &asked(&root, Some(&repository), &paths));
    assert_agreement(&linked, &local);
    assert_agreement(&scanned_image(&place, SCIENCE, &repository, &paths), &linked);
    eprintln!("{} files agree", paths.len());
}

/// What the issue promises of the image's size.
const LARGEST: u64 = 40 << 20;

#[test]
fn the_science_guest_is_small_and_its_libraries_are_shared() {
    let (place, repository) = science();
    let disk = fs::metadata(folder(&place, SCIENCE).join("image.vdi")).unwrap().len();
    assert!(disk <= LARGEST, "the disk has {disk} bytes");
    let linked = &manifest(&place, SCIENCE)["libraries"]["linked"];
    assert!(linked["files"].as_u64().unwrap() > 500, "{linked}");
    // The Fortran runtime is reached in the repository, by Octave's own library.
    let words = ["scan", "--root", SCIENCE, "--why", "libgfortran.so.5", "--libs"].map(AsRef::as_ref);
    let why = place.hpcvm(words.into_iter().chain([repository.as_os_str()]));
    assert!(why.out().contains("/liboctave.so.9"), "{}\n{}", why.out(), why.err());
    place.nothing_left();
}
