//! Bootstraps for real, from the Debian mirror that this host's apt uses.
//!
//! Package files are kept in `HPCVM_TEST_CACHE`, apart from the test of fetching itself.

mod rootfs_recipe;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use hpcvm::exec::Host;
use hpcvm::recipe::{Bootstrap, Bootstrapper, Init, Initrd, PurgeRule, Recipe};
use hpcvm::rootfs::apt::AptState;
use hpcvm::rootfs::archive::ArchiveSource;
use hpcvm::rootfs::cache::{Bootstrapped, CachePlaces, bootstrap};
use hpcvm::rootfs::normalise::normalise;
use hpcvm::rootfs::purge::purge;
use hpcvm::rootfs::resolve::{Resolution, resolve};
use hpcvm::rootfs::services::strip;
use hpcvm::rootfs::tree::{Kind, Tree, TreePath};
use hpcvm::units::Bytes;

const MINIMAL: [&str; 7] = ["coreutils", "dash", "grep", "gzip", "mawk", "sed", "tar"];

fn recipe(bootstrap: Bootstrap) -> Recipe {
    rootfs_recipe::recipe(bootstrap, &MINIMAL)
}

fn host() -> Host {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    Host::new(path, "/".into())
}

fn places(folder: &Path) -> CachePlaces {
    CachePlaces {
        apt: folder.join("apt"),
        pool: folder.join("pool"),
        trees: folder.join("trees"),
        scratch: std::env::temp_dir(),
    }
}

/// With the package files that earlier runs have fetched.
fn places_with_pool(folder: &Path) -> CachePlaces {
    let kept = std::env::var_os("HPCVM_TEST_CACHE").map(|cache| Path::new(&cache).join("hpcvm/pool"));
    let places = places(folder);
    CachePlaces {
        pool: kept.unwrap_or_else(|| places.pool.clone()),
        ..places
    }
}

/// Says that a test cannot be made here; ci/test prints these lines at its end.
fn skip(test: &str, why: &str) {
    eprintln!("skipped {test}: {why}");
    if let Some(cache) = std::env::var_os("HPCVM_TEST_CACHE") {
        let list = std::fs::File::options()
            .append(true)
            .create(true)
            .open(Path::new(&cache).join("skipped"));
        writeln!(list.unwrap(), "{test}: {why}").unwrap();
    }
}

fn resolved(recipe: &Recipe, places: &CachePlaces) -> Resolution {
    let host = host();
    let started = Instant::now();
    let source = ArchiveSource::find(&host, &recipe.base, None).unwrap();
    let state = AptState::open(&places.apt, &source, recipe.base.architecture).unwrap();
    state.update(&host).unwrap();
    eprintln!("update {:.2} s", started.elapsed().as_secs_f64());
    let resolution = resolve(&host, &state, recipe).unwrap();
    eprintln!(
        "resolved {:.2} s: {} packages, {}",
        started.elapsed().as_secs_f64(),
        resolution.packages.len(),
        resolution.kernel.name
    );
    resolution
}

fn made(recipe: &Recipe, resolution: &Resolution, places: &CachePlaces) -> Bootstrapped {
    let started = Instant::now();
    let say = |what: &str| eprintln!("{:6.2} s {what}", started.elapsed().as_secs_f64());
    let made = bootstrap(&host(), recipe, resolution, places, &say).unwrap_or_else(|error| panic!("{error}"));
    let bytes: u64 = made.tree.iter().map(|(_, entry)| entry.length()).sum();
    say(&format!("{} entries, {}", made.tree.len(), Bytes(bytes)));
    made
}

fn runs_a_shell(tree: &Tree) {
    let shell = tree.resolve(&TreePath::new(b"bin/sh").unwrap()).expect("/bin/sh");
    let content = match &tree.get(&shell).expect("the shell").kind {
        Kind::File(content) => content.read().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(&content[..4], b"\x7fELF");
}

/// Path, kind with content digest, mode, owners, time: all that reaches an image.
fn shown(tree: &Tree) -> Vec<String> {
    let kind = |kind: &Kind| match kind {
        Kind::File(content) => format!("file {}", content.digest),
        other => format!("{other:?}"),
    };
    tree.iter()
        .map(|(path, e)| format!("{path} {} {:o} {}:{} {}", kind(&e.kind), e.mode, e.uid, e.gid, e.mtime))
        .collect()
}

/// Slims a tree as a job's guest is; tells what is left.
fn slimmed(mut tree: Tree, epoch: u64) -> u64 {
    use PurgeRule::{
        CharsetConverters, Completions, DesktopData, Documentation, Locales, Logs, Manuals, PackageCaches,
        PackageDatabase, PackageManager, Terminfo,
    };
    let rules = [
        Documentation,
        Manuals,
        Locales,
        CharsetConverters,
        PackageCaches,
        PackageDatabase,
        PackageManager,
        Logs,
        DesktopData,
        Completions,
        Terminfo,
    ];
    normalise(&mut tree, epoch).unwrap();
    let stripped = strip(&mut tree, &[], Init::JobRunner).unwrap();
    let names: Vec<&str> = stripped.iter().map(|stripped| stripped.service.name.as_str()).collect();
    eprintln!("services stripped: {names:?}");
    for purged in purge(&mut tree, &rules, &[]).unwrap() {
        eprintln!("{:?}: {} files, {}", purged.rule, purged.files, purged.bytes);
    }
    let mut left: Vec<(u64, String)> = tree
        .iter()
        .map(|(path, entry)| (entry.length(), path.to_string()))
        .collect();
    left.sort();
    for (bytes, path) in left.iter().rev().take(25) {
        eprintln!("{bytes:9} {path}");
    }
    let licences = left.iter().filter(|(_, path)| path.ends_with("/copyright")).count();
    assert!(licences > 15, "licences are kept: {licences}");
    let bytes = left.iter().map(|(bytes, _)| bytes).sum();
    eprintln!("{} entries, {}", left.len(), Bytes(bytes));
    bytes
}

#[test]
fn extract_comes_from_the_network_once() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, places) = (recipe(Bootstrap::Extract), places(folder.path()));
    let resolution = resolved(&recipe, &places);
    let text = serde_json::to_string(&resolution).unwrap();
    assert_eq!(serde_json::from_str::<Resolution>(&text).unwrap(), resolution);
    let first = made(&recipe, &resolution, &places);
    runs_a_shell(&first.tree);
    let second = made(&recipe, &resolution, &places);
    assert!(!first.cached && second.cached);
    assert_eq!(first.tree, second.tree);
    std::fs::remove_file(places.trees.join(format!("{}.index", first.key))).unwrap();
    assert_eq!(made(&recipe, &resolution, &places).tree, first.tree);
    assert!(slimmed(first.tree, resolution.epoch) < 22 * 1024 * 1024);
}

#[test]
fn a_configured_tree_is_what_was_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, places) = (recipe(Bootstrap::Configured), places_with_pool(folder.path()));
    let resolution = resolved(&recipe, &places);
    let first = made(&recipe, &resolution, &places);
    runs_a_shell(&first.tree);
    assert!(made(&recipe, &resolution, &places).cached);
    std::fs::remove_dir_all(&places.trees).unwrap();
    let mut trees = [first.tree, made(&recipe, &resolution, &places).tree];
    let (one, other) = (shown(&trees[0]), shown(&trees[1]));
    for (one, _) in one.iter().zip(&other).filter(|(one, other)| one != other) {
        eprintln!("differs before normalising: {one}");
    }
    // The first tree's archive is gone: only what is indexed is compared.
    for tree in &mut trees {
        normalise(tree, resolution.epoch).unwrap();
    }
    let (one, other) = (shown(&trees[0]), shown(&trees[1]));
    let differences: Vec<(&String, &String)> = one.iter().zip(&other).filter(|(one, other)| one != other).collect();
    assert_eq!(differences, []);
    assert_eq!(one.len(), other.len());
    let [_, tree] = trees;
    slimmed(tree, resolution.epoch);
}

#[test]
fn debootstrap_makes_what_was_resolved() {
    if !rustix::process::getuid().is_root() {
        return skip("debootstrap_makes_what_was_resolved", "debootstrap needs root");
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut recipe, places) = (recipe(Bootstrap::Configured), places_with_pool(folder.path()));
    recipe.base.bootstrapper = Bootstrapper::Debootstrap;
    let resolution = resolved(&recipe, &places);
    runs_a_shell(&made(&recipe, &resolution, &places).tree);
}

#[test]
fn debians_own_initrd_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut recipe, places) = (recipe(Bootstrap::Configured), places_with_pool(folder.path()));
    recipe.kernel.initrd = Initrd::Debian;
    let resolution = resolved(&recipe, &places);
    assert!(resolution.packages.contains(&resolution.kernel));
    let tree = made(&recipe, &resolution, &places).tree;
    let boot = TreePath::new(b"boot").unwrap();
    let names: Vec<String> = tree.below(&boot).map(|(path, _)| path.to_string()).collect();
    assert!(
        names.iter().any(|name| name.starts_with("/boot/initrd.img-")),
        "{names:?}"
    );
    let real = tree.get(&TreePath::new(b"usr/sbin/update-initramfs").unwrap()).unwrap();
    assert!(real.length() > 1000, "the stub is gone");
}

#[test]
fn a_real_systemd_keeps_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let places = places_with_pool(folder.path());
    let recipe = rootfs_recipe::recipe(Bootstrap::Extract, &["cron", "dbus", "openssh-server", "systemd-sysv"]);
    let resolution = resolved(&recipe, &places);
    let tree = made(&recipe, &resolution, &places).tree;
    let names = |init| -> Vec<String> {
        let mut tree = tree.clone();
        let stripped = strip(&mut tree, &["ssh".to_owned()], init).unwrap();
        stripped.into_iter().map(|stripped| stripped.service.name).collect()
    };
    let (all, some) = (names(Init::JobRunner), names(Init::Services));
    eprintln!("without init: {all:?}\nwith systemd: {some:?}");
    for name in ["systemd-journald", "getty", "dbus", "cron"] {
        assert!(all.iter().any(|other| other == name), "{name}");
    }
    assert!(some.iter().any(|name| name == "cron"));
    let needed = |name: &str| name.starts_with("systemd-") || ["ssh", "dbus", "getty", "serial-getty"].contains(&name);
    assert!(!some.iter().any(|name| needed(name)), "{some:?}");
}
