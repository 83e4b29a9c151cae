//! What `hpcvm scan` says of each file: problems, a table, JSON.

use comfy_table::{ContentArrangement, Table, presets};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::image_table::flush_left;
use super::scan_plugins::{self, Lists};
use super::ui::Style;
use crate::elf::closure::Closure;
use crate::elf::loader::Loader;
use crate::elf::scan::{Found, Program, Scanned, providers};
use crate::elf::search::Miss;
use crate::elf::verify::{Gravity, MissingVersion};

/// Everything that a file lacks, one sentence each.
pub(super) fn problems(loader: &Loader<'_>, scanned: &Scanned) -> Vec<String> {
    match &scanned.found {
        Found::Elf(program) => problems_of(loader, program),
        Found::Script(programs) => {
            let missing = programs.iter().filter(|(_, there)| !there);
            missing
                .map(|(path, _)| format!("its interpreter {} is missing", path.display()))
                .collect()
        }
        Found::Faulty(fault) => vec![fault.to_string()],
        Found::Other => Vec::new(),
    }
}

fn problems_of(loader: &Loader<'_>, program: &Program) -> Vec<String> {
    let closure = &program.closure;
    let who = |index: usize| closure.objects[index].path.display();
    let misses = closure.misses().map(|(edge, miss)| {
        let name = edge.name.display();
        match miss {
            Miss::NotFound => format!("{name} is missing, which {} needs", who(edge.from)),
            Miss::Unusable(path, fault) => {
                format!("{name}, which {} needs: {} {fault}", who(edge.from), path.display())
            }
        }
    });
    let fatal = program
        .versions
        .iter()
        .filter(|missing| missing.gravity == Gravity::Fatal);
    let versions = fatal.map(|missing| version(loader, closure, missing));
    let symbols = program.symbols.iter().map(|missing| {
        let name = &missing.name;
        format!(
            "no library defines the symbol {name}, which {} needs",
            who(missing.from)
        )
    });
    let optional = program.optional.iter().filter(|optional| optional.is_missing());
    let optional = optional.map(|optional| {
        let names = optional.dlopen.soname.join(" or ");
        format!("{names} is missing, which {} loads by dlopen", who(optional.from))
    });
    misses.chain(versions).chain(symbols).chain(optional).collect()
}

fn version(loader: &Loader<'_>, closure: &Closure, missing: &MissingVersion) -> String {
    let library = &closure.objects[missing.library];
    let need = &missing.need;
    let others = providers(loader, &need.library, &need.version, library.object.abi);
    let others: Vec<String> = others.iter().map(|path| path.display().to_string()).collect();
    let remedy = if others.is_empty() {
        "nothing that was scanned has it".to_owned()
    } else {
        format!("it is in {}", others.join(", "))
    };
    format!(
        "{} lacks the version {}, which {} needs; {remedy}",
        library.path.display(),
        need.version,
        closure.objects[missing.from].path.display()
    )
}

/// One line for each file: what it is, how many files it loads, how many problems it has.
pub(super) fn table(loader: &Loader<'_>, scanned: &[Scanned], style: Style) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["STATE", "KIND", "ABI", "LOADS", "PLUG-INS", "FILE"].map(|title| style.strong(title)));
    for file in scanned {
        let state = if file.is_broken() {
            style.error("problem")
        } else {
            style.good("ok")
        };
        let (kind, abi, loads, plugins) = match &file.found {
            Found::Elf(program) => {
                let object = &program.closure.objects[0].object;
                let kind = if object.is_program() { "program" } else { "library" };
                let loads = program.closure.objects.len() - 1;
                (kind, object.abi.to_string(), loads, scan_plugins::count(program))
            }
            Found::Script(_) => ("script", String::new(), 0, 0),
            Found::Faulty(_) => ("damaged", String::new(), 0, 0),
            Found::Other => ("other", String::new(), 0, 0),
        };
        let path = file.path.display().to_string();
        table.add_row([
            state,
            kind.to_owned(),
            abi,
            loads.to_string(),
            plugins.to_string(),
            path,
        ]);
        for problem in problems(loader, file) {
            table.add_row(["", "", "", "", "", &format!("-> {problem}")]);
        }
    }
    flush_left(&mut table);
    format!("{}\n", table.trim_fmt())
}

/// All that is known, as version 1 of the format in `docs/scan.md`. Written file by file: as one
/// value in memory it would be much larger than what it is made of.
pub(super) struct Json<'a> {
    pub(super) loader: &'a Loader<'a>,
    pub(super) scanned: &'a [Scanned],
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plugins = Lists::default();
        let uses: Vec<Value> = self.scanned.iter().map(|file| plugins.of(file)).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("scan", &1)?;
        map.serialize_entry("files", &Files { json: self, uses })?;
        map.serialize_entry("plugins", &plugins.all())?;
        map.end()
    }
}

/// The files, each made into a value when its turn comes.
struct Files<'a> {
    json: &'a Json<'a>,
    /// Its plug-ins, for each file.
    uses: Vec<Value>,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let files = self.json.scanned.iter().zip(&self.uses);
        serializer.collect_seq(files.map(|(file, plugins)| json_of(self.json.loader, file, plugins)))
    }
}

fn json_of(loader: &Loader<'_>, file: &Scanned, plugins: &Value) -> Value {
    let mut object = json!({
        "path": file.path.to_string_lossy(),
        "broken": file.is_broken(),
        "problems": problems(loader, file),
    });
    let (kind, more) = match &file.found {
        Found::Elf(program) => ("elf", elf(program, plugins)),
        Found::Script(programs) => ("script", json!({ "interpreters": interpreters(programs) })),
        Found::Faulty(fault) => ("damaged", json!({ "fault": fault.to_string() })),
        Found::Other => ("other", json!({})),
    };
    object["kind"] = kind.into();
    object[kind] = more;
    object
}

fn interpreters(programs: &[(std::path::PathBuf, bool)]) -> Vec<Value> {
    let entry = |(path, found): &(std::path::PathBuf, bool)| json!({ "path": path.to_string_lossy(), "found": found });
    programs.iter().map(entry).collect()
}

fn elf(program: &Program, plugins: &Value) -> Value {
    let closure = &program.closure;
    let loads = closure.objects.iter().map(|loaded| {
        let object = &loaded.object;
        json!({
            "path": loaded.path.to_string_lossy(),
            "rule": loaded.rule,
            "loaded-for": loaded.loader,
            "soname": object.soname.as_ref().map(|name| name.to_string_lossy()),
            "build-id": object.build_id,
        })
    });
    let needs = closure.edges.iter().map(|edge| {
        json!({
            "from": edge.from,
            "name": edge.name.to_string_lossy(),
            "to": edge.to.as_ref().ok(),
        })
    });
    let versions = program.versions.iter().map(|missing| {
        json!({
            "from": missing.from,
            "library": missing.library,
            "version": missing.need.version,
            "gravity": missing.gravity,
        })
    });
    let symbols = program
        .symbols
        .iter()
        .map(|missing| json!({ "from": missing.from, "name": missing.name }));
    let optional = program.optional.iter().map(|optional| {
        json!({
            "from": optional.from,
            "dlopen": optional.dlopen,
            "found": optional.found.as_ref().map(|path| path.to_string_lossy()),
        })
    });
    json!({
        "abi": closure.objects[0].object.abi.to_string(),
        "program": closure.objects[0].object.is_program(),
        "loads": loads.collect::<Vec<_>>(),
        "needs": needs.collect::<Vec<_>>(),
        "missing-versions": versions.collect::<Vec<_>>(),
        "missing-symbols": symbols.collect::<Vec<_>>(),
        "dlopen": optional.collect::<Vec<_>>(),
        "plugins": plugins,
    })
}
