//! Bootstrap `configured`: packages are installed and their maintainer scripts run, by
//! mmdebstrap (as root or in a user namespace) or debootstrap (as root).

use std::fs;
use std::path::{Path, PathBuf};

use super::RootfsError;
use super::error::writing;
use super::installed;
use super::pool::Pool;
use super::repository;
use super::resolve::Resolution;
use super::tarball;
use super::tree::{Origin, Tree};
use super::{layout, resolve};
use crate::architecture::Architecture;
use crate::exec::{ExecError, Invocation, Runner};
use crate::recipe::{Bootstrapper, Initrd};

/// A program that bootstraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// mmdebstrap(1).
    Mmdebstrap,
    /// debootstrap(8).
    Debootstrap,
}

/// The tool that `choice` means on this host, and the line in which it tells its version.
pub fn bootstrapper(runner: &dyn Runner, choice: Bootstrapper) -> Result<(Tool, String), RootfsError> {
    let version = |name: &str| -> Result<String, ExecError> {
        let said = runner.run(&Invocation::new(name).arg("--version"))?.text();
        Ok(said.trim().to_owned())
    };
    if choice == Bootstrapper::Debootstrap {
        return Ok((Tool::Debootstrap, version("debootstrap")?));
    }
    match version("mmdebstrap") {
        Ok(version) => Ok((Tool::Mmdebstrap, version)),
        Err(missing @ ExecError::NotFound { .. }) if choice == Bootstrapper::Auto => match version("debootstrap") {
            Ok(version) => Ok((Tool::Debootstrap, version)),
            // Neither is there: mmdebstrap is the one to install.
            Err(_) => Err(missing.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// What a configured bootstrap works with.
#[derive(Debug)]
pub struct Job<'a> {
    /// The packages; all of them in the pool.
    pub resolution: &'a Resolution,
    /// Where the package files are.
    pub pool: &'a Pool,
    /// A folder that other users may enter, such as `/tmp`; nothing is left there.
    pub scratch: &'a Path,
    /// Which initial RAM disk is made: Debian's takes half a minute.
    pub initrd: Initrd,
    /// The tool.
    pub tool: Tool,
}

/// Bootstraps into the tar archive `archive`; the tree is an index over it. That exactly the
/// packages resolved are installed is checked.
pub fn bootstrap(runner: &dyn Runner, job: &Job<'_>, archive: &Path) -> Result<Tree, RootfsError> {
    let root = rustix::process::geteuid().is_root();
    match job.tool {
        Tool::Debootstrap if !root => return Err(RootfsError::NeedsRoot { tool: "debootstrap" }),
        Tool::Mmdebstrap if !root => preflight(runner)?,
        _ => {}
    }
    let folder = open_folder(job.scratch)?;
    let repository = folder.path().join("repository");
    repository::make(runner, job.resolution, job.pool, &repository)?;
    let partial = archive.with_extension("partial");
    let made = match job.tool {
        Tool::Mmdebstrap => runner.run(&mmdebstrap(runner, job, &repository, &partial)),
        Tool::Debootstrap => debootstrap(runner, job, &repository, folder.path(), &partial),
    };
    if let Err(error) = made {
        let _ = fs::remove_file(&partial);
        return Err(error.into());
    }
    fs::rename(&partial, archive).map_err(writing(archive))?;
    read(archive, job.resolution)
}

/// The tree in an archive that a bootstrap made.
fn read(archive: &Path, resolution: &Resolution) -> Result<Tree, RootfsError> {
    let mut tree = Tree::default();
    for (path, entry) in tarball::entries(archive, &Origin::Bootstrap)? {
        tree.insert(path, entry);
    }
    tarball::check_links(&tree)?;
    installed::check(&tree, &resolution.packages)?;
    installed::assign_owners(&mut tree)?;
    Ok(tree)
}

/// A new folder in `scratch` that everybody may read.
fn open_folder(scratch: &Path) -> Result<tempfile::TempDir, RootfsError> {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .prefix("hpcvm-bootstrap-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(scratch)
        .map_err(writing(scratch))
}

/// Tells before minutes of work whether an ordinary user can configure packages here: a user
/// namespace must be allowed, with at least 65536 subordinate ids (subuid(5)).
fn preflight(runner: &dyn Runner) -> Result<(), RootfsError> {
    let refused = |why: String| RootfsError::NoUserNamespace { why };
    let helper = runner.run(&Invocation::new("newuidmap"));
    if let Err(ExecError::NotFound { .. }) = helper {
        return Err(refused("newuidmap is not installed".to_owned()));
    }
    let tried = runner.run(&Invocation::new("unshare").args(["--user", "--map-root-user", "--map-auto", "true"]));
    match tried {
        Ok(_) => Ok(()),
        Err(ExecError::Failed { stderr, .. }) => {
            let allowed = Path::new("/proc/sys/kernel/unprivileged_userns_clone");
            let why = match fs::read_to_string(allowed) {
                Ok(value) if value.trim() == "0" => format!("{} is 0", allowed.display()),
                _ => stderr.lines().last().unwrap_or("unshare failed").to_owned(),
            };
            Err(refused(why))
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs after the essential packages are there: what packages like the kernel start to make an
/// initrd is put aside, for each of the two times it would run takes 20 s.
const DIVERT: &str = r#"chroot "$1" dpkg-divert --quiet --local --rename --add /usr/sbin/update-initramfs &&
mkdir -p "$1/usr/sbin" && printf '#!/bin/sh\nexit 0\n' > "$1/usr/sbin/update-initramfs" &&
chmod 755 "$1/usr/sbin/update-initramfs""#;

/// Undoes [`DIVERT`].
const UNDIVERT: &str = r#"rm "$1/usr/sbin/update-initramfs" &&
chroot "$1" dpkg-divert --quiet --local --rename --remove /usr/sbin/update-initramfs"#;

/// Makes the links of a merged /usr, which packages of Debian 12 expect and do not make.
fn merge_hook(architecture: Architecture) -> String {
    let more = match architecture {
        Architecture::I386 => "",
        Architecture::Amd64 => " lib64",
    };
    format!(r#"for d in bin sbin lib{more}; do mkdir -p "$1/usr/$d" && ln -s "usr/$d" "$1/$d" || exit 1; done"#)
}

/// `tool` where what it mounts in the tree is seen by nobody else: killed outright, it leaves no mounts of the host's
/// `/proc` and `/sys` in a folder that somebody then removes. An ordinary user's bootstrap has such a place anyway, and a
/// container's root may have none.
fn apart(runner: &dyn Runner, tool: &str) -> Invocation {
    let root = rustix::process::geteuid().is_root();
    if root
        && runner
            .run(&Invocation::new("unshare").args(["--mount", "true"]))
            .is_ok()
    {
        Invocation::new("unshare").args(["--mount", tool])
    } else {
        Invocation::new(tool)
    }
}

fn mmdebstrap(runner: &dyn Runner, job: &Job<'_>, repository: &Path, target: &Path) -> Invocation {
    let resolution = job.resolution;
    let archive = &resolution.archive;
    let root = rustix::process::geteuid().is_root();
    let mode = if root { "root" } else { "unshare" };
    let names: Vec<&str> = resolution
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let hook = |when: &str, script: &str| format!("--{when}-hook={script}");
    let mut command = apart(runner, "mmdebstrap")
        .args(["--variant=essential", "--format=tar", "--skip=output/dev,output/mknod"])
        .arg(format!("--mode={mode}"))
        .arg(format!("--architectures={}", archive.architecture))
        .arg(format!("--include={}", names.join(",")))
        .args(["--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Languages \"none\""])
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .env("SOURCE_DATE_EPOCH", resolution.epoch.to_string())
        .env("TMPDIR", job.scratch)
        .env("DEBIAN_FRONTEND", "noninteractive");
    if layout::is_merged(&archive.suite) {
        command = command.arg(hook("setup", &merge_hook(archive.architecture)));
    }
    if has_initramfs_tools(&resolution.packages) {
        command = command.arg(hook("essential", DIVERT)).arg(hook("customize", UNDIVERT));
        if job.initrd == Initrd::Debian {
            command = command.arg(hook("customize", r#"chroot "$1" update-initramfs -c -k all"#));
        }
    }
    let source = format!("deb [trusted=yes] copy:{} {} main", repository.display(), archive.suite);
    command.arg(&archive.suite).arg(target).arg(source)
}

fn has_initramfs_tools(packages: &[resolve::Package]) -> bool {
    packages.iter().any(|package| package.name == "initramfs-tools")
}

/// debootstrap into a folder of its own, then tar.
fn debootstrap(
    runner: &dyn Runner,
    job: &Job<'_>,
    repository: &Path,
    folder: &Path,
    target: &Path,
) -> Result<crate::exec::Completed, ExecError> {
    let resolution = job.resolution;
    let archive = &resolution.archive;
    let names: Vec<&str> = resolution
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let tree: PathBuf = folder.join("tree");
    let command = apart(runner, "debootstrap")
        .args(["--variant=minbase", "--no-check-gpg", "--components=main"])
        .arg(format!("--arch={}", archive.architecture))
        .arg(format!("--include={}", names.join(",")))
        .arg(&archive.suite)
        .arg(&tree)
        .arg(format!("file://{}", repository.display()))
        .env("SOURCE_DATE_EPOCH", resolution.epoch.to_string())
        .env("DEBIAN_FRONTEND", "noninteractive");
    runner.run(&command)?;
    let pack = Invocation::new("tar")
        .args([
            "--create",
            "--numeric-owner",
            "--one-file-system",
            "--sort=name",
            "--format=pax",
        ])
        .args(["--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"])
        .args(["--exclude=./var/cache/apt/archives/*.deb"])
        .arg("--directory")
        .arg(&tree)
        .arg("--file")
        .arg(target)
        .arg(".");
    runner.run(&pack)
}
