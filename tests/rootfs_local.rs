//! From a recipe to a tree with a repository on this host's own disk: no network, no rights.
//! Needs `apt-get` and `dpkg-deb`.

mod rootfs_recipe;

use std::fs;
use std::path::Path;
use std::process::Command;

use hpcvm::diagnostic::Problem as _;
use hpcvm::digest::Digest;
use hpcvm::exec::Host;
use hpcvm::recipe::{Bootstrap, Pocket, Recipe};
use hpcvm::rootfs::RootfsError;
use hpcvm::rootfs::apt::AptState;
use hpcvm::rootfs::archive::ArchiveSource;
use hpcvm::rootfs::cache::{Bootstrapped, CachePlaces, bootstrap};
use hpcvm::rootfs::pool::Pool;
use hpcvm::rootfs::resolve::{Resolution, resolve};
use hpcvm::rootfs::tree::{Kind, Origin, TreePath};

fn host() -> Host {
    Host::new("/usr/bin:/bin".into(), "/".into())
}

/// Builds one package file; returns its stanza of the index.
fn package(folder: &Path, name: &str, version: &str, fields: &str, files: &[(&str, &str)]) -> String {
    let root = folder.join("build").join(name);
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: i386\nMaintainer: Nobody <nobody@example.org>\n\
         {fields}Description: a test\n"
    );
    fs::write(root.join("DEBIAN/control"), &control).unwrap();
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let file = format!("pool/{name}_{}_i386.deb", version.replace(':', "%3a"));
    let target = folder.join("archive").join(file.replace("%3a", "-"));
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&root, &target])
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let (digest, size) = (Digest::of_file(&target).unwrap(), fs::metadata(&target).unwrap().len());
    let file = file.replace("%3a", "-");
    format!("{control}Filename: {file}\nSize: {size}\nSHA256: {digest}\n\n")
}

/// An unsigned archive with a few packages.
fn archive(folder: &Path) {
    let stanzas = [
        package(
            folder,
            "demo",
            "1:2.0~a+b-1",
            "Depends: libdemo (>= 1), usrmerge | usr-is-merged\n",
            &[("bin/demo", "#!demo")],
        ),
        package(
            folder,
            "libdemo",
            "1",
            "",
            &[("lib/libdemo.so.1", "ELF"), ("usr/share/doc/libdemo/copyright", "free")],
        ),
        package(folder, "usrmerge", "1", "", &[("usr/bin/convert", "perl")]),
        package(folder, "usr-is-merged", "1", "", &[]),
        package(folder, "needy", "1", "Depends: nonesuch\n", &[]),
        package(folder, "linux-image-686", "6.1", "Depends: linux-image-6.1-686\n", &[]),
        package(
            folder,
            "linux-image-6.1-686",
            "6.1",
            "Depends: demo\n",
            &[("boot/vmlinuz-6.1-686", "kernel")],
        ),
    ];
    index(&folder.join("archive"), "bookworm", &stanzas.concat());
}

/// Writes the index and the release file of a suite.
fn index(archive: &Path, suite: &str, text: &str) {
    let folder = archive.join("dists").join(suite);
    let index = folder.join("main/binary-i386");
    fs::create_dir_all(&index).unwrap();
    fs::write(index.join("Packages"), text).unwrap();
    let release = format!(
        "Suite: {suite}\nCodename: {suite}\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nArchitectures: i386\n\
         Components: main\nSHA256:\n {} {} main/binary-i386/Packages\n",
        Digest::of(text.as_bytes()),
        text.len()
    );
    fs::write(folder.join("Release"), release).unwrap();
}

fn recipe(folder: &Path, packages: &[&str]) -> Recipe {
    let mut recipe = rootfs_recipe::recipe(Bootstrap::Extract, packages);
    recipe.base.mirror = Some(format!("file:{}", folder.join("archive").display()));
    recipe
}

fn resolved(folder: &Path, recipe: &Recipe) -> Result<Resolution, RootfsError> {
    let source = ArchiveSource::find(&host(), &recipe.base, None)?;
    let state = AptState::open(&folder.join("apt"), &source, recipe.base.architecture)?;
    state.update(&host())?;
    resolve(&host(), &state, recipe)
}

fn made(folder: &Path, recipe: &Recipe, resolution: &Resolution) -> Bootstrapped {
    let places = CachePlaces {
        apt: folder.join("apt"),
        pool: folder.join("debs"),
        trees: folder.join("trees"),
        scratch: folder.to_owned(),
    };
    bootstrap(&host(), recipe, resolution, &places, &|_| {}).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_recipe_becomes_a_tree() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let recipe = recipe(folder.path(), &["demo"]);
    let resolution = resolved(folder.path(), &recipe).unwrap();
    let names: Vec<&str> = resolution
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["libdemo", "usr-is-merged", "demo"],
        "dependencies first, and no usrmerge"
    );
    assert_eq!(resolution.packages[2].version, "1:2.0~a+b-1");
    assert_eq!(resolution.kernel.name, "linux-image-6.1-686");
    assert_eq!(resolution.epoch, 1_783_764_997);
    let text = serde_json::to_string(&resolution).unwrap();
    assert_eq!(serde_json::from_str::<Resolution>(&text).unwrap(), resolution);

    let tree = made(folder.path(), &recipe, &resolution).tree;
    let demo = tree
        .get(&TreePath::new(b"usr/bin/demo").unwrap())
        .expect("/bin/demo, merged");
    assert_eq!(demo.origin, Origin::Package("demo".into()));
    assert!(matches!(&demo.kind, Kind::File(content) if content.read().unwrap() == b"#!demo"));
    assert!(tree.get(&TreePath::new(b"boot/vmlinuz-6.1-686").unwrap()).is_none());
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let recipe = recipe(folder.path(), &["demo"]);
    let resolution = resolved(folder.path(), &recipe).unwrap();
    let first = made(folder.path(), &recipe, &resolution);
    // From here on neither archive nor apt's state is needed.
    fs::remove_dir_all(folder.path().join("archive")).unwrap();
    assert!(made(folder.path(), &recipe, &resolution).cached);
    for archive in fs::read_dir(folder.path().join("trees/debs")).unwrap() {
        fs::write(archive.unwrap().path(), b"cut").unwrap();
    }
    let second = made(folder.path(), &recipe, &resolution);
    assert!(!second.cached);
    assert_eq!(second.tree, first.tree);
    let index = folder.path().join(format!("trees/{}.index", first.key));
    fs::write(&index, b"hpcvm-tree 1\n").unwrap();
    assert_eq!(made(folder.path(), &recipe, &resolution).tree, first.tree);
}

#[test]
fn what_cannot_be_resolved_is_told() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let cases = [
        (
            "nonexistent-name",
            "HV2010",
            "'nonexistent-name' is not in Debian bookworm (i386)",
        ),
        ("needy", "HV2011", "nonesuch"),
    ];
    for (package, code, part) in cases {
        let error = resolved(folder.path(), &recipe(folder.path(), &[package])).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.help().is_some());
    }
    fs::remove_dir_all(folder.path().join("archive/dists")).unwrap();
    let error = resolved(folder.path(), &recipe(folder.path(), &["demo"])).unwrap_err();
    assert_eq!(error.code(), "HV2004", "{error}");
}

#[test]
fn an_index_that_does_not_match_its_release_is_told() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let index = folder.path().join("archive/dists/bookworm/main/binary-i386/Packages");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("a test", "a toast")).unwrap();
    let error = resolved(folder.path(), &recipe(folder.path(), &["demo"])).unwrap_err();
    assert_eq!(error.code(), "HV2005", "{error}");
}

#[test]
fn a_newer_version_comes_from_its_pocket() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let security = folder.path().join("security");
    let newer = package(&security, "libdemo", "2", "", &[("lib/libdemo.so.1", "safe")]);
    index(&security.join("archive"), "bookworm-security", &newer);
    let mut recipe = recipe(folder.path(), &["demo"]);
    let mut source = ArchiveSource::find(&host(), &recipe.base, None).unwrap();
    recipe.base.pockets = vec![Pocket::Security];
    source.pockets = vec![(Pocket::Security, format!("file:{}", security.join("archive").display()))];
    let state = AptState::open(&folder.path().join("apt"), &source, recipe.base.architecture).unwrap();
    state.update(&host()).unwrap();
    let resolution = resolve(&host(), &state, &recipe).unwrap();
    let library = &resolution.packages[0];
    assert_eq!(
        (library.version.as_str(), library.pocket),
        ("2", Some(Pocket::Security))
    );
    assert_eq!(resolution.kernel.pocket, None);
    let pool = Pool::new(&folder.path().join("debs"));
    pool.fetch(&host(), &source, &resolution.packages).unwrap();
    assert!(resolution.packages.iter().all(|package| pool.has(package)));
}
