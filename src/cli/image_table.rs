//! How images are shown to a reader.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::ui::Style;
use crate::architecture::Architecture;
use crate::digest::Digest;
use crate::image::StoredImage;
use crate::units::Bytes;

/// One image in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Row {
    name: String,
    /// Whether the name stands for this image at present.
    current: bool,
    digest: Digest,
    architecture: Architecture,
    suite: String,
    /// Bytes of all its files.
    size: Bytes,
    /// Bytes of the root file system.
    root_size: Bytes,
    description: String,
}

impl Row {
    pub(super) fn of(image: &StoredImage, names: &[(String, Digest)]) -> Self {
        let manifest = &image.manifest;
        Self {
            name: manifest.name.clone(),
            current: names
                .iter()
                .any(|(name, digest)| *name == manifest.name && *digest == image.digest),
            digest: image.digest,
            architecture: manifest.architecture,
            suite: manifest.suite.clone(),
            size: Bytes(manifest.length()),
            root_size: Bytes(manifest.root.length),
            description: manifest.description.clone(),
        }
    }
}

/// The list of images; an older image of a name is in brackets.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["NAME", "DIGEST", "ARCH", "SUITE", "SIZE", "ROOT", "DESCRIPTION"]);
    for row in rows {
        let name = if row.current {
            row.name.clone()
        } else {
            format!("({})", row.name)
        };
        table.add_row([
            name,
            row.digest.short(),
            row.architecture.to_string(),
            row.suite.clone(),
            row.size.to_string(),
            row.root_size.to_string(),
            row.description.clone(),
        ]);
    }
    for column in [4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    flush_left(&mut table);
    format!("{}\n", table.trim_fmt())
}

/// Two blanks between columns, none before the first.
pub(super) fn flush_left(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

/// How many packages are shown.
const BIGGEST: usize = 10;

/// What an image is made of.
pub(super) fn show(image: &StoredImage, style: Style) -> String {
    let manifest = &image.manifest;
    let mut text = format!("{}  {}\n", style.strong(&manifest.name), manifest.description);
    let mut line = |label: &str, value: String| {
        // Writing to a string does not fail.
        writeln!(text, "  {label:<10} {value}").ok();
    };
    line("digest", image.digest.to_string());
    line("folder", image.folder.display().to_string());
    line("system", format!("Debian {} {}", manifest.suite, manifest.architecture));
    line("packages", manifest.resolution.len().to_string());
    line(
        "kernel",
        format!("{} ({})", manifest.kernel.release, manifest.kernel.version),
    );
    line("boots with", manifest.kernel.command_line.clone());
    line(
        "root",
        format!("{} of {}", Bytes(manifest.root.length), Bytes(manifest.length())),
    );
    line(
        "runs with",
        format!(
            "memory {}, processors {}, user {}",
            Bytes(manifest.run.memory),
            manifest.run.cpus,
            manifest.run.user
        ),
    );
    line("built by", format!("hpcvm {}", manifest.hpcvm));
    for section in [
        artefacts(image),
        steps(image),
        packages(image),
        purged(image),
        services(image),
    ] {
        text += &section;
    }
    text
}

fn section(title: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{title}\n  {}\n", lines.join("\n  "))
}

fn artefacts(image: &StoredImage) -> String {
    let line = |artefact: &crate::image::manifest::Artefact| {
        let size = Bytes(artefact.length).to_string();
        format!("{size:>10}  {}", artefact.name)
    };
    section("Files", image.manifest.artefacts.iter().map(line))
}

fn steps(image: &StoredImage) -> String {
    let line = |step: &crate::image::manifest::StepSize| {
        let size = Bytes(step.bytes).to_string();
        format!("{size:>10}  {:>7} entries after {}", step.entries, step.name)
    };
    section(
        "Root file system while it was built",
        image.manifest.steps.iter().map(line),
    )
}

fn packages(image: &StoredImage) -> String {
    let mut sizes: Vec<_> = image.manifest.packages.iter().collect();
    sizes.sort_by(|a, b| (b.bytes, &a.package).cmp(&(a.bytes, &b.package)));
    let line = |size: &&crate::image::manifest::PackageSize| {
        let bytes = Bytes(size.bytes).to_string();
        format!("{bytes:>10}  {:>7} files  {}", size.files, size.package)
    };
    let title = match sizes.len() {
        ..=BIGGEST => "Packages, not compressed".to_owned(),
        count => format!("Biggest {BIGGEST} of {count} packages, not compressed"),
    };
    section(&title, sizes.iter().take(BIGGEST).map(line))
}

fn purged(image: &StoredImage) -> String {
    let line = |saving: &crate::image::manifest::PurgeSaving| {
        let bytes = Bytes(saving.bytes).to_string();
        // The rule's name as recipes write it.
        let rule = serde_json::to_value(saving.rule).unwrap_or_default();
        format!(
            "{bytes:>10}  {:>7} entries  {}",
            saving.files,
            rule.as_str().unwrap_or_default()
        )
    };
    section("Purged", image.manifest.purge.iter().map(line))
}

fn services(image: &StoredImage) -> String {
    let line = |service: &crate::image::manifest::Service| match &service.package {
        Some(package) => format!("{} ({}, of {package})", service.name, service.kind),
        None => format!("{} ({})", service.name, service.kind),
    };
    section("Services removed", image.manifest.services_removed.iter().map(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::tests::{ARTEFACTS, manifest};

    fn image(name: &str, digest: &[u8]) -> StoredImage {
        StoredImage {
            digest: Digest::of(digest),
            folder: "/store/images/x".into(),
            manifest: manifest(name, &ARTEFACTS),
        }
    }

    #[test]
    fn images_are_listed_with_old_ones_in_brackets() {
        let names = [("a".to_owned(), Digest::of(b"new"))];
        let rows = [image("a", b"new"), image("a", b"old")].map(|image| Row::of(&image, &names));
        insta::assert_snapshot!(table(&rows), @r"
        NAME  DIGEST        ARCH  SUITE     SIZE  ROOT  DESCRIPTION
        a     11507a0e2f5e  i386  bookworm  53 B   2 B  a guest for tests
        (a)   cba06b5736fa  i386  bookworm  53 B   2 B  a guest for tests
        ");
    }

    #[test]
    fn an_image_is_shown_with_what_made_it_small() {
        insta::assert_snapshot!(show(&image("minimal", b"x"), Style::Plain), @r"
        minimal  a guest for tests
          digest     2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
          folder     /store/images/x
          system     Debian bookworm i386
          packages   1
          kernel     6.1.0-50-686 (6.1.176-1)
          boots with console=ttyS0 quiet
          root       2 B of 53 B
          runs with  memory 256.0 MiB, processors 1, user job
          built by   hpcvm 0.1.0

        Files
                25 B  files.json
                 4 B  image.vdi
                12 B  initrd
                12 B  kernel

        Root file system while it was built
           117.7 MiB     5000 entries after bootstrap

        Packages, not compressed
             2.2 MiB        4 files  libc6

        Purged
           337.6 KiB      120 entries  manuals

        Services removed
          cron (init-script, of cron)
        ");
    }
}
