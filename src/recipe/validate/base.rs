//! The release, and where it comes from.

use super::words;
use crate::architecture::Architecture;
use crate::recipe::codes;
use crate::recipe::located::Place;
use crate::recipe::model::{self, List, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{Base, Pocket};
use crate::recipe::suggest::did_you_mean;
use crate::recipe::suites::{SUITES, Suite};

/// The components of Debian's own archive.
const COMPONENTS: [&str; 4] = ["main", "contrib", "non-free", "non-free-firmware"];
/// The transports of apt that reach an archive without further set-up.
const TRANSPORTS: [&str; 4] = ["http://", "https://", "file:/", "copy:/"];

/// `root` is the place to name where the release or the architecture is missing.
pub(super) fn resolve(base: model::Base, root: &Place, report: &mut Report) -> Base {
    // A key taken out because of an earlier error is not missing.
    if !report.has_errors() {
        let missing = [
            (base.debian.is_none(), "debian", "bookworm"),
            (base.architecture.is_none(), "architecture", "i386"),
        ];
        for (_, key, example) in missing.into_iter().filter(|&(missing, ..)| missing) {
            let message = format!("neither this recipe nor one it includes has 'base: {key}'");
            let added = report.add(root, codes::BASE_MISSING, message);
            added.help(format!("add 'base: {{{key}: {example}}}'"));
        }
    }
    let suite = base.debian.as_ref().and_then(|word| suite(word, report));
    if let (Some(suite), Some(architecture)) = (suite, &base.architecture)
        && !suite.has_kernel(architecture.value)
    {
        let message = format!("Debian {} has no {} kernel", suite.name, architecture.value);
        let added = report.add(&architecture.place, codes::NO_KERNEL, message);
        added.help(format!(
            "use 'debian: bookworm', the last release with an {0} kernel, or 'architecture: amd64', whose kernel \
             also runs {0} programs",
            architecture.value
        ));
    }
    let pockets = pockets(base.pockets, suite, report);
    let components = components(base.components, base.mirror.is_some(), report);
    Base {
        suite: base.debian.map(|word| word.value).unwrap_or_default(),
        architecture: base
            .architecture
            .map_or(Architecture::I386, |architecture| architecture.value),
        components,
        pockets,
        mirror: base.mirror.map(|word| mirror(word, report)),
        bootstrap: base.bootstrap.map(|bootstrap| bootstrap.value).unwrap_or_default(),
        bootstrapper: base
            .bootstrapper
            .map(|bootstrapper| bootstrapper.value)
            .unwrap_or_default(),
    }
}

fn suite(word: &Word, report: &mut Report) -> Option<&'static Suite> {
    let found = Suite::find(&word.value);
    if found.is_none() {
        let meant = SUITES
            .iter()
            .find(|suite| suite.other_names.contains(&word.value.as_str()));
        let names = || SUITES.iter().map(|suite| suite.name);
        let help = match meant {
            Some(suite) => format!(
                "write the release's code name, today '{}': it never changes its meaning",
                suite.name
            ),
            None => did_you_mean(&word.value, names())
                .unwrap_or_else(|| format!("releases known: {}", names().collect::<Vec<_>>().join(", "))),
        };
        let message = format!("{} is not the code name of a Debian release", quoted(&word.value));
        report.add(&word.place, codes::UNKNOWN_SUITE, message).help(help);
    }
    found
}

fn pockets(pockets: List<Pocket>, suite: Option<&Suite>, report: &mut Report) -> Vec<Pocket> {
    let pockets = pockets.unwrap_or_default();
    if let (Some(suite), Some(first)) = (suite.filter(|suite| !suite.pockets), pockets.first()) {
        let message = format!("{} has no pockets", suite.name);
        let added = report.add(&first.place, codes::NO_POCKET, message);
        added.help("take the key 'pockets' out");
    }
    let mut pockets: Vec<Pocket> = pockets.into_iter().map(|pocket| pocket.value).collect();
    pockets.sort_unstable();
    pockets.dedup();
    pockets
}

/// Another archive may have components of its own; Debian's has only its four.
fn components(components: List<String>, own_mirror: bool, report: &mut Report) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for word in components.unwrap_or_default() {
        let accepted = if own_mirror {
            words::is_component(&word.value)
        } else {
            COMPONENTS.contains(&word.value.as_str())
        };
        if !accepted {
            let help = did_you_mean(&word.value, COMPONENTS);
            let message = format!("{} is not a component of the archive", quoted(&word.value));
            let added = report.add(&word.place, codes::COMPONENT, message);
            added.help(help.unwrap_or_else(|| format!("Debian has {}", COMPONENTS.join(", "))));
        }
        if !known.contains(&word.value) {
            known.push(word.value);
        }
    }
    if known.is_empty() {
        known.push("main".to_owned());
    }
    known
}

fn mirror(word: Word, report: &mut Report) -> String {
    let known = TRANSPORTS.iter().any(|transport| {
        let rest = word.value.strip_prefix(transport);
        rest.is_some_and(|rest| !rest.is_empty())
    });
    if !known
        || word
            .value
            .contains(|c: char| c.is_whitespace() || c.is_control() || c == '[')
    {
        let message = format!("{} is not the URI of an archive", quoted(&word.value));
        let added = report.add(&word.place, codes::MIRROR, message);
        added.help("begin with http://, https://, file:/ or copy:/, or take the key out to use the host's own mirror");
    }
    word.value
}
