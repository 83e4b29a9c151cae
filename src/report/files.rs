//! The largest files of an image.

use serde::Serialize;

use super::amount::{Amount, thousandths};
use crate::image::file_list::{FileList, ListedFile};
use crate::rootfs::tree::Origin;

/// How many are shown.
const SHOWN: usize = 40;

/// One row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    path: String,
    origin: String,
    amount: Amount,
    bar: u64,
}

/// The largest files, from the largest to the smallest.
pub(super) fn largest(list: &FileList) -> Vec<Row> {
    let mut files: Vec<(u64, &ListedFile)> = list
        .entries
        .iter()
        .filter_map(|entry| Some((entry.length.filter(|length| *length > 0)?, entry)))
        .collect();
    files.sort_by(|a, b| (b.0, &a.1.path).cmp(&(a.0, &b.1.path)));
    let largest = files.first().map_or(0, |(length, _)| *length);
    let row = |&(length, entry): &(u64, &ListedFile)| Row {
        path: entry.path.clone(),
        origin: origin(&entry.origin),
        amount: Amount::new(length),
        bar: thousandths(length, largest),
    };
    files.iter().take(SHOWN).map(row).collect()
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Package(name) => name.to_string(),
        Origin::Overlay(name) => format!("overlay {name}"),
        Origin::Recipe => "recipe".to_owned(),
        Origin::Bootstrap => "bootstrap".to_owned(),
    }
}
