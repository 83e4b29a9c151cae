//! Packages and purge rules.

use super::words;
use crate::recipe::codes;
use crate::recipe::model::{List, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::PurgeRule;

/// What is purged where no recipe says anything: what no batch job reads.
const DEFAULT_PURGE: [PurgeRule; 6] = [
    PurgeRule::Documentation,
    PurgeRule::Manuals,
    PurgeRule::Locales,
    PurgeRule::PackageCaches,
    PurgeRule::Kernels,
    PurgeRule::Logs,
];

/// Package names, sorted, without duplicates.
pub(super) fn packages(packages: List<String>, report: &mut Report) -> Vec<String> {
    let mut names = Vec::new();
    for word in packages.unwrap_or_default() {
        check_package(&word, report);
        names.push(word.value);
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Reports a name that no Debian package can have.
pub(super) fn check_package(word: &Word, report: &mut Report) {
    let name = &word.value;
    if words::is_package(name) {
        return;
    }
    let help = if name.starts_with('-') {
        "to leave out a package of an included recipe, write it under 'without: packages'"
    } else if name.contains(['=', '/']) {
        "write the name alone: the lock file fixes versions"
    } else if name.contains(':') {
        "write the name alone: all packages are of the guest's architecture"
    } else {
        "use lower-case letters, digits, '+', '-' and '.', a letter or digit first"
    };
    let message = format!("{} is not a package name", quoted(name));
    report.add(&word.place, codes::PACKAGE_NAME, message).help(help);
}

/// Purge rules, sorted, without duplicates; an empty list is no rule.
pub(super) fn purge(purge: List<PurgeRule>) -> Vec<PurgeRule> {
    let mut rules = match purge {
        Some(rules) => rules.into_iter().map(|rule| rule.value).collect(),
        None => DEFAULT_PURGE.to_vec(),
    };
    rules.sort_unstable();
    rules.dedup();
    rules
}
