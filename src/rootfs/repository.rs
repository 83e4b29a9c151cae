//! A small Debian repository of exactly the packages resolved, for the bootstrap tools: what is
//! installed cannot differ from what was resolved, and nothing is fetched twice.

use std::fs;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::RootfsError;
use super::error::writing;
use super::pool::Pool;
use super::resolve::{Package, Resolution};
use crate::digest::Digest;
use crate::durable;
use crate::exec::{Invocation, Runner};

/// Makes the repository of `resolution` in `folder`, from package files in `pool`. All of it is
/// readable by everybody, since an unprivileged bootstrap runs as another user.
pub fn make(runner: &dyn Runner, resolution: &Resolution, pool: &Pool, folder: &Path) -> Result<(), RootfsError> {
    let archive = &resolution.archive;
    let index_folder = format!("main/binary-{}", archive.architecture);
    let release_folder = folder.join("dists").join(&archive.suite);
    let packages = folder.join("pool");
    for path in [&packages, &release_folder.join(&index_folder)] {
        fs::create_dir_all(path).map_err(writing(path))?;
    }
    let stanzas = resolution
        .packages
        .par_iter()
        .map(|package| stanza(runner, package, pool, &packages))
        .collect::<Result<Vec<String>, RootfsError>>()?;
    let text = stanzas.concat();
    durable::write(&release_folder.join(&index_folder).join("Packages"), text.as_bytes())?;
    let release = format!(
        "Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: {architecture}\n\
         Components: main\nSHA256:\n {digest} {size} {index_folder}/Packages\n",
        suite = archive.suite,
        architecture = archive.architecture,
        digest = Digest::of(text.as_bytes()),
        size = text.len(),
    );
    Ok(durable::write(&release_folder.join("Release"), release.as_bytes())?)
}

/// Puts one package file in place; returns its stanza of the index.
fn stanza(runner: &dyn Runner, package: &Package, pool: &Pool, folder: &Path) -> Result<String, RootfsError> {
    // Epochs and the like are escaped differently by each tool: the digest needs no escaping.
    let name = format!("{}_{}.deb", package.name, package.sha256.short());
    let (source, target) = (pool.path_of(&package.sha256), folder.join(&name));
    link_or_copy(&source, &target).map_err(writing(&target))?;
    let control = runner
        .run(&Invocation::new("dpkg-deb").arg("--field").arg(&target))?
        .text();
    let (control, size, digest) = (control.trim_end(), package.size, package.sha256);
    Ok(format!(
        "{control}\nFilename: pool/{name}\nSize: {size}\nSHA256: {digest}\n\n"
    ))
}

/// A second name where the file system allows it and others may read it, else a copy.
fn link_or_copy(source: &Path, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if fs::metadata(source)?.mode() & 0o044 == 0o044 && fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o644))
}
