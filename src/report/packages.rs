//! The packages of an image: versions, licences, what each put into it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::amount::{Amount, Count, thousandths};
use super::facts::Facts;
use super::libraries::linked_by_package;
use super::licences::{LicenceFiles, few};
use crate::digest::Digest;

/// One row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    version: String,
    architecture: String,
    digest: String,
    /// What its licences are called, as many as are shown.
    licences: String,
    /// All of them, where those are more.
    all_licences: String,
    /// The file that holds them, below `/usr/share/doc`; empty where it is not in the image.
    licence: String,
    files: Count,
    kept: Amount,
    linked: Amount,
    /// Of the largest package, in thousandths.
    bar: u64,
}

/// Every package that was installed and what no package owns, from the largest to the smallest.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let manifest = &facts.manifest;
    let places = LicenceFiles::of(&facts.files);
    let known_licences = |name: &str| facts.licences.get(name).map_or(&[][..], Vec::as_slice);
    let mut linked = linked_by_package(facts);
    let mut sizes: BTreeMap<&str, (u64, u64)> = manifest
        .packages
        .iter()
        .map(|size| (size.package.as_str(), (size.files, size.bytes)))
        .collect();
    let largest = sizes.values().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let mut row = |name: &str, version: &str, architecture: &str, digest: Option<Digest>| {
        // A package of two architectures is counted once: the lists do not tell them apart.
        let (files, bytes) = sizes.remove(name).unwrap_or_default();
        Row {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            digest: digest.map_or_else(String::new, |digest| digest.to_string()),
            licences: few(known_licences(name)),
            all_licences: known_licences(name).join(", "),
            licence: places.of_package(name).unwrap_or_default(),
            files: Count::new(files),
            kept: Amount::new(bytes),
            linked: Amount::new(linked.remove(name).unwrap_or(0)),
            bar: thousandths(bytes, largest),
        }
    };
    let known: BTreeSet<&str> = manifest
        .resolution
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut rows: Vec<Row> = manifest
        .resolution
        .iter()
        .map(|package| {
            row(
                &package.name,
                &package.version,
                &package.architecture,
                Some(package.digest),
            )
        })
        .collect();
    let others = manifest.packages.iter().map(|size| size.package.as_str());
    rows.extend(
        others
            .filter(|name| !known.contains(name))
            .map(|name| row(name, "", "", None)),
    );
    rows.sort_by(|a, b| (b.kept.bytes, &a.name, &a.architecture).cmp(&(a.kept.bytes, &b.name, &b.architecture)));
    rows
}
