//! How two images differ.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::amount::name;
use super::facts::Facts;
use crate::digest::Digest;
use crate::image::file_list::ListedFile;
use crate::image::library_list::{ListedLibrary, Verdict};
use crate::image::manifest::Manifest;

/// Everything in which two images differ; every list is sorted by what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// Version of this format: 1.
    pub diff: u32,
    /// The first image.
    pub before: Side,
    /// The second image.
    pub after: Side,
    /// Single facts, named by their place in the manifest, such as `kernel.command-line`.
    pub facts: Vec<Change<String>>,
    /// Bytes: of the root file system, after each step of the build, of each artefact, of what each
    /// package contributes and each purge rule removed.
    pub sizes: Vec<Change<u64>>,
    /// Packages, `NAME:ARCHITECTURE`, by version.
    pub packages: Vec<Change<String>>,
    /// Services that were removed, by kind and package.
    pub services: Vec<Change<String>>,
    /// Libraries and linked folders, by verdict.
    pub libraries: Vec<Change<String>>,
    /// Entries of the root file system.
    pub files: Vec<Change<ListedFile>>,
}

/// One of the two images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// Something that one image has and the other has not, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change<T> {
    /// What it is about.
    pub what: String,
    /// In the first image; `None` where it is not there.
    pub before: Option<T>,
    /// In the second image.
    pub after: Option<T>,
}

/// Parts of a manifest that are lists of things with names, or that depend on those.
const LISTED: [&str; 8] = [
    "resolution",
    "packages",
    "services-removed",
    "purge",
    "steps",
    "artefacts",
    "libraries",
    "manifest",
];

impl Comparison {
    /// Compares two images.
    #[must_use]
    pub fn of(before: &Facts, after: &Facts) -> Self {
        let side = |facts: &Facts| Side {
            name: facts.manifest.name.clone(),
            digest: facts.digest,
        };
        Self {
            diff: 1,
            before: side(before),
            after: side(after),
            facts: changes(facts(&before.manifest), facts(&after.manifest)),
            sizes: changes(sizes(&before.manifest), sizes(&after.manifest)),
            packages: changes(packages(&before.manifest), packages(&after.manifest)),
            services: changes(services(&before.manifest), services(&after.manifest)),
            libraries: changes(libraries(before), libraries(after)),
            files: changes(files(before), files(after)),
        }
    }

    /// Whether the images are the same to the byte.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.before.digest == self.after.digest
    }
}

/// What is not the same on both sides, by key.
fn changes<T: PartialEq>(mut before: BTreeMap<String, T>, mut after: BTreeMap<String, T>) -> Vec<Change<T>> {
    let mut keys: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    let change = |what: String| Change {
        before: before.remove(&what),
        after: after.remove(&what),
        what,
    };
    keys.into_iter()
        .map(change)
        .filter(|change| change.before != change.after)
        .collect()
}

/// All that is not a list of its own, so that a new part of the manifest is compared by itself.
fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let json = serde_json::to_value(manifest).unwrap_or_default();
    for (key, value) in json.as_object().into_iter().flatten() {
        if !LISTED.contains(&key.as_str()) {
            flatten(key, value, &mut facts);
        }
    }
    // A length of its own line is among the sizes.
    facts.remove("root.length");
    for artefact in &manifest.artefacts {
        facts.insert(
            format!("artefacts.{}.digest", artefact.name),
            artefact.digest.to_string(),
        );
    }
    if let Some(libraries) = &manifest.libraries {
        let generation = serde_json::to_value(&libraries.generation).unwrap_or_default();
        flatten("libraries.generation", &generation, &mut facts);
    }
    facts
}

/// Writes each scalar below `value` under its path; lists go by the name of their elements, or by
/// position.
fn flatten(path: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{path}.{key}"), value, facts);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let named = ["name", "file"].iter().find_map(|key| item.get(key)?.as_str());
                let key = named.map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}.{key}"), item, facts);
            }
        }
        Value::String(text) => {
            facts.insert(path.to_owned(), text.clone());
        }
        other => {
            facts.insert(path.to_owned(), other.to_string());
        }
    }
}

fn sizes(manifest: &Manifest) -> BTreeMap<String, u64> {
    let steps = manifest.steps.iter();
    let packages = manifest.packages.iter();
    let purge = manifest.purge.iter();
    let artefacts = manifest.artefacts.iter();
    steps
        .map(|step| (format!("after {}", step.name), step.bytes))
        .chain(packages.map(|size| (format!("package {}", size.package), size.bytes)))
        .chain(purge.map(|saving| (format!("purged by {}", name(saving.rule)), saving.bytes)))
        .chain(artefacts.map(|artefact| (format!("file {}", artefact.name), artefact.length)))
        .chain([("root file system".to_owned(), manifest.root.length)])
        .collect()
}

fn packages(manifest: &Manifest) -> BTreeMap<String, String> {
    let package = |package: &crate::image::manifest::Package| {
        let key = format!("{}:{}", package.name, package.architecture);
        (key, format!("{} sha256:{}", package.version, package.digest.short()))
    };
    manifest.resolution.iter().map(package).collect()
}

fn services(manifest: &Manifest) -> BTreeMap<String, String> {
    let service = |service: &crate::image::manifest::Service| {
        let of = service
            .package
            .as_ref()
            .map_or_else(String::new, |package| format!(" of {package}"));
        (service.name.clone(), format!("{}{of}", service.kind))
    };
    manifest.services_removed.iter().map(service).collect()
}

fn libraries(facts: &Facts) -> BTreeMap<String, String> {
    let Some(list) = &facts.libraries else {
        return BTreeMap::new();
    };
    let library = |library: &ListedLibrary| {
        let key = library
            .path
            .as_ref()
            .or(library.soname.as_ref())
            .cloned()
            .unwrap_or_default();
        let mut text = format!("{} ({})", name(library.verdict), name(library.reason));
        if library.verdict == Verdict::Linked {
            text += &library
                .object
                .map_or_else(String::new, |object| format!(" sha256:{}", object.short()));
        }
        (key, text)
    };
    let folder = |folder: &crate::image::library_list::LinkedFolder| {
        let text = format!("linked folder sha256:{}", folder.object.short());
        (folder.path.clone(), text)
    };
    list.entries
        .iter()
        .map(library)
        .chain(list.folders.iter().map(folder))
        .collect()
}

fn files(facts: &Facts) -> BTreeMap<String, ListedFile> {
    let entries = facts.files.entries.iter();
    entries.map(|entry| (entry.path.clone(), entry.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::file_list::FileList;
    use crate::image::manifest::tests::{ARTEFACTS, manifest};
    use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};

    fn facts_of(digest: &[u8], change: impl FnOnce(&mut Manifest, &mut Tree)) -> Facts {
        let mut manifest = manifest("minimal", &ARTEFACTS);
        let mut tree = Tree::default();
        let entry = Entry::new(Kind::File(Content::inline(*b"#!")), 0o755, 0, Origin::Recipe);
        tree.insert(TreePath::new(b"bin/sh").unwrap(), entry);
        change(&mut manifest, &mut tree);
        Facts {
            digest: Digest::of(digest),
            manifest,
            files: FileList::of(&tree),
            libraries: None,
            licences: BTreeMap::new(),
        }
    }

    fn told<T: std::fmt::Debug>(changes: &[Change<T>]) -> Vec<String> {
        let side = |side: &Option<T>| side.as_ref().map_or_else(|| "-".to_owned(), |side| format!("{side:?}"));
        let line = |change: &Change<T>| format!("{}: {} {}", change.what, side(&change.before), side(&change.after));
        changes.iter().map(line).collect()
    }

    #[test]
    fn an_image_is_the_same_as_itself() {
        let comparison = Comparison::of(&facts_of(b"a", |_, _| ()), &facts_of(b"a", |_, _| ()));
        assert!(comparison.is_same());
        let sections = [
            comparison.facts.len(),
            comparison.sizes.len(),
            comparison.files.len(),
            comparison.packages.len(),
        ];
        assert_eq!(sections, [0; 4]);
    }

    #[test]
    fn what_differs_is_told_by_its_place() {
        let after = facts_of(b"b", |manifest, tree| {
            manifest.kernel.command_line = "quiet".to_owned();
            manifest.resolution[0].version = "2.37".to_owned();
            manifest.steps[0].bytes = 7;
            manifest.services_removed.clear();
            let mode = Entry::new(Kind::File(Content::inline(*b"#!")), 0o644, 0, Origin::Recipe);
            tree.insert(TreePath::new(b"bin/sh").unwrap(), mode.clone());
            tree.insert(TreePath::new(b"bin/new").unwrap(), mode);
        });
        let comparison = Comparison::of(&facts_of(b"a", |_, _| ()), &after);
        assert_eq!(
            told(&comparison.facts),
            ["kernel.command-line: \"console=ttyS0 quiet\" \"quiet\""]
        );
        assert_eq!(told(&comparison.sizes).len(), 1);
        assert_eq!(comparison.packages[0].what, "libc6:i386");
        assert_eq!(told(&comparison.services), ["cron: \"init-script of cron\" -"]);
        let files: Vec<(&str, bool)> = comparison
            .files
            .iter()
            .map(|change| (change.what.as_str(), change.before.is_some()))
            .collect();
        assert_eq!(files, [("/bin/new", false), ("/bin/sh", true)]);
    }

    #[test]
    fn every_part_of_a_manifest_is_compared() {
        let manifest = manifest("minimal", &ARTEFACTS);
        let json = serde_json::to_value(&manifest).unwrap();
        let facts = facts(&manifest);
        for key in json
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !LISTED.contains(&key.as_str()))
        {
            let below = format!("{key}.");
            assert!(
                facts.keys().any(|fact| fact == key || fact.starts_with(&below)),
                "{key}"
            );
        }
    }
}
