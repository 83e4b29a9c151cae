//! What a build would do: its steps in order, the tools each needs, what is there already.
//!
//! A [`Plan`] is made from a recipe and [`Facts`] about this host without changing anything;
//! [`crate::build`] carries the same steps out.

mod inputs;
pub mod lock;
mod pinned;
mod step;

pub use inputs::{build_key, recipe_digest};
pub use pinned::Pins;
pub use step::StepKind;

use serde::Serialize;

use crate::digest::Digest;
use crate::recipe::Recipe;
use crate::rootfs::resolve::Resolution;

/// What a plan needs to know of this host.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The exact packages, where the recipe was resolved before.
    pub resolution: Option<Resolution>,
    /// Whether all their files are in the pool.
    pub fetched: bool,
    /// Whether their tree is in the cache.
    pub bootstrapped: bool,
    /// The image that the same inputs gave before.
    pub image: Option<Digest>,
    /// Tools that are not installed.
    pub missing: Vec<&'static str>,
}

/// What a build would do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Version of this format: 1.
    pub plan: u32,
    /// The image's name.
    pub name: String,
    /// Digest of the recipe as it was understood.
    pub recipe: Digest,
    /// The image that is there already, when nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The exact packages, `name version`, when they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<String>>,
    /// The steps in order.
    pub steps: Vec<PlannedStep>,
    /// Tools that are needed and not installed.
    pub missing: Vec<&'static str>,
}

/// One step of a build.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedStep {
    /// Which step.
    pub name: StepKind,
    /// What it does for this recipe.
    pub does: String,
    /// Programs it starts.
    pub tools: Vec<&'static str>,
    /// Whether its result is there already.
    pub cached: bool,
}

/// Plans the build of `recipe` on the host that `facts` describe.
#[must_use]
pub fn plan(recipe: &Recipe, digest: Digest, facts: &Facts) -> Plan {
    let step = |kind: StepKind| PlannedStep {
        name: kind,
        does: kind.describe(recipe),
        tools: kind.tools(recipe),
        cached: facts.image.is_some() || kind.is_cached(facts),
    };
    let listed = |resolution: &Resolution| {
        let all = resolution.packages.iter().chain([&resolution.kernel]);
        all.map(|package| format!("{} {}", package.name, package.version))
            .collect()
    };
    Plan {
        plan: 1,
        name: recipe.name.clone(),
        recipe: digest,
        image: facts.image,
        packages: facts.resolution.as_ref().map(listed),
        steps: StepKind::of(recipe).map(step).collect(),
        missing: facts.missing.clone(),
    }
}

/// Every program that building `recipe` may start, sorted.
#[must_use]
pub fn tools(recipe: &Recipe) -> Vec<&'static str> {
    let mut tools: Vec<_> = StepKind::of(recipe).flat_map(|kind| kind.tools(recipe)).collect();
    tools.sort_unstable();
    tools.dedup();
    tools
}
