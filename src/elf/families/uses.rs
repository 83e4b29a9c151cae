//! Which plug-ins a program may load, with all that each of them needs.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::closure::{Closure, Loaded};
use super::super::loader::Loader;
use super::super::search::Miss;
use super::glob;
use super::strings::library_names;
use super::table::{Candidate, Finder, Row, TABLE, Trigger};

/// How sure it is that a program loads what a family lists, when it comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// A configuration file or a folder that the library reads names it.
    Configured,
    /// A file that calls `dlopen` has its name among its strings.
    Possible,
}

/// One file that may be loaded while a program runs.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name or path by which it is opened.
    pub name: OsString,
    /// What names it: a configuration file, a folder.
    pub why: String,
    /// The file with all that it needs itself, the file first; or why it cannot be opened.
    pub found: Result<Arc<Closure>, Miss>,
}

impl Member {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        let closure = self.found.as_ref().ok()?;
        Some(&closure.objects[0].path)
    }
}

/// The plug-ins of one family that a program may load. Programs that may load the same ones share
/// the list.
#[derive(Clone, Debug)]
pub struct Use {
    /// The family, such as `nss`; `dlopen` for names among strings.
    pub family: &'static str,
    /// How sure it is.
    pub certainty: Certainty,
    /// The file that brings the family in: it calls the function, or is the library.
    pub trigger: PathBuf,
    /// The plug-ins, in the order in which they are named.
    pub members: Arc<[Member]>,
}

/// A list of plug-ins, and which families these bring in themselves.
#[derive(Clone, Debug)]
pub(in super::super) struct Members {
    list: Arc<[Member]>,
    rows: u64,
}

/// On what a list of plug-ins depends: the row of the table (or none, for strings), the file that
/// opens them, and those whose `DT_RPATH` holds for it.
pub(in super::super) type Key = (Option<usize>, PathBuf, Vec<PathBuf>);

/// All plug-ins that the program of `closure` may load, by family in the order of the table,
/// those of strings last. Plug-ins that plug-ins bring in are among them; names among the strings
/// of plug-ins are not.
#[must_use]
pub fn uses(loader: &Loader<'_>, closure: &Closure) -> Vec<Use> {
    let mut found = Vec::new();
    let mut strings = Vec::new();
    let mut rows = 0;
    for (index, loaded) in closure.objects.iter().enumerate() {
        let marks = loader.marks(loaded);
        for row in bits(marks.rows & !rows) {
            rows |= 1 << row;
            found.extend(configured(loader, closure, closure, index, row));
        }
        if marks.opens {
            strings.push(possible(loader, closure, index));
        }
    }
    // Plug-ins may bring in further families; each family is followed once.
    let mut next = 0;
    while next < found.len() {
        let (_, members): &(usize, (Use, Members)) = &found[next];
        let members = members.1.clone();
        let mut more = Vec::new();
        if members.rows & !rows != 0 {
            for plugin in members.list.iter().filter_map(|member| member.found.as_ref().ok()) {
                for (index, loaded) in plugin.objects.iter().enumerate() {
                    for row in bits(loader.marks(loaded).rows & !rows) {
                        rows |= 1 << row;
                        more.extend(configured(loader, closure, plugin, index, row));
                    }
                }
            }
        }
        found.extend(more);
        next += 1;
    }
    found.sort_by_key(|(row, _)| *row);
    let found = found.into_iter().map(|(_, (used, _))| used).chain(strings);
    found.filter(|used| !used.members.is_empty()).collect()
}

fn bits(mut rows: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (rows != 0).then(|| rows.trailing_zeros() as usize)?;
        rows &= rows - 1;
        Some(next)
    })
}

/// The plug-ins of a row that the file `index` of `inside` triggers, which is the program's own
/// closure or that of one of its plug-ins.
fn configured(
    loader: &Loader<'_>,
    program: &Closure,
    inside: &Closure,
    index: usize,
    row: usize,
) -> Option<(usize, (Use, Members))> {
    let entry = &TABLE[row];
    let chain = match entry.trigger {
        // The C library opens what its functions need.
        Trigger::Imports(_) => match program.named(OsStr::new(C_LIBRARY)) {
            Some(library) => program.chain(library),
            None => inside.chain(inside.named(OsStr::new(C_LIBRARY))?),
        },
        Trigger::Soname(_) | Trigger::Defines(_) => inside.chain(index),
    };
    let members = members(loader, Some(row), chain, |chain| candidates(loader, entry, chain));
    let used = Use {
        family: entry.family,
        certainty: Certainty::Configured,
        trigger: inside.objects[index].path.clone(),
        members: members.list.clone(),
    };
    Some((row, (used, members)))
}

const C_LIBRARY: &str = "libc.so.6";

fn candidates(loader: &Loader<'_>, row: &Row, opener: &Loaded) -> Vec<Candidate> {
    match row.finder {
        Finder::Code(find) => find(loader, opener),
        Finder::Name(name) => vec![Candidate {
            name: name.into(),
            why: "the C library opens it".into(),
        }],
        Finder::Beside(patterns) => {
            let home = home(loader, &opener.path);
            let files = |pattern: &&str| {
                let why = format!("{pattern} beside {}", opener.path.display());
                let found = glob::files(loader.files(), &home, pattern).into_iter();
                let found = found.map(move |path| Candidate {
                    name: path.into(),
                    why: why.clone(),
                });
                found.collect::<Vec<_>>()
            };
            let mut seen = HashSet::new();
            let found = patterns.iter().flat_map(files);
            found.filter(|candidate| seen.insert(candidate.name.clone())).collect()
        }
    }
}

/// What the file `index` of a program may open, from names among its strings.
fn possible(loader: &Loader<'_>, closure: &Closure, index: usize) -> Use {
    let members = members(loader, None, closure.chain(index), |opener| {
        let source = loader.files().open(&opener.path).ok();
        let names = source.map(|source| library_names(&source)).unwrap_or_default();
        let own = &opener.object;
        let others = names
            .into_iter()
            .filter(|name| own.soname.as_ref() != Some(name) && !own.needed.contains(name));
        let why = format!("a string of {}", opener.path.display());
        others.map(|name| Candidate { name, why: why.clone() }).collect()
    });
    Use {
        family: "dlopen",
        certainty: Certainty::Possible,
        trigger: closure.objects[index].path.clone(),
        members: members.list,
    }
}

/// The members for the file that opens them, the first of `chain`; found once for all programs
/// in which the same search paths hold.
fn members(
    loader: &Loader<'_>,
    row: Option<usize>,
    mut chain: Vec<Loaded>,
    candidates: impl FnOnce(&Loaded) -> Vec<Candidate>,
) -> Members {
    let inherits = chain[1..].iter().any(|loaded| loaded.object.rpath.is_some());
    let by_program = loader.settings().library_path.as_bytes().contains(&b'$');
    if !inherits && !by_program {
        chain.truncate(1);
    }
    let context = chain[1..].iter().map(|loaded| loaded.path.clone()).collect();
    let key: Key = (row, chain[0].path.clone(), context);
    loader.members(&key, || {
        let candidates = candidates(&chain[0]);
        let chain: Arc<[Loaded]> = chain.into();
        let open = |candidate: Candidate| Member {
            found: Closure::dlopen(loader, &candidate.name, chain.clone()).map(Arc::new),
            name: candidate.name,
            why: candidate.why,
        };
        let list: Arc<[Member]> = candidates.into_iter().map(open).collect();
        let plugins = list.iter().filter_map(|member| member.found.as_ref().ok());
        let objects = plugins.flat_map(|plugin| &plugin.objects);
        let rows = objects.fold(0, |rows, loaded| rows | loader.marks(loaded).rows);
        Members { list, rows }
    })
}

/// The folder of a library without symbolic links to folders: plug-ins stand beside it. That the
/// library itself may be a link does not matter.
pub(super) fn home(loader: &Loader<'_>, library: &Path) -> PathBuf {
    let folder = library.parent().unwrap_or(Path::new("/"));
    loader.files().real_path(folder).unwrap_or_else(|_| folder.to_owned())
}
