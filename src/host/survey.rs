//! Everything looked at, in the order a reader wants it.

use std::path::Path;

use super::finding::Finding;
use super::{guests, namespaces, resources, tools, virtualbox};
use crate::architecture::Architecture;
use crate::exec::Host;

/// What the machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Building images.
    Build,
    /// Running jobs.
    Run,
}

/// The machine and the places on it that are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Starts programs.
    pub host: &'a Host,
    /// The image store's folder.
    pub store: &'a Path,
    /// The cache's folder.
    pub cache: &'a Path,
    /// The folder for what lives no longer than one command.
    pub scratch: &'a Path,
}

/// Looks at everything that `purpose` needs, or at everything.
#[must_use]
pub fn survey(around: Surroundings<'_>, purpose: Option<Purpose>) -> Vec<Finding> {
    let Surroundings {
        host,
        store,
        cache,
        scratch,
    } = around;
    let mut findings = tools::look(host, purpose);
    if purpose != Some(Purpose::Run) {
        findings.push(namespaces::look(host));
        findings.push(guests::foreign_programs(host, Architecture::I386));
        findings.push(guests::package_sources(host));
        findings.push(resources::folder("cache", cache, resources::CACHE_NEEDED, "--cache"));
    }
    if purpose != Some(Purpose::Build) {
        for architecture in [Architecture::I386, Architecture::Amd64] {
            findings.extend(guests::accelerators(host, scratch, architecture));
        }
        findings.push(virtualbox::look(host));
    }
    findings.push(match purpose {
        Some(Purpose::Run) => resources::store_to_read(store),
        _ => resources::folder("store", store, resources::STORE_NEEDED, "--store"),
    });
    findings.push(resources::folder(
        "scratch",
        scratch,
        resources::SCRATCH_NEEDED,
        "TMPDIR",
    ));
    findings.push(resources::memory());
    findings.push(resources::processors());
    findings
}
