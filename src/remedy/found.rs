//! What a scan finds that a program lacks.

use super::Lack;
use crate::architecture::Architecture;
use crate::elf::abi::Abi;
use crate::elf::scan::{Found, Program, Scanned};
use crate::elf::search::Miss;
use crate::elf::verify::Gravity;

/// Everything without which the file does not work in a guest of this architecture, each once.
#[must_use]
pub fn lacks(scanned: &Scanned, architecture: Architecture) -> Vec<Lack> {
    let mut lacks = fatal(scanned, architecture);
    if let Found::Elf(program) = &scanned.found {
        lacks.extend(optional(program));
    }
    lacks.sort();
    lacks.dedup();
    lacks
}

/// Everything without which the file does not even start, each once.
#[must_use]
pub fn fatal(scanned: &Scanned, architecture: Architecture) -> Vec<Lack> {
    let mut lacks = match &scanned.found {
        Found::Elf(program) => of_program(scanned, program, architecture),
        Found::Script(programs) => {
            let missing = programs.iter().filter(|(_, there)| !there);
            missing
                .map(|(path, _)| Lack::Interpreter {
                    path: path.display().to_string(),
                    needed_by: Some(scanned.path.display().to_string()),
                })
                .collect()
        }
        Found::Faulty(fault) => vec![Lack::Other {
            what: format!("{} {fault}", scanned.path.display()),
        }],
        Found::Other => Vec::new(),
    };
    lacks.sort();
    lacks.dedup();
    lacks
}

/// Whether a guest of this architecture executes files of this kind. A 64-bit kernel executes
/// 32-bit programs too; whether their libraries are there is another matter.
const fn executes(architecture: Architecture, abi: Abi) -> bool {
    match architecture {
        Architecture::I386 => abi.is_i386(),
        Architecture::Amd64 => abi.is_i386() || abi.is_x86_64(),
    }
}

fn of_program(scanned: &Scanned, program: &Program, architecture: Architecture) -> Vec<Lack> {
    let closure = &program.closure;
    let own = &closure.objects[0].object;
    if !executes(architecture, own.abi) {
        return vec![Lack::Architecture {
            needs: own.abi.to_string(),
            needed_by: scanned.path.display().to_string(),
        }];
    }
    let who = |index: usize| closure.objects[index].path.display().to_string();
    let misses = closure.misses().map(|(edge, miss)| {
        let name = edge.name.display().to_string();
        let starts = own
            .interpreter
            .as_ref()
            .is_some_and(|path| *path.as_os_str() == *edge.name);
        match miss {
            Miss::NotFound if starts && edge.from == 0 => Lack::Interpreter {
                path: name,
                needed_by: Some(who(0)),
            },
            Miss::NotFound => Lack::Library {
                name,
                needed_by: Some(who(edge.from)),
            },
            Miss::Unusable(path, fault) => Lack::Other {
                what: format!("{}, which {} needs, {fault}", path.display(), who(edge.from)),
            },
        }
    });
    let fatal = program
        .versions
        .iter()
        .filter(|missing| missing.gravity == Gravity::Fatal);
    let versions = fatal.map(|missing| Lack::Version {
        library: who(missing.library),
        version: missing.need.version.clone(),
        needed_by: Some(who(missing.from)),
    });
    misses.chain(versions).collect()
}

/// Libraries that the program says it cannot do without, but loads by itself.
fn optional(program: &Program) -> impl Iterator<Item = Lack> {
    let missing = program.optional.iter().filter(|optional| optional.is_missing());
    missing.filter_map(|optional| {
        let needed_by = program.closure.objects[optional.from].path.display().to_string();
        Some(Lack::Library {
            name: optional.dlopen.soname.first()?.clone(),
            needed_by: Some(needed_by),
        })
    })
}
