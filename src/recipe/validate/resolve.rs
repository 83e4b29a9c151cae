//! The merged recipe as a whole.

use super::{base, combination, commands, libraries, machine, overlays, paths, services, software, words};
use crate::diagnostic::Span;
use crate::digest::Digest;
use crate::recipe::codes;
use crate::recipe::located::Place;
use crate::recipe::model;
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::Recipe;

/// Checks `merged` and fills in its defaults. The result is meaningful only if `report` has no
/// error afterwards.
pub(in crate::recipe) fn resolve(merged: model::Recipe, report: &mut Report) -> Recipe {
    combination::check(&merged, report);
    let root = merged.name.as_ref().map(|name| name.place.clone());
    let root = root.unwrap_or(Place {
        file: 0,
        span: Span { range: 0..0 },
    });
    let base = base::resolve(merged.base.unwrap_or_default(), &root, report);
    let (keep_services, origins) = services::resolve(merged.services.unwrap_or_default(), report);
    let sources = report
        .files
        .iter()
        .map(|file| (file.path.clone(), Digest::of(file.text.as_bytes())));
    Recipe {
        sources: sources.collect(),
        name: name(merged.name, report),
        description: one_line(merged.description),
        packages: software::packages(merged.packages, report),
        keep_services,
        purge: software::purge(merged.purge),
        keep: paths::keep(merged.keep, report),
        overlays: overlays::resolve(merged.overlays, report),
        files: paths::files(merged.files, report),
        libraries: merged.libraries.map(|section| libraries::resolve(section, report)),
        kernel: machine::kernel(merged.kernel.unwrap_or_default(), base.architecture, report),
        init: merged.init.map(|init| init.value).unwrap_or_default(),
        image: machine::image(merged.image.unwrap_or_default(), report),
        run: machine::run(merged.run.unwrap_or_default(), report),
        warm: commands::warm(merged.warm.unwrap_or_default(), report),
        validate: commands::validations(merged.validate, report),
        base,
        origins,
    }
}

fn name(name: Option<model::Word>, report: &mut Report) -> String {
    // Without a name, its absence is already reported.
    let Some(name) = name else { return String::new() };
    if !words::is_image(&name.value) {
        let message = format!("{} cannot name an image", quoted(&name.value));
        let added = report.add(&name.place, codes::IMAGE_NAME, message);
        added.help("use up to 63 lower-case letters, digits, '+', '-' and '.', a letter or digit first");
    }
    name.value
}

/// A description may be folded over several lines of YAML; tables show it in one.
fn one_line(description: Option<model::Word>) -> String {
    let text = description.map(|text| text.value).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
