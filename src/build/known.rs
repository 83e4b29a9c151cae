//! Images that the same inputs gave before.

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::image::StoredImage;
use crate::image::manifest::Generation;
use crate::recipe::Recipe;
use crate::sharedlibs::Repository;

/// The image that a build with these inputs gave, if it can still be used: where it links to a
/// generation of a repository, that must be there.
pub(super) fn image(job: &Job<'_>, recipe: &Recipe, key: Digest) -> Result<Option<StoredImage>, BuildError> {
    let known = job.store.build(key)?;
    Ok(known.filter(|image| {
        let linked = image.manifest.libraries.as_ref();
        linked.is_none_or(|libraries| is_there(job, recipe, &libraries.generation))
    }))
}

/// Whether the repository of `recipe` has this generation. One that cannot be read has none: the
/// build that follows tells why.
fn is_there(job: &Job<'_>, recipe: &Recipe, generation: &Generation) -> bool {
    let repository = job.repository(recipe).and_then(|folder| Repository::open(folder).ok());
    let index = repository.and_then(|repository| repository.generation(generation.number).ok());
    index.is_some_and(|index| index.digest == generation.digest)
}
