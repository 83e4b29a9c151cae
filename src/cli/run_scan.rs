//! Whether the user's own program would run in the guest, before anything starts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::scan_image::{self, Guest};
use super::ui::Style;
use super::{CliError, Context};
use crate::diagnostic::{Blame, Problem};
use crate::elf::loader::{Loader, Settings};
use crate::elf::scan::{Options, scan};
use crate::image::StoredImage;
use crate::image::contents::Mount;
use crate::launch::LaunchRequest;
use crate::remedy::{Remedy, found};

/// The command cannot start in the guest.
#[derive(Debug, thiserror::Error)]
#[error("{program} would not run in {image}\n{}", scan_image::remedies(remedies, Style::Plain).trim_end())]
struct WouldNotRun {
    program: String,
    image: String,
    remedies: Vec<Remedy>,
}

impl Problem for WouldNotRun {
    fn code(&self) -> &'static str {
        "HV4411"
    }

    fn blame(&self) -> Blame {
        Blame::Image
    }

    fn help(&self) -> Option<String> {
        Some("see all that it loads with `hpcvm scan --image`; start it nevertheless with --no-scan".to_owned())
    }
}

/// Scans the command of `request` as the guest would load it, where it is a file of the user's:
/// in a shared folder or among the inputs. The image's own programs were proven by its build.
pub(super) fn check(context: &Context, image: &StoredImage, request: &LaunchRequest) -> Result<(), CliError> {
    let mounts = mounts(request);
    let Some(program) = own_program(request, &mounts) else {
        return Ok(());
    };
    let repository = request.libraries.as_ref().map(|libraries| libraries.folder.clone());
    let mut guest = Guest::open(context, image.clone(), repository.as_deref())?;
    for mount in mounts {
        guest.files.mount(mount);
    }
    let settings = Settings {
        library_path: variable(request, "LD_LIBRARY_PATH"),
        cpu_level: 1,
        working_folder: request.job_folder(),
    };
    let loader = Loader::new(&guest.files, settings);
    let options = Options {
        symbols: false,
        plugins: false,
        path: variable(request, "PATH"),
    };
    let scanned = scan(&loader, std::slice::from_ref(&program), &options)?;
    let lacks = scanned
        .iter()
        .flat_map(|file| found::fatal(file, image.manifest.architecture));
    let lacks: Vec<_> = lacks.collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let adviser = guest.adviser(context);
    let error = WouldNotRun {
        program: program.display().to_string(),
        image: image.manifest.name.clone(),
        remedies: lacks.into_iter().map(|lack| adviser.remedy(lack)).collect(),
    };
    Err(error.into())
}

fn variable(request: &LaunchRequest, name: &str) -> std::ffi::OsString {
    let mut variables = request.job.environment.iter();
    let found = variables.find(|(known, _)| known == OsStr::new(name));
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What of the host the job sees, and where.
fn mounts(request: &LaunchRequest) -> Vec<Mount> {
    let folder = request.job_folder();
    let shares = request.shares.iter().map(|share| (share.guest.clone(), &share.host));
    let inputs = request
        .inputs
        .iter()
        .map(|input| (folder.join(&input.guest), &input.host));
    let mount = |(guest, host): (PathBuf, &PathBuf)| Mount {
        guest: plain(&guest),
        host: host.clone(),
    };
    let mut mounts: Vec<Mount> = shares.chain(inputs).map(mount).collect();
    // The innermost counts.
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.guest.as_os_str().len()));
    mounts
}

/// `path` without `.` and `..`, as long as they lead through no link.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The command's path in the guest, where it is a program or script of the user's.
fn own_program(request: &LaunchRequest, mounts: &[Mount]) -> Option<PathBuf> {
    let command = request.job.command.first()?;
    if !command.as_bytes().contains(&b'/') {
        return None;
    }
    let path = plain(&request.job_folder().join(command));
    let outside = mounts.iter().find_map(|mount| {
        let rest = path.strip_prefix(&mount.guest).ok()?;
        Some(if rest.as_os_str().is_empty() {
            mount.host.clone()
        } else {
            mount.host.join(rest)
        })
    })?;
    let mut start = [0; 4];
    File::open(outside).ok()?.read_exact(&mut start).ok()?;
    (start == *b"\x7fELF" || start.starts_with(b"#!")).then_some(path)
}
