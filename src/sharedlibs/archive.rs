//! Packages by name, from Debian's archive.

use std::path::{Path, PathBuf};

use super::LibraryError;
use crate::exec::Runner;
use crate::recipe::Base;
use crate::rootfs::apt::AptState;
use crate::rootfs::archive::ArchiveSource;
use crate::rootfs::pool::Pool;
use crate::rootfs::resolve;

/// Which packages, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The release, architecture, components, pockets and mirror.
    pub base: &'a Base,
    /// Names of packages.
    pub names: &'a [String],
    /// Whether what they depend on comes with them.
    pub dependencies: bool,
}

/// The package files ordered, in `cache` (hpcvm's own cache folder), where they stay. Signatures
/// and digests are checked.
pub fn fetch(
    runner: &dyn Runner,
    order: Order<'_>,
    cache: &Path,
    progress: &dyn Fn(&str),
) -> Result<Vec<PathBuf>, LibraryError> {
    let source = ArchiveSource::find(runner, order.base, None)?;
    let state = AptState::open(&cache.join("apt"), &source, order.base.architecture)?;
    progress("fetching package lists");
    state.update(runner)?;
    let packages = resolve::named(runner, &state, order.names, order.dependencies)?;
    progress(&format!("fetching {} packages", packages.len()));
    let pool = Pool::new(&cache.join("pool"));
    pool.fetch(runner, &source, &packages)?;
    Ok(packages.iter().map(|package| pool.path_of(&package.sha256)).collect())
}
