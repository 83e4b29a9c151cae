//! Commands that validate the guest, and the job's environment.

use std::collections::BTreeMap;

use super::words;
use crate::recipe::codes;
use crate::recipe::located::Located;
use crate::recipe::model::{self, List, Scalar, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{Expectation, Validation};

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
