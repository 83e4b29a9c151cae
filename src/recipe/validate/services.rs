//! Services to keep: their globs, and whether the tree has anything they match.

use globset::Glob;

use super::paths::check_glob;
use crate::diagnostic::Diagnostic;
use crate::recipe::codes;
use crate::recipe::model::Services;
use crate::recipe::report::{Report, diagnostic, quoted};
use crate::recipe::resolved::{Origin, Origins, Recipe};
use crate::recipe::suggest::did_you_mean;

/// The globs and their places, in the order written, without duplicates.
pub(super) fn resolve(services: Services, report: &mut Report) -> (Vec<String>, Origins) {
    let mut globs = Vec::new();
    let mut origins = Origins::default();
    for word in services.keep.unwrap_or_default() {
        check_glob(&word, report);
        if word.value.contains('/') {
            let message = format!("{} is not a glob of service names", quoted(&word.value));
            let added = report.add(&word.place, codes::GLOB, message);
            added.help("write the service's name alone, such as 'ssh'");
        }
        if !globs.contains(&word.value) {
            globs.push(word.value);
            origins.keep_services.push(Origin {
                file: report.files[word.place.file].clone(),
                span: word.place.span,
            });
        }
    }
    (globs, origins)
}

/// The globs of [`Recipe::keep_services`] that match none of the services `available` in the
/// bootstrapped tree (names without `.service`). `*` may match nothing: it asks for no service
/// in particular.
#[must_use]
pub fn unmatched_services(recipe: &Recipe, available: &[String]) -> Vec<Diagnostic> {
    let places = recipe.keep_services.iter().zip(&recipe.origins.keep_services);
    let unmatched = places.filter(|(glob, _)| {
        let matcher = Glob::new(glob).map(|glob| glob.compile_matcher());
        glob.as_str() != "*" && !matcher.is_ok_and(|matcher| available.iter().any(|name| matcher.is_match(name)))
    });
    let report = |(glob, origin): (&String, &Origin)| {
        let message = format!("no installed package brings a service {}", quoted(glob));
        let file = origin.file.clone();
        let mut diagnostic = diagnostic(file, origin.span.clone(), codes::SERVICE_UNKNOWN, message);
        let known = || match available {
            [] => "no installed package brings any service: add the package to 'packages'".to_owned(),
            _ => format!(
                "add its package to 'packages'; services there are: {}",
                available.join(", ")
            ),
        };
        diagnostic.help = Some(did_you_mean(glob, available.iter().map(String::as_str)).unwrap_or_else(known));
        diagnostic
    };
    unmatched.map(report).collect()
}
