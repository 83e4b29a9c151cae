//! How a repository was found, and what was removed from it, for a reader.

use crate::sharedlibs::gc::Garbage;
use crate::sharedlibs::verify::{Action, Report};
use crate::units::Bytes;

/// What reading the repository `name` whole showed.
pub(super) fn verified(name: &str, report: &Report) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let action = match finding.action {
            Action::None => "",
            Action::Mended => "; mended",
            Action::Quarantined => "; taken away",
        };
        lines.push(format!("{} {}{action}", finding.path.display(), finding.fault));
        if finding.action != Action::Mended && !finding.restored_by.is_empty() {
            let again = finding.restored_by.join(" ");
            lines.push(format!("  restored by adding again: {again}"));
        }
    }
    let verdict = match (report.findings.is_empty(), report.is_sound()) {
        (true, _) => "all as it was written",
        (_, true) => "all as it was written by now",
        _ => "damaged",
    };
    let (objects, bytes) = (report.objects, Bytes(report.bytes));
    let (generations, folders, exports) = (report.generations, report.folders, report.exports);
    lines.push(format!(
        "{name}: {verdict}: {objects} objects of {bytes}, {folders} folders, {generations} generations, {exports} exports"
    ));
    lines.join("\n") + "\n"
}

/// What was removed, or would be.
pub(super) fn swept(garbage: &Garbage, dry_run: bool) -> String {
    let held = garbage.held.iter();
    let mut lines: Vec<String> = held
        .map(|(number, images)| format!("generation {number} stays for {}", images.join(", ")))
        .collect();
    lines.push(format!(
        "{} {} objects, {} folders, {} generations, {} exports, {} quarantined: {}",
        if dry_run { "would remove" } else { "removed" },
        garbage.objects.len(),
        garbage.folders.len(),
        garbage.generations.len(),
        garbage.exports.len(),
        garbage.quarantined,
        Bytes(garbage.bytes),
    ));
    lines.join("\n") + "\n"
}
