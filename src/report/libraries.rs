//! What became of the libraries, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amount::{Amount, Count, grouped, name, per_cent, thousandths};
use super::facts::Facts;
use crate::image::library_list::{LibraryList, ListedLibrary, Reason, Verdict};

/// How many programs are named at once.
const NEEDED_BY: usize = 3;

/// The page's part about libraries.
#[derive(Debug, Serialize)]
pub(super) struct Libraries {
    /// Where the links lead to; absent where none does.
    generation: Option<GenerationLine>,
    verdicts: Vec<VerdictLine>,
    reasons: Vec<ReasonRow>,
    rows: Vec<Row>,
    folders: Vec<FolderRow>,
}

#[derive(Debug, Serialize)]
struct GenerationLine {
    repository: String,
    number: u32,
    digest: String,
    folder: String,
}

/// All libraries of one verdict.
#[derive(Debug, Serialize)]
struct VerdictLine {
    verdict: String,
    count: String,
    amount: Amount,
    share: String,
    /// Where it stands in the bar, in thousandths.
    from: u64,
    width: u64,
}

/// All libraries of one verdict for one reason.
#[derive(Debug, Serialize)]
struct ReasonRow {
    verdict: String,
    why: &'static str,
    files: Count,
    amount: Amount,
}

#[derive(Debug, Serialize)]
struct Row {
    /// The file's name, or the name that was not found.
    title: String,
    folder: String,
    soname: String,
    package: String,
    verdict: String,
    /// Missing ones first, purged ones last: those are many and need nothing.
    rank: u8,
    amount: Amount,
    why: String,
    detail: String,
    chain: Vec<Link>,
    needed_by: Vec<String>,
    /// Those that are shown on demand only.
    needed_further: Vec<String>,
    needed_count: usize,
    object: String,
}

/// One step of a chain of needs.
#[derive(Debug, Serialize)]
struct Link {
    path: String,
    /// The path of the program, the file name of a library.
    name: String,
}

#[derive(Debug, Serialize)]
struct FolderRow {
    path: String,
    files: Count,
    amount: Amount,
    object: String,
}

/// The part, or `None` for an image whose libraries were not weighed.
pub(super) fn libraries(facts: &Facts) -> Option<Libraries> {
    let list = facts.libraries.as_ref()?;
    let generation = facts.manifest.libraries.as_ref().map(|libraries| GenerationLine {
        repository: libraries.generation.repository.clone(),
        number: libraries.generation.number,
        digest: libraries.generation.digest.to_string(),
        folder: libraries
            .generation
            .folder
            .as_ref()
            .map_or_else(String::new, |folder| folder.display().to_string()),
    });
    let mut rows: Vec<Row> = list.entries.iter().map(Row::of).collect();
    // A stable sort: by path within each verdict.
    rows.sort_by_key(|row| row.rank);
    let folder = |folder: &crate::image::library_list::LinkedFolder| FolderRow {
        path: folder.path.clone(),
        files: Count::new(folder.files),
        amount: Amount::new(folder.bytes),
        object: folder.object.to_string(),
    };
    Some(Libraries {
        generation,
        verdicts: verdicts(list),
        reasons: reasons(list),
        rows,
        folders: list.folders.iter().map(folder).collect(),
    })
}

fn verdicts(list: &LibraryList) -> Vec<VerdictLine> {
    let bytes_of = |verdict: Option<Verdict>| {
        let chosen = list
            .entries
            .iter()
            .filter(|library| verdict.is_none_or(|verdict| library.verdict == verdict));
        chosen.fold(0_u64, |sum, library| sum.saturating_add(library.length))
    };
    let total = bytes_of(None);
    let mut at = 0_u64;
    let line = |verdict: Verdict| {
        let count = list.entries.iter().filter(|library| library.verdict == verdict).count();
        let bytes = bytes_of(Some(verdict));
        let from = thousandths(at, total);
        at = at.saturating_add(bytes);
        VerdictLine {
            verdict: name(verdict),
            count: grouped(count as u64),
            amount: Amount::new(bytes),
            share: per_cent(bytes, total),
            from,
            width: thousandths(at, total).saturating_sub(from),
        }
    };
    let all = [Verdict::Local, Verdict::Linked, Verdict::Purged, Verdict::Missing];
    all.map(line).into_iter().filter(|line| line.count != "0").collect()
}

fn reasons(list: &LibraryList) -> Vec<ReasonRow> {
    let mut sums: BTreeMap<(Verdict, Reason), (u64, u64)> = BTreeMap::new();
    for library in &list.entries {
        let (files, bytes) = sums.entry((library.verdict, library.reason)).or_default();
        *files += 1;
        *bytes = bytes.saturating_add(library.length);
    }
    let row = |((verdict, reason), (files, bytes))| ReasonRow {
        verdict: name(verdict),
        why: why(reason),
        files: Count::new(files),
        amount: Amount::new(bytes),
    };
    sums.into_iter().map(row).collect()
}

impl Row {
    fn of(library: &ListedLibrary) -> Self {
        let unnamed = || "(no name)".to_owned();
        let (folder, title) = match library.path.as_deref().and_then(|path| path.rsplit_once('/')) {
            Some((folder, name)) => (folder.to_owned(), name.to_owned()),
            None => (String::new(), library.soname.clone().unwrap_or_else(unnamed)),
        };
        Self {
            soname: library
                .soname
                .clone()
                .filter(|soname| *soname != title)
                .unwrap_or_default(),
            title,
            folder,
            package: library.package.clone().unwrap_or_default(),
            verdict: name(library.verdict),
            rank: match library.verdict {
                Verdict::Missing => 0,
                Verdict::Local => 1,
                Verdict::Linked => 2,
                Verdict::Purged => 3,
            },
            amount: Amount::new(library.length),
            why: why(library.reason).to_owned(),
            detail: library.detail.clone().unwrap_or_default(),
            chain: library.chain.iter().enumerate().map(Link::of).collect(),
            needed_by: library.needed_by.iter().take(NEEDED_BY).cloned().collect(),
            needed_further: library.needed_by.iter().skip(NEEDED_BY).cloned().collect(),
            needed_count: library.needed_by.len(),
            object: library.object.map_or_else(String::new, |object| object.to_string()),
        }
    }
}

impl Link {
    fn of((index, path): (usize, &String)) -> Self {
        let name = path.rsplit('/').next().filter(|_| index > 0).unwrap_or(path);
        Self {
            path: path.clone(),
            name: name.to_owned(),
        }
    }
}

/// Bytes that are linked from the repository, by package: the manifest's sums, which count all
/// files of linked folders, or else those of the list.
pub(super) fn linked_by_package(facts: &Facts) -> BTreeMap<&str, u64> {
    let sums = facts
        .manifest
        .libraries
        .iter()
        .flat_map(|libraries| &libraries.by_package);
    let sums: BTreeMap<&str, u64> = sums
        .map(|sum| {
            (
                sum.package.as_str(),
                sum.linked.bytes.saturating_add(sum.relocated.bytes),
            )
        })
        .collect();
    if !sums.is_empty() {
        return sums;
    }
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let entries = facts.libraries.iter().flat_map(|list| &list.entries);
    for library in entries.filter(|library| library.verdict == Verdict::Linked) {
        let size = sizes.entry(library.package.as_deref().unwrap_or("(none)")).or_default();
        *size = size.saturating_add(library.length);
    }
    sizes
}

/// A reason as a sentence.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::BootCritical => "needed before the repository is mounted",
        Reason::Needed => "a program needs it",
        Reason::Kept => "the recipe keeps it",
        Reason::Policy => "the policy keeps all",
        Reason::NotLocal => "nothing needs it before the repository is mounted",
        Reason::LinkedPackage => "its package is only linked",
        Reason::InFolder => "in a folder that is linked whole",
        Reason::PurgeRule => "removed by a purge rule",
        Reason::NotFound => "no such file in the guest",
    }
}
