//! Everything the page says, in the order in which it says it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amount::{Amount, Count, count, grouped, name, per_cent, thousandths};
use super::facts::Facts;
use super::files;
use super::journey::{Stage, stages};
use super::libraries::{self, Libraries};
use super::map::{self, Map};
use super::packages;
use crate::image::DISK_FILE;
use crate::image::manifest::{Manifest, Source, Tool};
use crate::recipe::PurgeRule;

/// What the template is filled with.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    name: String,
    description: String,
    digest: String,
    hpcvm: String,
    tiles: Vec<Tile>,
    stages: Vec<Stage>,
    map: Option<Map>,
    purge: Vec<PurgeRow>,
    purged: Amount,
    services: Vec<ServiceRow>,
    libraries: Option<Libraries>,
    packages: Vec<packages::Row>,
    files: Vec<files::Row>,
    file_count: String,
    system: Vec<(&'static str, String)>,
    root_digest: String,
    command_line: String,
    recipe: String,
    sources: Vec<Source>,
    tools: Vec<Tool>,
    artefacts: Vec<ArtefactRow>,
    validation: Vec<ValidationRow>,
    environment: Vec<(String, String)>,
}

/// One of the large figures on top.
#[derive(Debug, Serialize)]
struct Tile {
    title: &'static str,
    amount: Amount,
    note: String,
}

#[derive(Debug, Serialize)]
struct PurgeRow {
    rule: String,
    removes: String,
    entries: Count,
    amount: Amount,
    bar: u64,
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    name: String,
    kind: String,
    package: String,
}

#[derive(Debug, Serialize)]
struct ArtefactRow {
    name: String,
    amount: Amount,
    digest: String,
}

#[derive(Debug, Serialize)]
struct ValidationRow {
    name: String,
    command: String,
    stdout: Option<String>,
    status: u8,
}

impl Page {
    pub(super) fn of(facts: &Facts) -> Self {
        let manifest = &facts.manifest;
        let saved = manifest
            .purge
            .iter()
            .fold(0_u64, |sum, saving| sum.saturating_add(saving.bytes));
        Self {
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            digest: facts.digest.to_string(),
            hpcvm: manifest.hpcvm.clone(),
            tiles: tiles(manifest),
            stages: stages(facts),
            map: Map::of(&map::groups(facts)),
            purge: purge(manifest),
            purged: Amount::new(saved),
            services: services(manifest),
            libraries: libraries::libraries(facts),
            packages: packages::rows(facts),
            files: files::largest(&facts.files),
            file_count: count(facts.files.entries.len() as u64, "entry", "entries"),
            system: system(manifest),
            root_digest: manifest.root.digest.to_string(),
            command_line: manifest.kernel.command_line.clone(),
            recipe: manifest.recipe.digest.to_string(),
            sources: manifest.recipe.sources.clone(),
            tools: manifest.tools.clone(),
            artefacts: artefacts(manifest),
            validation: validation(manifest),
            environment: manifest.run.environment.clone().into_iter().collect(),
        }
    }
}

fn tiles(manifest: &Manifest) -> Vec<Tile> {
    let first = manifest.steps.first().map_or(0, |step| step.bytes);
    let last = manifest.steps.last().map_or(0, |step| step.bytes);
    let disk = manifest.artefact(DISK_FILE).map_or(0, |disk| disk.length);
    let of_first = |bytes: u64| {
        if first == 0 {
            String::new()
        } else {
            format!("{} of the packages", per_cent(bytes, first))
        }
    };
    let tile = |title, bytes, note| Tile {
        title,
        amount: Amount::new(bytes),
        note,
    };
    let packages = count(manifest.resolution.len() as u64, "package", "packages");
    let mut tiles = vec![
        tile("Installed", first, packages),
        tile("After slimming", last, of_first(last)),
    ];
    if let Some(libraries) = &manifest.libraries {
        let bytes = libraries.linked.bytes.saturating_add(libraries.relocated.bytes);
        let note = count(libraries.linked.files, "library", "libraries");
        tiles.push(tile("Linked", bytes, format!("{note} in the repository")));
    }
    let packed = manifest
        .root
        .compression
        .map_or_else(|| "ext4".to_owned(), |how| format!("squashfs, {}", name(how)));
    tiles.push(tile("Root file system", manifest.root.length, packed));
    tiles.push(tile("Boot disk", disk, of_first(disk)));
    tiles
}

fn purge(manifest: &Manifest) -> Vec<PurgeRow> {
    let descriptions = rule_descriptions();
    let largest = manifest.purge.iter().map(|saving| saving.bytes).max().unwrap_or(0);
    let row = |saving: &crate::image::manifest::PurgeSaving| {
        let rule = name(saving.rule);
        PurgeRow {
            removes: descriptions.get(&rule).cloned().unwrap_or_default(),
            rule,
            entries: Count::new(saving.files),
            amount: Amount::new(saving.bytes),
            bar: thousandths(saving.bytes, largest),
        }
    };
    let mut rows: Vec<PurgeRow> = manifest.purge.iter().map(row).collect();
    rows.sort_by(|a, b| (b.amount.bytes, &a.rule).cmp(&(a.amount.bytes, &b.rule)));
    rows
}

/// What each purge rule removes, from the schema: told in one place.
fn rule_descriptions() -> BTreeMap<String, String> {
    let schema = schemars::schema_for!(PurgeRule);
    let variants = schema.get("oneOf").and_then(serde_json::Value::as_array);
    let described = |variant: &serde_json::Value| {
        let text = |key: &str| variant.get(key).and_then(serde_json::Value::as_str);
        let description = text("description")?.replace('`', "").replace('\n', " ");
        Some((text("const")?.to_owned(), description))
    };
    variants.into_iter().flatten().filter_map(described).collect()
}

fn system(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let kernel = &manifest.kernel;
    let run = &manifest.run;
    vec![
        ("System", format!("Debian {} {}", manifest.suite, manifest.architecture)),
        ("Kernel", kernel.release.clone()),
        ("Kernel package", format!("{} {}", kernel.package, kernel.version)),
        ("Kernel packed", name(kernel.wrap)),
        ("Initial RAM disk", name(kernel.initrd)),
        ("Process 1", name(manifest.init)),
        ("Root", name(manifest.root.kind)),
        ("Memory", Amount::new(run.memory).text),
        ("Processors", grouped(u64::from(run.cpus))),
        ("User", run.user.clone()),
    ]
}

fn services(manifest: &Manifest) -> Vec<ServiceRow> {
    let row = |service: &crate::image::manifest::Service| ServiceRow {
        name: service.name.clone(),
        kind: service.kind.clone(),
        package: service.package.clone().unwrap_or_default(),
    };
    manifest.services_removed.iter().map(row).collect()
}

fn artefacts(manifest: &Manifest) -> Vec<ArtefactRow> {
    let row = |artefact: &crate::image::manifest::Artefact| ArtefactRow {
        name: artefact.name.clone(),
        amount: Amount::new(artefact.length),
        digest: artefact.digest.to_string(),
    };
    manifest.artefacts.iter().map(row).collect()
}

fn validation(manifest: &Manifest) -> Vec<ValidationRow> {
    let row = |validation: &crate::image::manifest::Validation| ValidationRow {
        name: validation.name.clone(),
        command: validation
            .run
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
        stdout: validation.stdout.clone(),
        status: validation.status,
    };
    manifest.validation.iter().map(row).collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_described() {
        let descriptions = rule_descriptions();
        assert_eq!(descriptions["time-zones"], "Time zone data, except UTC.");
        assert!(descriptions.len() >= 16, "{descriptions:#?}");
        assert!(descriptions.values().all(|text| !text.is_empty()), "{descriptions:#?}");
    }

    #[test]
    fn commands_can_be_copied_into_a_shell() {
        for (word, expected) in [
            ("/bin/sh", "/bin/sh"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("a b", "'a b'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
