//! Paths of the guest: globs to keep, and single files.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use crate::recipe::codes;
use crate::recipe::located::Located;
use crate::recipe::model::{self, List, Word};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{FileContent, FileEntry};

/// Globs of paths, in the order written.
pub(super) fn keep(globs: List<String>, report: &mut Report) -> Vec<String> {
    let globs = globs.unwrap_or_default();
    for word in &globs {
        if check_glob(word, report) {
            normalised(word, report);
        }
    }
    globs.into_iter().map(|word| word.value).collect()
}

/// Whether the glob's syntax is right.
pub(super) fn check_glob(word: &Word, report: &mut Report) -> bool {
    let parsed = GlobBuilder::new(&word.value).literal_separator(true).build();
    if let Err(error) = &parsed {
        let message = format!("{} is not a glob: {}", quoted(&word.value), error.kind());
        let added = report.add(&word.place, codes::GLOB, message);
        added.help("put a special character that is meant literally in brackets: '[*]'");
    } else if word.value.is_empty() {
        report
            .add(&word.place, codes::GLOB, "an empty glob matches nothing")
            .help("take it out");
    }
    parsed.is_ok() && !word.value.is_empty()
}

/// The path without doubled or final slashes and `.`; reported if it is not absolute or leads up.
pub(super) fn normalised(word: &Word, report: &mut Report) -> String {
    let path = &word.value;
    let problem = if !path.starts_with('/') {
        Some("does not begin with '/'")
    } else if path.split('/').any(|part| part == "..") {
        Some("contains '..'")
    } else if path.contains(char::is_control) {
        Some("contains a control character")
    } else {
        None
    };
    if let Some(problem) = problem {
        let message = format!("{} {problem}", quoted(path));
        let added = report.add(&word.place, codes::PATH, message);
        added.help("write the path as the guest sees it, from '/' on");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

/// Files laid over the tree, in the order written.
pub(super) fn files(files: List<model::FileEntry>, report: &mut Report) -> Vec<FileEntry> {
    let mut resolved: Vec<FileEntry> = Vec::new();
    for entry in files.unwrap_or_default() {
        let path = normalised(&entry.value.path, report);
        if path == "/" {
            let message = "the guest's root cannot be a file";
            report
                .add(&entry.value.path.place, codes::PATH, message)
                .help("name a path below '/'");
        }
        if resolved.iter().any(|other| other.path == path) {
            let message = format!("{} is given twice", quoted(&path));
            let added = report.add(&entry.value.path.place, codes::FILE_TWICE, message);
            added.help("keep one of the two entries");
        }
        let content = content(&entry, report);
        resolved.push(FileEntry {
            path,
            mode: entry.value.mode.as_ref().and_then(|word| mode(word, &content, report)),
            content,
            uid: entry.value.owner.unwrap_or(0),
            gid: entry.value.group.unwrap_or(0),
        });
    }
    resolved
}

fn content(entry: &Located<model::FileEntry>, report: &mut Report) -> FileContent {
    let model::FileEntry {
        content,
        source,
        link,
        folder,
        ..
    } = &entry.value;
    let broken = report.has_error_in(&entry.place);
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.value) {
        let added = report.add(&folder.place, codes::FILE_CONTENT, "'folder' can only be true");
        added.help("take the key out");
    }
    let mut given = Vec::new();
    given.extend(content.as_ref().map(|word| FileContent::Text(word.value.clone())));
    given.extend(
        source
            .as_ref()
            .map(|word| FileContent::Source(source_file(word, report))),
    );
    given.extend(link.as_ref().map(|word| FileContent::Link(target(word, report))));
    let folders = usize::from(folder.is_some());
    // A key taken out because of an earlier error is not missing.
    if given.len() + folders != 1 && !broken {
        let count = if given.is_empty() {
            "nothing"
        } else {
            "more than one thing"
        };
        let message = format!("{} is {count}", quoted(&entry.value.path.value));
        let added = report.add(&entry.value.path.place, codes::FILE_CONTENT, message);
        added.help("give exactly one of 'content', 'source', 'link' and 'folder: true'");
    }
    given.pop().unwrap_or(FileContent::Folder)
}

/// The host file, found from the folder of the recipe that names it.
fn source_file(word: &Word, report: &mut Report) -> PathBuf {
    let recipe = &report.files[word.place.file].path;
    let path = recipe.parent().unwrap_or(Path::new("")).join(&word.value);
    let problem = match path.metadata() {
        Ok(metadata) if metadata.is_file() => None,
        Ok(_) => Some("is not a regular file".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    };
    if let Some(problem) = problem {
        let message = format!("{} {problem}", quoted(&path.display().to_string()));
        let added = report.add(&word.place, codes::SOURCE_MISSING, message);
        added.help("paths are relative to the recipe that names them");
    }
    path
}

fn target(word: &Word, report: &mut Report) -> String {
    if word.value.is_empty() || word.value.contains('\0') {
        let message = "a link needs a target";
        report
            .add(&word.place, codes::FILE_CONTENT, message)
            .help("name the path it leads to");
    }
    word.value.clone()
}

fn mode(word: &Word, content: &FileContent, report: &mut Report) -> Option<u32> {
    if matches!(content, FileContent::Link(_)) {
        let added = report.add(&word.place, codes::NO_EFFECT, "a link has no mode of its own");
        added.help("take 'mode' out");
    }
    let octal = matches!(word.value.len(), 3 | 4) && word.value.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(&word.value, 8).ok().filter(|_| octal);
    if mode.is_none() {
        let message = format!("{} is not a file mode", quoted(&word.value));
        let added = report.add(&word.place, codes::MODE, message);
        added.help("write three or four octal digits in quotes, such as \"0755\"");
    }
    mode
}
