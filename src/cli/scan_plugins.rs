//! What `hpcvm scan` says of plug-ins: below a tree, in JSON, and as edges of graphs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::ui::Style;
use crate::elf::closure::Closure;
use crate::elf::families::{Certainty, Member, Use, plugin_files};
use crate::elf::scan::{Found, Program, Scanned};

/// As many plug-ins of one family and folder are told one by one; of more, their number.
const ONE_BY_ONE: usize = 6;

/// The members that a program does not load anyway, by family, each once.
fn families(program: &Program) -> BTreeMap<(Certainty, &'static str), Vec<&Member>> {
    let mut families: BTreeMap<_, Vec<&Member>> = BTreeMap::new();
    for used in &program.plugins {
        let known = families.entry((used.certainty, used.family)).or_default();
        for member in used.members.iter() {
            if is_new(&program.closure, member) && !known.iter().any(|other| other.name == member.name) {
                known.push(member);
            }
        }
    }
    families.retain(|_, members| !members.is_empty());
    families
}

fn is_new(closure: &Closure, member: &Member) -> bool {
    let loaded = |plugin: &std::sync::Arc<Closure>| closure.file(&plugin.objects[0].id).is_some();
    closure.named(&member.name).is_none() && !member.found.as_ref().is_ok_and(loaded)
}

/// How many files a program may open beyond those that it loads when it starts.
pub(super) fn count(program: &Program) -> usize {
    let members = families(program).into_values().flatten();
    let paths: BTreeSet<&Path> = members.filter_map(Member::path).collect();
    paths.len()
}

/// The plug-ins of a program, a line for each family and each plug-in.
pub(super) fn lines(program: &Program, style: Style) -> String {
    let mut text = String::new();
    for ((certainty, family), members) in families(program) {
        let sure = if certainty == Certainty::Possible {
            "possible by"
        } else {
            "plug-ins of"
        };
        let _ = writeln!(text, "  {sure} {family}:");
        let mut folders: BTreeMap<PathBuf, Vec<&Member>> = BTreeMap::new();
        for member in members {
            let place = member.path().unwrap_or(Path::new(&member.name));
            let folder = place.parent().unwrap_or(Path::new("")).to_owned();
            folders.entry(folder).or_default().push(member);
        }
        for (folder, members) in folders {
            let there = members.iter().filter(|member| member.found.is_ok()).count();
            if there > ONE_BY_ONE {
                let _ = writeln!(text, "    {there} files in {}", folder.display());
            }
            let shown = members
                .iter()
                .filter(|member| member.found.is_err() || there <= ONE_BY_ONE);
            for member in shown {
                text += &line(&program.closure, member, style);
            }
        }
    }
    text
}

fn line(closure: &Closure, member: &Member, style: Style) -> String {
    let mut text = format!("    {} => ", member.name.display());
    match &member.found {
        Ok(plugin) => {
            let _ = write!(text, "{} [{}]", plugin.objects[0].path.display(), member.why);
            // The first of these is the plug-in itself.
            for (index, _) in plugin_files(closure, plugin).into_iter().skip(1) {
                let _ = write!(text, "\n      with {}", plugin.objects[index].path.display());
            }
            for (edge, _) in plugin.misses().filter(|(edge, _)| closure.named(&edge.name).is_none()) {
                let _ = write!(text, "\n      without {}, which is not found", edge.name.display());
            }
        }
        Err(_) => {
            let _ = write!(text, "{} [{}]", style.warning("not found"), member.why);
        }
    }
    text + "\n"
}

/// The lists of plug-ins in JSON, each once whatever the number of its users.
#[derive(Debug, Default)]
pub(super) struct Lists {
    places: HashMap<*const Member, usize>,
    lists: Vec<Value>,
}

impl Lists {
    /// The plug-ins of a file, as places in the lists.
    pub(super) fn of(&mut self, file: &Scanned) -> Value {
        let uses = match &file.found {
            Found::Elf(program) => &program.plugins[..],
            _ => &[],
        };
        uses.iter()
            .map(|used| json!({ "trigger": used.trigger.to_string_lossy(), "list": self.place(used) }))
            .collect::<Vec<_>>()
            .into()
    }

    fn place(&mut self, used: &Use) -> usize {
        let next = self.lists.len();
        let place = *self.places.entry(used.members.as_ptr()).or_insert(next);
        if place == next {
            self.lists.push(json!({
                "family": used.family,
                "certainty": used.certainty,
                "members": used.members.iter().map(member).collect::<Vec<_>>(),
            }));
        }
        place
    }

    /// All lists.
    pub(super) fn all(self) -> Vec<Value> {
        self.lists
    }
}

fn member(member: &Member) -> Value {
    let plugin = member.found.as_ref().ok();
    let needs = plugin.into_iter().flat_map(|plugin| &plugin.edges);
    let needs = needs.map(|edge| {
        let path = |to: &usize| plugin.map(|plugin| plugin.objects[*to].path.to_string_lossy().into_owned());
        json!({ "name": edge.name.to_string_lossy(), "path": edge.to.as_ref().ok().and_then(path) })
    });
    json!({
        "name": member.name.to_string_lossy(),
        "why": member.why,
        "path": member.path().map(Path::to_string_lossy),
        "needs": needs.collect::<Vec<_>>(),
    })
}

/// That a file opens or needs another: who, by which name, which file (or the name, where nothing
/// was found), whether it was found; and the family where it is opened.
pub(super) type Opening = (String, String, String, bool, &'static str);

/// Everything that plug-ins add to what files need.
pub(super) fn openings(scanned: &[Scanned]) -> BTreeSet<Opening> {
    let programs = scanned.iter().filter_map(|file| match &file.found {
        Found::Elf(program) => Some(program),
        _ => None,
    });
    let uses: BTreeMap<_, &Use> = programs
        .flat_map(|program| &program.plugins)
        .map(|used| ((used.members.as_ptr(), &used.trigger), used))
        .collect();
    let mut found = BTreeSet::new();
    for used in uses.into_values() {
        let trigger = used.trigger.display().to_string();
        for member in used.members.iter() {
            let name = member.name.display().to_string();
            let path = member.path().map(|path| path.display().to_string());
            let is_there = path.is_some();
            let to = path.unwrap_or_else(|| name.clone());
            found.insert((trigger.clone(), name, to, is_there, used.family));
            if let Ok(plugin) = &member.found {
                let path = |index: usize| plugin.objects[index].path.display().to_string();
                for edge in &plugin.edges {
                    let name = edge.name.display().to_string();
                    let to = edge.to.as_ref().map_or_else(|_| name.clone(), |to| path(*to));
                    found.insert((path(edge.from), name, to, edge.to.is_ok(), ""));
                }
            }
        }
    }
    found
}
