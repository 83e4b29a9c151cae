//! The boot-critical set: files that are loaded before the repository is mounted.
//!
//! Computed, not listed: from the programs that the hook starts, by their needs. Where the guest's
//! own init runs first, every program that its units and scripts name counts as started: too many
//! stay in the image then, never too few.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::SlimError;
use super::census::{absolute, file_at};
use super::loads::Load;
use crate::elf::file_system::FileSystem as _;
use crate::elf::loader::Loader;
use crate::elf::scripts::{FIRST_LINE, Script};
use crate::guest::hook;
use crate::recipe::Init;
use crate::rootfs::tree::{Kind, Tree, TreePath};

/// The shell counts whatever the hook does: it is what is left to look for a fault with.
const SHELL: &str = "/bin/sh";
/// Where `PATH` of an init leads.
const PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Units and scripts of an init.
const INIT_FILES: [&str; 9] = [
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/systemd/system",
    "/usr/lib/udev/rules.d",
    "/etc/udev/rules.d",
    "/etc/init.d",
    "/etc/default",
    "/etc/rc.local",
    "/etc/inittab",
];
/// Folders whose programs an init starts by itself.
const INIT_PROGRAMS: [&str; 3] = ["/usr/lib/systemd", "/usr/lib/udev", "/usr/lib/init"];
/// The largest unit or script that is read.
const LARGEST: usize = 1 << 20;

/// Files of the boot-critical set, each with the chain that leads to it.
pub(super) type BootSet = BTreeMap<TreePath, Vec<TreePath>>;

/// The boot-critical set of `tree` with this `init`. A program that the tree does not have is not
/// started, and nothing stays for it.
pub(super) fn boot_critical(tree: &Tree, loader: &Loader<'_>, init: Init) -> Result<BootSet, SlimError> {
    let mut started: BTreeSet<PathBuf> = hook::executes(init).iter().map(PathBuf::from).collect();
    started.insert(SHELL.into());
    if init == Init::Services {
        started.extend(programs_of_init(tree)?);
    }
    let mut set = BootSet::new();
    for program in &started {
        add(tree, loader, program, &[], &mut set);
    }
    // The C library opens name services by name; whoever looks up a user needs them.
    for library in name_services(tree) {
        let path = loader_path(loader, tree, &library, &set);
        if let Some(path) = path {
            add(tree, loader, &path, &[], &mut set);
        }
    }
    Ok(set)
}

/// Adds the program, library or script at `path` with all that is loaded for it.
fn add(tree: &Tree, loader: &Loader<'_>, path: &Path, before: &[TreePath], set: &mut BootSet) {
    let Some(file) = file_at(tree, path) else { return };
    let chain = [before, std::slice::from_ref(&file)].concat();
    if let Some(load) = Load::of(tree, loader, path) {
        for (file, rest) in load.chain_of_each() {
            let chain = [before, &rest].concat();
            let shorter = set
                .get(&file)
                .is_none_or(|known| (chain.len(), &chain) < (known.len(), known));
            if shorter {
                set.insert(file, chain);
            }
        }
        return;
    }
    let start = tree.open(path).and_then(|source| source.read_at(0, FIRST_LINE));
    // A script that names itself, or a chain of scripts: Linux follows four.
    if before.len() < 4
        && let Some(script) = start.ok().and_then(|start| Script::parse(&start))
    {
        for (interpreter, _) in script.programs(loader, OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin")) {
            add(tree, loader, &interpreter, &chain, set);
        }
    }
    set.entry(file).or_insert(chain);
}

/// Sonames of the name service modules that `/etc/nsswitch.conf` asks for (nsswitch.conf(5)).
fn name_services(tree: &Tree) -> BTreeSet<String> {
    let text = tree
        .open(Path::new("/etc/nsswitch.conf"))
        .and_then(|source| source.read_all(LARGEST));
    let text = text.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let services = lines.filter_map(|line| line.split_once(':')).flat_map(|(_, services)| {
        // What stands in brackets says what to do after a service, and is none.
        let outside = services
            .split('[')
            .map(|part| part.rsplit(']').next().unwrap_or_default());
        outside
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let mut names: BTreeSet<String> = services.collect();
    // What the C library does without a configuration.
    names.extend(["files", "dns"].map(str::to_owned));
    names.into_iter().map(|name| format!("libnss_{name}.so.2")).collect()
}

/// Where the programs of the set would find the library `name`.
fn loader_path(loader: &Loader<'_>, tree: &Tree, name: &str, set: &BootSet) -> Option<PathBuf> {
    set.keys().find_map(|file| {
        let closure = crate::elf::closure::Closure::of(loader, &absolute(file)).ok()?;
        let found = closure.would_find(loader, 0, OsStr::new(name))?;
        file_at(tree, &found).map(|_| found)
    })
}

/// The programs that units and scripts of the init name, by path or along `PATH`.
fn programs_of_init(tree: &Tree) -> Result<BTreeSet<PathBuf>, SlimError> {
    let mut found = BTreeSet::new();
    for folder in INIT_FILES.iter().map(Path::new) {
        for file in tree.walk(folder).unwrap_or_default() {
            let text = tree.open(&file).and_then(|source| source.read_at(0, LARGEST));
            let text = text.map_err(|source| SlimError::Unreadable { path: file, source })?;
            let separates = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"/._+-".contains(byte));
            for word in text.split(separates).filter(|word| !word.is_empty()) {
                // `ExecStart=-/usr/bin/x`: signs before the path say how it is started.
                let word = OsStr::from_bytes(word.trim_ascii_start().strip_prefix(b"-").unwrap_or(word));
                let places = PATH.iter().map(|folder| Path::new(folder).join(word));
                found.extend(places.filter(|place| is_program(tree, place)));
            }
        }
    }
    for folder in INIT_PROGRAMS.iter().map(Path::new) {
        let files = tree.walk(folder).unwrap_or_default();
        found.extend(files.into_iter().filter(|file| is_program(tree, file)));
    }
    Ok(found)
}

/// Whether an executable file stands at `path`, links followed.
fn is_program(tree: &Tree, path: &Path) -> bool {
    let entry = file_at(tree, path).and_then(|file| tree.get(&file).cloned());
    entry.is_some_and(|entry| matches!(entry.kind, Kind::File(_)) && entry.mode & 0o111 != 0)
}
