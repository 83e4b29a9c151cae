//! Commands that validate the guest, and the job's environment.

use std::collections::BTreeMap;

use super::words;
use crate::guest::template_disk::{LONGEST_PROGRAM, MOST_MODULES, MOST_PROGRAMS, SHELL};
use crate::recipe::codes;
use crate::recipe::located::Located;
use crate::recipe::model::{self, List, Scalar, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{Expectation, Preload, Validation, Warm};

/// The guest keeps 64 commands, and hpcvm has some of its own (`guest::template_disk`).
const MOST_TOUCHES: usize = 60;

/// Validations in the order written.
pub(super) fn validations(validations: List<model::Validation>, report: &mut Report) -> Vec<Validation> {
    let mut resolved: Vec<Validation> = Vec::new();
    for validation in validations.unwrap_or_default() {
        let model::Validation { name, run, expect } = validation.value;
        if resolved.iter().any(|other| other.name == name.value) {
            let message = format!("there are two validations {}", quoted(&name.value));
            let added = report.add(&name.place, codes::VALIDATION_TWICE, message);
            added.help("give each a name of its own");
        }
        if run.value.first().is_none_or(|program| program.0.is_empty()) {
            let message = format!("{} runs no program", quoted(&name.value));
            let added = report.add(&run.place, codes::VALIDATION, message);
            added.help("name the program first: 'run: [uname, -m]'");
        }
        if run.value.iter().any(|word| word.0.contains('\0')) {
            let added = report.add(&run.place, codes::VALIDATION, "an argument contains a null character");
            added.help("take it out: no program can be given one");
        }
        let expect = expect.unwrap_or_default();
        resolved.push(Validation {
            name: name.value,
            run: run.value.into_iter().map(|word| word.0).collect(),
            expect: Expectation {
                stdout: expect.stdout,
                status: expect.status.unwrap_or(0),
            },
        });
    }
    resolved
}

/// What templates do before they are saved.
pub(super) fn warm(warm: model::Warm, report: &mut Report) -> Warm {
    let touch = warm.touch.unwrap_or_default();
    for command in &touch {
        if command.value.trim().is_empty() || command.value.contains('\0') {
            let added = report.add(
                &command.place,
                codes::WARM,
                "this is not a command that a shell can run",
            );
            added.help("write what you would write after 'sh -c'");
        }
    }
    let preload = warm.preload.unwrap_or_default();
    let python3 = preload.python3.unwrap_or_default();
    for module in &python3 {
        if !module.value.split('.').all(words::is_variable) {
            let message = format!("{} cannot name a module of Python", quoted(&module.value));
            let added = report.add(&module.place, codes::WARM, message);
            added.help("write what you would write after 'import', such as numpy or os.path");
        }
    }
    let programs = held_programs(preload.programs.unwrap_or_default(), report);
    let limits = [
        (touch.get(MOST_TOUCHES), "commands", MOST_TOUCHES),
        (python3.get(MOST_MODULES), "modules", MOST_MODULES),
        (programs.get(MOST_PROGRAMS), "programs", MOST_PROGRAMS),
    ];
    for (first, what, limit) in limits {
        if let Some(first) = first {
            let message = format!("these are more {what} than a template takes, {limit}");
            report.add(&first.place, codes::WARM, message).help("take some out");
        }
    }
    let values = |list: Vec<Word>| list.into_iter().map(|word| word.value).collect();
    Warm {
        touch: values(touch),
        preload: Preload {
            python3: values(python3),
            programs: values(programs),
        },
    }
}

/// Programs that are held, each once; the shell always is.
fn held_programs(programs: Vec<Word>, report: &mut Report) -> Vec<Word> {
    let mut held: Vec<Word> = Vec::new();
    for program in programs {
        let path = &program.value;
        let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains(char::is_control);
        if !is_path || path.len() > LONGEST_PROGRAM {
            let message = format!("{} is no path of a program that can wait", quoted(path));
            let added = report.add(&program.place, codes::WARM, message);
            added.help("write the path as the guest sees it, from '/' on, such as /usr/bin/perl; at most 255 bytes");
        }
        if path != SHELL && held.iter().all(|other| other.value != *path) {
            held.push(program);
        }
    }
    held
}

/// The job's environment.
pub(super) fn environment(
    environment: BTreeMap<Word, Located<Scalar>>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    for (name, value) in &environment {
        if !words::is_variable(&name.value) {
            let message = format!("{} cannot name an environment variable", quoted(&name.value));
            let added = report.add(&name.place, codes::ENVIRONMENT, message);
            added.help("use letters, digits and '_', no digit first");
        }
        if value.value.0.contains('\0') {
            let message = format!("the value of {} contains a null character", quoted(&name.value));
            report
                .add(&value.place, codes::ENVIRONMENT, message)
                .help("take it out");
        }
    }
    environment
        .into_iter()
        .map(|(name, value)| (name.value, value.value.0))
        .collect()
}
