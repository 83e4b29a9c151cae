//! How a repository is shown to a reader.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::image_table::flush_left;
use super::ui::Style;
use crate::digest::Digest;
use crate::sharedlibs::remove::Found;
use crate::sharedlibs::{Index, IndexEntry, IndexFolder, Repository};
use crate::units::Bytes;

/// Bytes of everything that a generation names, each object once.
pub(super) fn bytes(index: &Index) -> u64 {
    let mut objects: Vec<(Digest, u64)> = index.entries.iter().map(|entry| (entry.object, entry.length)).collect();
    objects.extend(index.folders.iter().map(|folder| (folder.digest, folder.bytes)));
    objects.sort_unstable();
    objects.dedup();
    objects.iter().map(|(_, length)| length).sum()
}

/// How much a generation holds.
pub(super) fn counts(index: &Index) -> String {
    let (libraries, folders) = (index.entries.len(), index.folders.len());
    let bytes = Bytes(bytes(index));
    format!("{libraries} libraries and {folders} folders of {bytes}")
}

/// A generation as JSON.
pub(super) fn document(index: &Index) -> Value {
    json!({
        "libs": 1,
        "repository": index.repository,
        "generation": index.number,
        "digest": index.digest,
        "entries": index.entries,
        "folders": index.folders,
    })
}

/// The libraries by soname, then the folders.
pub(super) fn table(index: &Index) -> String {
    let mut table = empty(&["NAME", "ABI", "PACKAGE", "VERSION", "SIZE", "OBJECT"]);
    let mut entries: Vec<&IndexEntry> = index.entries.iter().collect();
    entries.sort_by(|a, b| (name(a), *a).cmp(&(name(b), *b)));
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    for entry in entries {
        table.add_row([
            name(entry).to_owned(),
            word(&entry.abi),
            word(&entry.package),
            word(&entry.version),
            Bytes(entry.length).to_string(),
            entry.object.short(),
        ]);
    }
    for folder in &index.folders {
        table.add_row([
            format!("{}/", folder.path),
            "-".to_owned(),
            packages(folder),
            "-".to_owned(),
            Bytes(folder.bytes).to_string(),
            folder.digest.short(),
        ]);
    }
    finished(table, 4)
}

/// A library's soname, or its path where it has none: such are plug-ins.
fn name(entry: &IndexEntry) -> &str {
    entry.soname.as_deref().unwrap_or(&entry.path)
}

fn packages(folder: &IndexFolder) -> String {
    match folder.packages.as_slice() {
        [] => "-".to_owned(),
        [one] => one.package.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.package, rest.len()),
    }
}

/// The generations, each with whether it was exported.
pub(super) fn generations<'a>(rows: impl Iterator<Item = (&'a Index, bool)>) -> String {
    let mut table = empty(&["GENERATION", "DIGEST", "LIBRARIES", "FOLDERS", "SIZE", "EXPORT"]);
    for (index, exported) in rows {
        table.add_row([
            index.number.to_string(),
            index.digest.short(),
            index.entries.len().to_string(),
            index.folders.len().to_string(),
            Bytes(bytes(index)).to_string(),
            if exported { "yes" } else { "no" }.to_owned(),
        ]);
    }
    finished(table, 4)
}

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

/// The table's text, with `column` flush right.
fn finished(mut table: Table, column: usize) -> String {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    flush_left(&mut table);
    format!("{}\n", table.trim_fmt())
}

/// Everything that is known of what was found.
pub(super) fn show(repository: &Repository, found: &Found<'_>, style: Style) -> String {
    let mut text = String::new();
    for entry in &found.entries {
        show_library(&mut text, repository, entry, style);
    }
    for folder in &found.folders {
        // Writing to a string does not fail.
        writeln!(text, "{}", style.strong(&format!("{}/", folder.path))).ok();
        let size = Bytes(folder.bytes);
        line(&mut text, "holds", &format!("{} entries, {size}", folder.files));
        line(&mut text, "digest", &folder.digest.to_string());
        line(
            &mut text,
            "folder",
            &repository.folder_path(folder.digest).display().to_string(),
        );
        for package in &folder.packages {
            line(
                &mut text,
                "package",
                &versioned(&package.package, package.version.as_deref()),
            );
            let licence = package.licence.map(|licence| repository.object_path(licence));
            optional(
                &mut text,
                "licence",
                licence.map(|path| path.display().to_string()).as_deref(),
            );
        }
    }
    text
}

fn show_library(text: &mut String, repository: &Repository, entry: &IndexEntry, style: Style) {
    writeln!(text, "{}", style.strong(name(entry))).ok();
    line(text, "path", &entry.path);
    let package = entry
        .package
        .as_deref()
        .map(|package| versioned(package, entry.version.as_deref()));
    optional(text, "package", package.as_deref());
    optional(text, "abi", entry.abi.as_deref());
    line(text, "size", &Bytes(entry.length).to_string());
    optional(text, "build id", entry.build_id.as_deref());
    let words = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
    optional(text, "needs", words(&entry.needs).as_deref());
    optional(text, "versions", words(&entry.provides).as_deref());
    line(text, "digest", &entry.object.to_string());
    line(
        text,
        "file",
        &repository.object_path(entry.object).display().to_string(),
    );
    let licence = entry.licence.map(|licence| repository.object_path(licence));
    optional(
        text,
        "licence",
        licence.map(|path| path.display().to_string()).as_deref(),
    );
}

fn versioned(package: &str, version: Option<&str>) -> String {
    version.map_or_else(|| package.to_owned(), |version| format!("{package} {version}"))
}

fn line(text: &mut String, label: &str, value: &str) {
    writeln!(text, "  {label:<9} {value}").ok();
}

fn optional(text: &mut String, label: &str, value: Option<&str>) {
    if let Some(value) = value {
        line(text, label, value);
    }
}
