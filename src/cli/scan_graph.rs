//! What loads what, drawn: as a tree, for Graphviz, and backwards.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use super::scan_plugins::{Opening, openings};
use super::ui::Style;
use crate::elf::closure::{Closure, Edge};
use crate::elf::scan::{Found, Scanned};
use crate::elf::search::Rule;

/// A file as a tree of what it needs. What was shown once is not unfolded again.
pub(super) fn tree(scanned: &Scanned, style: Style) -> String {
    let mut text = style.strong(&scanned.path.display().to_string());
    match &scanned.found {
        Found::Elf(program) => {
            let object = &program.closure.objects[0].object;
            let linkage = if object.dynamic { "" } else { ", static" };
            let _ = writeln!(text, " ({}{linkage})", object.abi);
            let mut drawing = Drawing {
                closure: &program.closure,
                needs: program.closure.needs(),
                shown: HashSet::from([0]),
                style,
                text,
            };
            drawing.below(0, "");
            drawing.text
        }
        Found::Script(programs) => {
            let names: Vec<String> = programs.iter().map(|(path, _)| path.display().to_string()).collect();
            text + &format!(" (script of {})\n", names.join(" "))
        }
        Found::Faulty(_) => text + "\n",
        Found::Other => text + " (neither ELF nor script)\n",
    }
}

/// Columns of indentation beyond which nothing is unfolded.
const DEEPEST: usize = 4 * 100;

struct Drawing<'a> {
    closure: &'a Closure,
    needs: std::collections::HashMap<usize, Vec<&'a Edge>>,
    shown: HashSet<usize>,
    style: Style,
    text: String,
}

impl Drawing<'_> {
    /// A chain of needs may be as long as there are files: past a depth that no real program
    /// has, it is not unfolded.
    fn below(&mut self, from: usize, indent: &str) {
        if indent.chars().count() > DEEPEST {
            return;
        }
        let edges = self.needs.remove(&from).unwrap_or_default();
        for (place, edge) in edges.iter().enumerate() {
            let last = place + 1 == edges.len();
            let (branch, deeper) = if last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            let _ = write!(self.text, "{indent}{branch}{}", edge.name.display());
            match &edge.to {
                Err(_) => {
                    let _ = writeln!(self.text, " => {}", self.style.error("not found"));
                }
                Ok(to) => {
                    let loaded = &self.closure.objects[*to];
                    let _ = write!(self.text, " => {}", loaded.path.display());
                    if self.shown.insert(*to) {
                        let _ = writeln!(self.text, " [{}]", rule(&loaded.rule));
                        self.below(*to, &format!("{indent}{deeper}"));
                    } else {
                        self.text.push('\n');
                    }
                }
            }
        }
    }
}

/// A rule in a few words.
fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Root => "asked for".into(),
        Rule::Interpreter => "interpreter".into(),
        Rule::Path => "path".into(),
        Rule::Rpath(of) => format!("rpath of {}", of.display()),
        Rule::LibraryPath => "LD_LIBRARY_PATH".into(),
        Rule::Runpath => "runpath".into(),
        Rule::Cache => "ld.so.cache".into(),
        Rule::Configured => "ld.so.conf".into(),
        Rule::Default => "default folder".into(),
    }
}

/// All needs of all files and plug-ins, each once.
fn needs(scanned: &[Scanned]) -> BTreeSet<Opening> {
    let programs = scanned.iter().filter_map(|file| match &file.found {
        Found::Elf(program) => Some(program),
        _ => None,
    });
    let edges = programs.flat_map(|program| {
        let path = |index: usize| program.closure.objects[index].path.display().to_string();
        program.closure.edges.iter().map(move |edge| {
            let name = edge.name.display().to_string();
            match edge.to {
                Ok(to) => (path(edge.from), name, path(to), true, ""),
                Err(_) => (path(edge.from), name.clone(), name, false, ""),
            }
        })
    });
    edges.chain(openings(scanned)).collect()
}

/// The whole as a graph in Graphviz's language; what is missing is red.
pub(super) fn dot(scanned: &[Scanned]) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = "digraph scan {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    let mut lines = BTreeSet::new();
    for (from, _, to, found, family) in needs(scanned) {
        // A plug-in that is not there stops nothing.
        if !found && family.is_empty() {
            lines.insert(format!("  {} [color=red];\n", quote(&to)));
        }
        let form = match family {
            "" => String::new(),
            family => format!(" [style=dashed, label={}]", quote(family)),
        };
        lines.insert(format!("  {} -> {}{form};\n", quote(&from), quote(&to)));
    }
    text.extend(lines);
    text + "}\n"
}

/// Who needs a file, each with the family through which it opens it, if it does.
type Users = BTreeMap<String, BTreeMap<String, &'static str>>;

/// Everything that leads to the library `name`, as a tree from the library up to what was
/// scanned; `None` where nothing needs it. What was shown once is not unfolded again.
pub(super) fn why(scanned: &[Scanned], name: &str, style: Style) -> Option<String> {
    let mut users = Users::new();
    let mut wanted = BTreeSet::new();
    for (from, by, to, _, family) in needs(scanned) {
        if by == name || to == name {
            wanted.insert(to.clone());
        }
        if from != to {
            let known = users.entry(to).or_default().entry(from).or_insert(family);
            // What is needed anyway needs no plug-in.
            if family.is_empty() {
                *known = family;
            }
        }
    }
    let mut text = String::new();
    for target in &wanted {
        text += &style.strong(target);
        text.push('\n');
        above(&users, target, "", &mut HashSet::new(), &mut text);
    }
    (!wanted.is_empty()).then_some(text)
}

fn above(users: &Users, target: &str, indent: &str, shown: &mut HashSet<String>, text: &mut String) {
    let below = users.get(target).into_iter().flatten();
    let count = users.get(target).map_or(0, BTreeMap::len);
    for (place, (user, family)) in below.enumerate() {
        let last = place + 1 == count;
        let (branch, deeper) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let again = !shown.insert(user.clone()) && users.contains_key(user);
        let by = match *family {
            "" => String::new(),
            family => format!(" (plug-in: {family})"),
        };
        let mark = if again { " (see above)" } else { "" };
        let _ = writeln!(text, "{indent}{branch}{user}{by}{mark}");
        if !again && indent.chars().count() < DEEPEST {
            above(users, user, &format!("{indent}{deeper}"), shown, text);
        }
    }
}
