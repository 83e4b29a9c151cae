//! Images whose libraries are links: the guest's own loader finds in them what it found before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hpcvm::digest::Digest;
use hpcvm::elf::closure::Closure;
use hpcvm::elf::file_system::{FileSystem as _, FolderFiles};
use hpcvm::elf::loader::{Loader, Settings};
use hpcvm::image::library_list::{LibraryList, Reason, Verdict};
use hpcvm::rootfs::tarball;
use hpcvm::rootfs::tree::{Origin, Tree};
use hpcvm::sharedlibs::{MOUNT_POINT, Repository};
use hpcvm::slim::{Census, ld_cache};
use serde_json::Value;

use super::harness::{NOBODY, Place, root_or_skip, tool};
use super::images::{folder, manifest, test_recipe};

/// A place with a repository and an image that links to it.
struct Slimmed {
    place: Place,
    name: &'static str,
    repository: Repository,
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

impl Slimmed {
    fn new(name: &'static str) -> Self {
        let place = Place::with_own_store();
        let repository = Repository::create(&place.path("libs"), "site").unwrap();
        let slimmed = Self {
            place,
            name,
            repository,
        };
        slimmed.build(&slimmed.place);
        slimmed
    }

    fn libs(&self) -> &str {
        self.repository.folder().to_str().unwrap()
    }

    /// Builds the image in `place`, and tells what `--json` tells of it.
    fn build(&self, place: &Place) -> Value {
        let recipe = test_recipe(self.name);
        let words = ["build", "--json", "--libs", self.libs(), recipe.to_str().unwrap()];
        json(&place.hpcvm(words).success())
    }

    /// The root file system, unpacked.
    fn unpack(&self) -> PathBuf {
        let target = self.place.path("unpacked");
        unpack(&self.place, self.name, &target);
        target
    }
}

fn unpack(place: &Place, name: &str, target: &Path) {
    let offset = manifest(place, name)["disk"]["root"]["offset"].to_string();
    let disk = folder(place, name).join("image.vdi");
    let options = ["-no-progress", "-quiet", "-o", &offset, "-d"].map(PathBuf::from);
    tool("unsquashfs", options.iter().chain([&target.to_owned(), &disk]));
}

/// Puts the repository where guests have it mounted.
fn mount(repository: &Repository, root: &Path) {
    let target = root.join(MOUNT_POINT.trim_start_matches('/'));
    for part in ["objects", "folders"] {
        tool(
            "cp",
            [
                "-a".as_ref(),
                repository.folder().join(part).as_os_str(),
                target.as_os_str(),
            ],
        );
    }
}

/// The tree of a folder of the host.
fn tree(place: &Place, root: &Path) -> Tree {
    let archive = place.path("tree.tar");
    tool(
        "tar",
        [
            "-C".as_ref(),
            root.as_os_str(),
            "-cf".as_ref(),
            archive.as_os_str(),
            ".".as_ref(),
        ],
    );
    let mut tree = Tree::default();
    for (path, entry) in tarball::entries(&archive, &Origin::Bootstrap).unwrap() {
        tree.insert(path, entry);
    }
    tree
}

/// Each program and library of the guest with what its own loader says it loads: by name, the
/// content of the file.
fn by_the_guest(root: &Path, tree: &Tree, loader: &str) -> BTreeMap<String, Vec<(String, Digest)>> {
    let files = FolderFiles::new(root);
    let dynamic = |elf: &hpcvm::slim::Elf| elf.object.dynamic && !elf.object.needed.is_empty();
    let census = Census::of(tree).unwrap();
    let mut all = BTreeMap::new();
    for (path, _) in census.iter().filter(|(_, elf)| dynamic(elf)) {
        let said = Command::new("chroot")
            .arg(root)
            .args([loader, "--list", &path.to_string()])
            .output()
            .unwrap();
        assert!(
            said.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
        let text = String::from_utf8(said.stdout).unwrap();
        let lines = text.lines().map(|line| line.split(" (0x").next().unwrap().trim());
        // `NAME => PATH`, or the loader's PATH alone; the kernel's own library has no file.
        let found = lines.filter(|line| line.contains('/')).map(|line| {
            let (name, place) = line.split_once(" => ").unwrap_or((line, line));
            let real = files.real_path(Path::new(place)).unwrap();
            (
                name.to_owned(),
                Digest::of_file(&root.join(real.strip_prefix("/").unwrap())).unwrap(),
            )
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        all.insert(path.to_string(), found);
    }
    all
}

/// The same by our own closure.
fn by_closure(root: &Path, paths: impl Iterator<Item = String>) -> BTreeMap<String, Vec<Digest>> {
    let files = FolderFiles::new(root);
    let settings = Settings {
        cpu_level: hpcvm::elf::processor::level(),
        working_folder: "/".into(),
        ..Settings::default()
    };
    let loader = Loader::new(&files, settings);
    let load = |path: String| {
        let closure = Closure::of(&loader, Path::new(&path)).unwrap();
        assert_eq!(closure.misses().count(), 0, "{path}");
        let digest = |place: &Path| {
            let real = files.real_path(place).unwrap();
            Digest::of_file(&root.join(real.strip_prefix("/").unwrap())).unwrap()
        };
        let mut found: Vec<Digest> = closure.objects[1..].iter().map(|loaded| digest(&loaded.path)).collect();
        found.sort();
        (path, found)
    };
    paths.map(load).collect()
}

/// Where the extensions begin: what stands before does not tell who wrote the cache.
fn without_extensions(cache: &[u8]) -> &[u8] {
    let start = u32::from_le_bytes(cache[32..36].try_into().unwrap());
    &cache[..usize::try_from(start).unwrap()]
}

fn by_ldconfig(root: &Path) -> Vec<u8> {
    tool(
        "/sbin/ldconfig",
        [
            "-X".as_ref(),
            "-C".as_ref(),
            "/tmp/cache".as_ref(),
            "-r".as_ref(),
            root.as_os_str(),
        ],
    );
    let cache = fs::read(root.join("tmp/cache")).unwrap();
    fs::remove_file(root.join("tmp/cache")).unwrap();
    cache
}

#[test]
fn the_guests_loader_finds_the_same_files_before_and_after() {
    if !root_or_skip("the_guests_loader_finds_the_same_files_before_and_after") {
        return;
    }
    for (name, loader) in [
        ("file-i386", "/lib/ld-linux.so.2"),
        ("file-amd64", "/lib64/ld-linux-x86-64.so.2"),
    ] {
        let slimmed = Slimmed::new(name);
        let root = slimmed.unpack();
        mount(&slimmed.repository, &root);
        let after = tree(&slimmed.place, &root);
        let cache = fs::read(root.join("etc/ld.so.cache")).unwrap();
        assert!(
            without_extensions(&cache) == without_extensions(&by_ldconfig(&root)),
            "{name}"
        );

        // The same packages, nothing linked.
        let text = fs::read_to_string(test_recipe(name)).unwrap();
        let text = text
            .split("libraries:")
            .next()
            .unwrap()
            .replace("../../../recipes", env!("CARGO_MANIFEST_DIR"));
        let text = text.replace("/include/minimal.yaml", "/recipes/include/minimal.yaml");
        let plain = slimmed
            .place
            .write("plain.yaml", text.replace(&format!("name: {name}"), "name: plain"));
        slimmed.place.hpcvm(["build".as_ref(), plain.as_os_str()]).success();
        let plain = slimmed.place.path("plain");
        unpack(&slimmed.place, "plain", &plain);
        assert!(!plain.join("etc/ld.so.cache").exists());
        let before = tree(&slimmed.place, &plain);
        let cache = ld_cache::cache(&before).unwrap();
        assert!(
            without_extensions(&cache) == without_extensions(&by_ldconfig(&plain)),
            "{name}"
        );

        let told = by_the_guest(&plain, &before, loader);
        assert!(told.len() > 60, "{}", told.len());
        let linked = by_the_guest(&root, &before, loader);
        assert_eq!(linked, told);
        let ours = by_closure(&root, told.keys().cloned());
        for (path, found) in &linked {
            let mut digests: Vec<Digest> = found.iter().map(|(_, digest)| *digest).collect();
            digests.sort();
            assert_eq!(ours[path], digests, "{path}");
        }
        assert!(after.len() > before.len());
    }
}

#[test]
fn an_image_is_the_same_from_two_caches_and_stays_while_its_generation_does() {
    let slimmed = Slimmed::new("file-i386");
    let first = slimmed.build(&slimmed.place);
    assert_eq!(first["fresh"], false);
    let other = Place::alone();
    let second = slimmed.build(&other);
    assert_eq!(
        (&second["image"], &second["fresh"]),
        (&first["image"], &Value::Bool(true))
    );
    assert_eq!(slimmed.repository.generations().unwrap(), [1]);
    // Without its generation an image cannot run: it is not what an unchanged build gives.
    fs::remove_file(slimmed.repository.folder().join("generations/1.json")).unwrap();
    let recipe = test_recipe(slimmed.name);
    let words = ["plan", "--json", "--libs", slimmed.libs(), recipe.to_str().unwrap()];
    let plan = json(&slimmed.place.hpcvm(words).success());
    assert!(plan["image"].is_null(), "{plan}");
    let again = slimmed.build(&slimmed.place);
    assert_eq!(
        (&again["image"], &again["fresh"]),
        (&first["image"], &Value::Bool(true))
    );
}

#[test]
fn a_linked_program_runs_and_the_manifest_tells_why() {
    let slimmed = Slimmed::new("file-i386");
    let said = slimmed
        .place
        .run(slimmed.name, &["--libs", slimmed.libs()], "file -L /bin/sh")
        .success();
    assert!(said.contains("ELF 32-bit LSB pie executable, Intel 80386"), "{said}");
    slimmed.place.nothing_left();

    let manifest = manifest(&slimmed.place, slimmed.name);
    let bytes = |what: &str| manifest["libraries"][what]["bytes"].as_u64().unwrap();
    let cache = fs::read(slimmed.unpack().join("etc/ld.so.cache")).unwrap().len() as u64;
    assert_eq!(
        bytes("before") - bytes("after") + cache,
        bytes("linked") + bytes("relocated")
    );
    assert!(
        bytes("relocated") > 1_000_000 && bytes("linked") > 1_000_000,
        "{manifest}"
    );
    let list = LibraryList::read(&folder(&slimmed.place, slimmed.name).join("libraries.json")).unwrap();
    let entry = |soname: &str| {
        let found = list
            .entries
            .iter()
            .find(|entry| entry.soname.as_deref() == Some(soname));
        found.unwrap_or_else(|| panic!("{soname}"))
    };
    let magic = entry("libmagic.so.1");
    assert_eq!((magic.verdict, magic.reason), (Verdict::Linked, Reason::NotLocal));
    assert_eq!(
        (magic.chain.first().map(String::as_str), magic.package.as_deref()),
        (Some("/usr/bin/file"), Some("libmagic1"))
    );
    assert_eq!(
        (entry("libbz2.so.1.0").verdict, entry("libbz2.so.1.0").reason),
        (Verdict::Local, Reason::Kept)
    );
    let libc = entry("libc.so.6");
    assert_eq!((libc.verdict, libc.reason), (Verdict::Local, Reason::BootCritical));
    let verified = slimmed.place.line(&format!("image verify {}", slimmed.name)).success();
    assert!(verified.ends_with(": 6 files are as the manifest says\n"), "{verified}");
}

#[test]
fn a_repository_of_somebody_else_is_used_but_not_added_to() {
    if !root_or_skip("a_repository_of_somebody_else_is_used_but_not_added_to") {
        return;
    }
    let slimmed = Slimmed::new("file-i386");
    let place = Place::alone();
    for name in ["recipes/include/minimal.yaml", "tests/real/recipes/file-i386.yaml"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        place.write(name, fs::read(from).unwrap());
    }
    let empty = Repository::create(&place.path("empty"), "empty").unwrap();
    let place = place.owned_by(NOBODY);
    tool("chown", ["-R".as_ref(), "root".as_ref(), empty.folder().as_os_str()]);
    fs::set_permissions(
        slimmed.place.path(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let build = |libs: &Path| {
        let words = ["build".as_ref(), "--libs".as_ref(), libs.as_os_str()];
        place.hpcvm(words.into_iter().chain(["tests/real/recipes/file-i386.yaml".as_ref()]))
    };
    let refused = build(empty.folder());
    assert_eq!(refused.code(), 120, "{}", refused.err());
    assert!(
        refused.err().contains("error[HV2608]") && refused.err().contains("hpcvm build --libs"),
        "{}",
        refused.err()
    );
    let said = build(slimmed.repository.folder()).success();
    assert!(said.contains("linked from site, generation 1: "), "{said}");
}
