//! After a job that failed for want of a library or an interpreter: what the recipe lacks.

use super::Context;
use super::scan_image::remedies;
use crate::image::StoredImage;
use crate::launch::{LaunchError, LaunchRequest, Outcome};
use crate::remedy::{Adviser, Lack, Remedy};
use crate::sharedlibs::Repository;

/// What would mend the failure, as far as the guest told.
pub(super) fn of(
    context: &Context,
    image: &StoredImage,
    request: &LaunchRequest,
    result: &Result<Outcome, LaunchError>,
) -> Vec<Remedy> {
    let lacks = match result {
        Ok(outcome) => outcome.lacks.clone(),
        Err(LaunchError::Command {
            command,
            interpreter: Some(path),
            ..
        }) => vec![Lack::Interpreter {
            path: path.clone(),
            needed_by: Some(command.clone()),
        }],
        Err(_) => Vec::new(),
    };
    if lacks.is_empty() {
        return Vec::new();
    }
    let folder = request.libraries.as_ref().map(|libraries| &libraries.folder);
    let repository = folder.and_then(|folder| Repository::open(folder).ok());
    let adviser = Adviser::new(image, repository.as_ref(), context.places.cache.join("pool"));
    lacks.into_iter().map(|lack| adviser.remedy(lack)).collect()
}

/// Tells it, after all the job's own output.
pub(super) fn tell(context: &Context, advice: &[Remedy]) {
    if advice.is_empty() {
        return;
    }
    context.ui.note("the guest lacks what the job needs");
    if !context.ui.is_silent() {
        context.ui.complain(&remedies(advice, context.ui.stderr_style()));
    }
}
