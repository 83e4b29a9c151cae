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
use super::census::file_at;
use crate::elf::closure::Closure;
use crate::elf::families::{Certainty, reached, uses};
use crate::elf::file_system::FileSystem as _;
use crate::elf::loader::Loader;
use crate::elf::scripts::{FIRST_LINE, Script};
use crate::guest::hook;
use crate::recipe::Init;
use crate::rootfs::tree::{Kind, Tree, TreePath};

/// The shell counts whatever the hook does: it is what is left to look for a fault with.
const SHELL: &str = "/bin/sh";
/// `PATH` of an init.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The same, by folder.
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
/// The family of plug-ins for character sets.
const CHARACTER_SETS: &str = "gconv";
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
    Ok(set)
}

/// Adds the program or script at `path` with all that is loaded for it; `before` leads to it.
fn add(tree: &Tree, loader: &Loader<'_>, path: &Path, before: &[TreePath], set: &mut BootSet) {
    let Some(file) = file_at(tree, path) else { return };
    if let Ok(closure) = Closure::of(loader, path) {
        for chain in chains(tree, loader, &closure) {
            let chain = [before, &chain].concat();
            let Some(file) = chain.last().cloned() else { continue };
            let shorter = |known: &Vec<TreePath>| (chain.len(), &chain) < (known.len(), known);
            if set.get(&file).is_none_or(shorter) {
                set.insert(file, chain);
            }
        }
        return;
    }
    let chain = [before, std::slice::from_ref(&file)].concat();
    let start = tree.open(path).and_then(|source| source.read_at(0, FIRST_LINE));
    // Linux follows four scripts that are started by scripts.
    if before.len() < 4
        && let Some(script) = start.ok().and_then(|start| Script::parse(&start))
    {
        for (interpreter, _) in script.programs(loader, OsStr::new(SEARCH_PATH)) {
            add(tree, loader, &interpreter, &chain, set);
        }
    }
    set.entry(file).or_insert(chain);
}

/// A chain from the program of `closure` to each file that it loads when it starts, or opens as a
/// plug-in that is configured.
fn chains(tree: &Tree, loader: &Loader<'_>, closure: &Closure) -> Vec<Vec<TreePath>> {
    let mut plugins = uses(loader, closure);
    // Converters of character sets are only opened in a locale, which nothing has that early.
    plugins.retain(|used| used.certainty == Certainty::Configured && used.family != CHARACTER_SETS);
    let reached = reached(closure, &plugins);
    let chain = |path: &PathBuf| {
        let steps = std::iter::successors(Some(path), |path| reached.get(*path)?.by.as_ref());
        // A plug-in may be triggered by a file that it brought in itself.
        let mut chain: Vec<TreePath> = steps
            .take(reached.len())
            .filter_map(|path| file_at(tree, path))
            .collect();
        chain.reverse();
        chain
    };
    reached.keys().map(chain).collect()
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
