//! Every file that a program may load.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::super::closure::{Closure, Loaded};
use super::super::object::Object;
use super::uses::{Certainty, Use};

/// One file that a program may load, and what leads to it.
#[derive(Clone, Debug)]
pub struct Reached {
    /// What it holds.
    pub object: Arc<Object>,
    /// The file that needs it, or that brings it in as a plug-in; `None` for the program.
    pub by: Option<PathBuf>,
    /// The family through which it is reached, the first in the order of `uses`; `None` for what is
    /// loaded at the start.
    pub family: Option<&'static str>,
    /// `None` for what is loaded at the start.
    pub certainty: Option<Certainty>,
}

/// Every file that the program of `closure` loads when it starts, or may load by `uses` while it
/// runs, by path. A need that a loaded file answers to is met by that file, as `ld.so` does.
#[must_use]
pub fn reached(closure: &Closure, uses: &[Use]) -> BTreeMap<PathBuf, Reached> {
    let mut all = BTreeMap::new();
    for loaded in &closure.objects {
        let by = loaded.loader.map(|by| closure.objects[by].path.clone());
        add(&mut all, loaded, by, None);
    }
    for used in uses {
        let how = Some((used.family, used.certainty));
        let found = used
            .members
            .iter()
            .filter(|member| closure.named(&member.name).is_none());
        for plugin in found.filter_map(|member| member.found.as_ref().ok()) {
            for (index, by) in plugin_files(closure, plugin) {
                let by = by.map_or(&used.trigger, |by| &plugin.objects[by].path);
                add(&mut all, &plugin.objects[index], Some(by.clone()), how);
            }
        }
    }
    all
}

fn add(
    all: &mut BTreeMap<PathBuf, Reached>,
    loaded: &Loaded,
    by: Option<PathBuf>,
    how: Option<(&'static str, Certainty)>,
) {
    all.entry(loaded.path.clone()).or_insert_with(|| Reached {
        object: loaded.object.clone(),
        by,
        family: how.map(|how| how.0),
        certainty: how.map(|how| how.1),
    });
}

/// The files that opening `plugin` adds to the program of `closure`, each with the file that needs
/// it, as places in `plugin`; the plug-in itself first, unless the program has it already.
#[must_use]
pub fn plugin_files(closure: &Closure, plugin: &Closure) -> Vec<(usize, Option<usize>)> {
    if closure.file(&plugin.objects[0].id).is_some() {
        return Vec::new();
    }
    let needs = plugin.needs();
    let mut files = vec![(0, None)];
    let mut seen = HashSet::from([0]);
    let mut next = 0;
    while next < files.len() {
        let from = files[next].0;
        for edge in needs.get(&from).into_iter().flatten() {
            if let Ok(to) = edge.to
                && closure.named(&edge.name).is_none()
                && closure.file(&plugin.objects[to].id).is_none()
                && seen.insert(to)
            {
                files.push((to, Some(from)));
            }
        }
        next += 1;
    }
    files
}
