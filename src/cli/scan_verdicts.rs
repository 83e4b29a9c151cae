//! `hpcvm scan --verdicts`: what became of each library of an image, and why.

use std::fmt::Write as _;
use std::path::Path;

use super::ui::Style;
use super::{CliError, Context, Exit};
use crate::diagnostic::{Blame, Problem};
use crate::image::StoredImage;
use crate::image::library_list::{LIBRARY_LIST_FILE, LibraryList, ListedLibrary, Reason, Verdict};
use crate::units::Bytes;

/// An image has no verdicts.
#[derive(Debug, thiserror::Error)]
#[error("{image} has no verdicts: its recipe has no 'libraries' section, so every library stays in the image")]
struct NoVerdicts {
    image: String,
}

impl Problem for NoVerdicts {
    fn code(&self) -> &'static str {
        "HV0907"
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        Some("hpcvm scan --root IMAGE tells what each program of it loads".to_owned())
    }
}

/// The verdicts of an image, if its recipe asked for any.
pub(super) fn of(image: &StoredImage) -> Result<Option<LibraryList>, CliError> {
    let listed = |artefact: &crate::image::manifest::Artefact| artefact.name == LIBRARY_LIST_FILE;
    if !image.manifest.artefacts.iter().any(listed) {
        return Ok(None);
    }
    Ok(Some(LibraryList::read(&image.path(LIBRARY_LIST_FILE))?))
}

/// Prints the verdicts of the image that `root` means; with `why`, those of one library.
pub(super) fn run(context: &Context, root: &Path, why: Option<&str>) -> Result<Exit, CliError> {
    let image = context.store().find(&root.to_string_lossy())?;
    let list = of(&image)?.ok_or_else(|| NoVerdicts {
        image: image.reference(),
    })?;
    let wanted = |library: &&ListedLibrary| why.is_none_or(|name| is_named(library, name));
    let libraries: Vec<&ListedLibrary> = list.entries.iter().filter(wanted).collect();
    if context.ui.json() {
        context
            .ui
            .print_json(&serde_json::json!({ "verdicts": 1, "libraries": libraries, "folders": list.folders }))?;
    } else {
        let style = context.ui.stdout_style();
        let lines: String = libraries.iter().map(|library| line(library, style)).collect();
        context.ui.print(lines)?;
    }
    let missing = libraries.iter().any(|library| library.verdict == Verdict::Missing);
    Ok(if missing { Exit::Found } else { Exit::Done })
}

fn is_named(library: &ListedLibrary, name: &str) -> bool {
    let path = library.path.as_deref().unwrap_or_default();
    library.soname.as_deref() == Some(name) || path == name || path.rsplit('/').next() == Some(name)
}

/// `linked   libz.so.1  /usr/lib/... (113.0 KiB): the policy leaves ...` and the chain below it.
fn line(library: &ListedLibrary, style: Style) -> String {
    let verdict = match library.verdict {
        Verdict::Local => style.good("local  "),
        Verdict::Linked => style.strong("linked "),
        Verdict::Purged => style.warning("purged "),
        Verdict::Missing => style.error("missing"),
    };
    let name = library.path.as_deref().or(library.soname.as_deref()).unwrap_or("?");
    let mut text = format!("{verdict} {name}");
    if library.length > 0 {
        let _ = write!(text, " ({})", Bytes(library.length));
    }
    text += ": ";
    text += reason(library.reason);
    if let Some(detail) = &library.detail {
        let _ = write!(text, " ({detail})");
    }
    text.push('\n');
    // A chain of one is the library itself.
    if library.chain.len() > 1 {
        let _ = writeln!(text, "        needed by {}", library.chain.join(" -> "));
    }
    text
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::BootCritical => "runs before the repository is mounted",
        Reason::Needed => "a program needs it, and the policy keeps those",
        Reason::Kept => "'keep' names it",
        Reason::Policy => "the policy keeps all",
        Reason::NotLocal => "nothing needs it before the repository is mounted",
        Reason::LinkedPackage => "its package is one of 'linked-packages'",
        Reason::InFolder => "its folder is linked as a whole",
        Reason::PurgeRule => "a purge rule took it",
        Reason::NotFound => "no such file was in the guest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_its_reason_and_chain() {
        let library = ListedLibrary {
            path: Some("/usr/lib/i386-linux-gnu/libz.so.1.2.13".to_owned()),
            soname: Some("libz.so.1".to_owned()),
            length: 113_000,
            package: Some("zlib1g".to_owned()),
            verdict: Verdict::Linked,
            reason: Reason::NotLocal,
            detail: None,
            chain: vec![
                "/usr/bin/file".to_owned(),
                "/usr/lib/i386-linux-gnu/libz.so.1.2.13".to_owned(),
            ],
            needed_by: vec!["/usr/bin/file".to_owned()],
            object: None,
        };
        insta::assert_snapshot!(line(&library, Style::Plain), @"
        linked  /usr/lib/i386-linux-gnu/libz.so.1.2.13 (110.4 KiB): nothing needs it before the repository is mounted
                needed by /usr/bin/file -> /usr/lib/i386-linux-gnu/libz.so.1.2.13
        ");
        assert!(is_named(&library, "libz.so.1") && is_named(&library, "libz.so.1.2.13"));
        assert!(!is_named(&library, "libz.so"));
    }
}
