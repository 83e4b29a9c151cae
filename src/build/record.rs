//! What is known of a finished image.

use super::kernel::BootKernel;
use super::tree::Slim;
use super::{BuildError, Job};
use crate::digest::Digest;
use crate::exec::Invocation;
use crate::image::disk::{DiskLayout, PartitionSpan};
use crate::image::file_list::{FILE_LIST_FILE, FileList};
use crate::image::library_list::LIBRARY_LIST_FILE;
use crate::image::manifest::{self, Manifest};
use crate::image::root::RootImage;
use crate::image::{DISK_FILE, FULL_INITRD_FILE, INITRD_FILE, KERNEL_FILE, Staging};
use crate::plan;
use crate::recipe::{Recipe, RootKind};
use crate::rootfs::resolve::{Package, Resolution};
use crate::rootfs::services::{ServiceKind, Stripped};
use crate::rootfs::tree::Origin;

/// Everything a build made.
pub(super) struct Made<'a> {
    pub(super) resolution: &'a Resolution,
    pub(super) slim: &'a Slim,
    pub(super) kernel: &'a BootKernel,
    pub(super) root: &'a RootImage,
    pub(super) layout: &'a DiskLayout,
}

/// Writes the file list, and that of libraries, into the staging folder and makes the manifest of all that stands there.
pub(super) fn manifest(
    job: &Job<'_>,
    recipe: &Recipe,
    digest: Digest,
    made: &Made<'_>,
    staging: &Staging,
) -> Result<Manifest, BuildError> {
    let files = FileList::of(&made.slim.tree);
    crate::durable::write(&staging.path(FILE_LIST_FILE), &files.to_bytes())?;
    if let Some(linked) = &made.slim.libraries {
        crate::durable::write(&staging.path(LIBRARY_LIST_FILE), &linked.list.to_bytes())?;
    }
    let packages = made.resolution.packages.iter().map(package).collect();
    Ok(Manifest {
        manifest: manifest::MANIFEST_VERSION,
        hpcvm: env!("CARGO_PKG_VERSION").to_owned(),
        name: recipe.name.clone(),
        description: recipe.description.clone(),
        architecture: recipe.base.architecture,
        suite: recipe.base.suite.clone(),
        recipe: manifest::RecipeIdentity {
            digest,
            sources: sources(recipe),
        },
        resolution: packages,
        kernel: kernel(recipe, made),
        init: recipe.init,
        root: root(recipe, made.root),
        disk: disk(made.layout),
        artefacts: artefacts(staging)?,
        file_list: FILE_LIST_FILE.to_owned(),
        packages: files.sizes_by_package(),
        services_removed: made.slim.stripped.iter().map(service).collect(),
        purge: made.slim.purged.iter().map(saving).collect(),
        tools: tools(job, recipe),
        steps: made.slim.sizes.iter().map(step).collect(),
        run: (&recipe.run).into(),
        warm: (recipe.warm != crate::recipe::Warm::default()).then(|| recipe.warm.clone()),
        validation: recipe.validate.iter().map(Into::into).collect(),
        libraries: made.slim.libraries.as_ref().and_then(|linked| linked.libraries.clone()),
    })
}

fn sources(recipe: &Recipe) -> Vec<manifest::Source> {
    let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = |(path, digest): &(std::path::PathBuf, Digest)| manifest::Source {
        file: name(path).unwrap_or_default(),
        digest: *digest,
    };
    recipe.sources.iter().map(source).collect()
}

fn package(package: &Package) -> manifest::Package {
    manifest::Package {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        digest: package.sha256,
    }
}

fn kernel(recipe: &Recipe, made: &Made<'_>) -> manifest::Kernel {
    manifest::Kernel {
        package: made.resolution.kernel.name.clone(),
        version: made.resolution.kernel.version.clone(),
        release: made.kernel.release.clone(),
        wrap: recipe.kernel.wrap,
        initrd: recipe.kernel.initrd,
        command_line: made.kernel.command_line.clone(),
    }
}

fn root(recipe: &Recipe, root: &RootImage) -> manifest::Root {
    let kind = recipe.image.root;
    manifest::Root {
        kind,
        compression: (kind == RootKind::ReadOnly).then_some(recipe.image.compression),
        length: root.length,
        digest: root.digest,
    }
}

fn disk(layout: &DiskLayout) -> manifest::DiskLayout {
    let extent = |span: PartitionSpan| manifest::Extent {
        offset: span.offset,
        length: span.length,
    };
    manifest::DiskLayout {
        data_offset: layout.data_offset,
        boot: extent(layout.boot),
        root: extent(layout.root),
        signature: layout.signature.number(),
    }
}

fn artefacts(staging: &Staging) -> Result<Vec<manifest::Artefact>, BuildError> {
    let mut artefacts = Vec::new();
    let names = [
        FILE_LIST_FILE,
        LIBRARY_LIST_FILE,
        DISK_FILE,
        INITRD_FILE,
        FULL_INITRD_FILE,
        KERNEL_FILE,
    ];
    for name in names {
        let path = staging.path(name);
        // A guest with Debian's initrd has only that; libraries are weighed where a recipe asks.
        if [FULL_INITRD_FILE, LIBRARY_LIST_FILE].contains(&name) && !path.exists() {
            continue;
        }
        let failed = |source| BuildError::Staging {
            path: path.clone(),
            source,
        };
        let length = std::fs::metadata(&path).map_err(failed)?.len();
        let digest = Digest::of_file(&path).map_err(failed)?;
        artefacts.push(manifest::Artefact {
            name: name.to_owned(),
            length,
            digest,
        });
    }
    artefacts.sort();
    Ok(artefacts)
}

fn service(stripped: &Stripped) -> manifest::Service {
    let service = &stripped.service;
    manifest::Service {
        name: service.name.clone(),
        kind: match service.kind {
            ServiceKind::Systemd => "systemd",
            ServiceKind::Sysv => "sysv",
        }
        .to_owned(),
        package: match &service.origin {
            Origin::Package(name) => Some(name.to_string()),
            Origin::Overlay(_) | Origin::Recipe | Origin::Bootstrap => None,
        },
    }
}

fn saving(purged: &crate::rootfs::purge::Purged) -> manifest::PurgeSaving {
    manifest::PurgeSaving {
        rule: purged.rule,
        files: purged.files as u64,
        bytes: purged.bytes.0,
    }
}

fn step(&(name, entries, bytes): &(&'static str, usize, u64)) -> manifest::StepSize {
    manifest::StepSize {
        name: name.to_owned(),
        entries: entries as u64,
        bytes,
    }
}

/// The tools whose version can change the image's bytes, as they tell it.
fn tools(job: &Job<'_>, recipe: &Recipe) -> Vec<manifest::Tool> {
    plan::tools(recipe)
        .into_iter()
        .filter_map(|tool| version(job, tool))
        .collect()
}

fn version(job: &Job<'_>, tool: &str) -> Option<manifest::Tool> {
    let flag = match tool {
        "mksquashfs" => "-version",
        "mke2fs" | "debugfs" => "-V",
        "syslinux" => "-v",
        "mmdebstrap" | "debootstrap" | "mcopy" => "--version",
        // apt and dpkg only move bytes that are verified by digest.
        _ => return None,
    };
    let said = job.runner.run(&Invocation::new(tool).arg(flag)).ok()?;
    let text = [said.text(), String::from_utf8_lossy(&said.stderr).into_owned()].concat();
    let version = text.lines().find(|line| !line.trim().is_empty())?.trim().to_owned();
    Some(manifest::Tool {
        name: tool.to_owned(),
        version,
    })
}
