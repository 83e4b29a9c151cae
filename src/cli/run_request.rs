//! From the arguments of `hpcvm run` to a launch request.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::JobOptions;
use super::{CliError, Context};
use crate::diagnostic::{Blame, Problem};
use crate::guest::job_disk::Identity;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Chipset, Network};
use crate::image::manifest::RunDefaults;
use crate::launch::{BootImage, Input, JobRequest, LaunchRequest, Limits, Output, Share, Start};
use crate::recipe::Init;

/// How the guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Boot {
    /// Directly where the image allows it, else by BIOS
    Auto,
    /// The hypervisor loads the kernel
    Direct,
    /// Q35 with AHCI
    Bios,
    /// 440FX with IDE
    BiosIde,
}

/// The guest's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum NetworkKind {
    /// No interface
    None,
    /// Outgoing connections only
    User,
}

impl From<NetworkKind> for Network {
    fn from(kind: NetworkKind) -> Self {
        match kind {
            NetworkKind::None => Self::None,
            NetworkKind::User => Self::User,
        }
    }
}

/// An argument that cannot be meant.
#[derive(Debug, thiserror::Error)]
enum ArgumentError {
    #[error("the working directory cannot be told: {0}")]
    WorkingDirectory(std::io::Error),
    #[error("--{option} {value:?}: {why}")]
    Option {
        option: &'static str,
        value: OsString,
        why: &'static str,
    },
}

impl Problem for ArgumentError {
    fn code(&self) -> &'static str {
        match self {
            Self::WorkingDirectory(_) => "HV0904",
            Self::Option { .. } => "HV0905",
        }
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::WorkingDirectory(_) => Some("go to another folder, or share one with --no-cwd --share".to_owned()),
            Self::Option { .. } => None,
        }
    }
}

/// The `PATH` a job finds programs on.
const JOB_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Boot limits: of guests with our job runner, and of those with their own init.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
const SERVICES_BOOT_LIMIT: Duration = Duration::from_mins(10);

/// A request for `command` with nothing shared and the image's own defaults.
pub(super) fn plain(
    context: &Context,
    image: BootImage,
    defaults: &RunDefaults,
    accelerator: Accelerator,
    command: Vec<OsString>,
) -> LaunchRequest {
    let own_init = image.init == Init::Services;
    let identity = identity(defaults);
    LaunchRequest {
        hypervisor: Hypervisor::Qemu,
        start: start(Boot::Auto, image.direct),
        warm: None,
        accelerator,
        memory: crate::units::Bytes(defaults.memory),
        cpus: defaults.cpus,
        job: JobRequest {
            command,
            environment: environment(context, &[], defaults, &identity, &image.name),
            folder: None,
            identity,
            umask: current_umask(),
            hostname: hostname(&image.name),
        },
        shares: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        libraries: None,
        scratch: None,
        network: Network::None,
        limits: Limits {
            boot: if own_init { SERVICES_BOOT_LIMIT } else { BOOT_LIMIT },
            job: None,
            grace: Duration::from_secs(10),
            power_off: if own_init {
                Duration::from_mins(2)
            } else {
                Duration::from_secs(20)
            },
        },
        console: None,
        keep: false,
        failure_logs: Some(context.places.cache.join("failed")),
        scratch_parent: context.places.scratch.clone(),
        image,
    }
}

/// The request that the options of `hpcvm run` or `hpcvm submit` make.
pub(super) fn build(
    context: &Context,
    args: &JobOptions,
    command: Vec<OsString>,
    image: BootImage,
    defaults: &RunDefaults,
    accelerator: Accelerator,
) -> Result<LaunchRequest, CliError> {
    let mut request = plain(context, image, defaults, accelerator, command);
    if !args.no_cwd {
        let folder = std::env::current_dir().map_err(ArgumentError::WorkingDirectory)?;
        request.shares.push(same_path(&folder));
        request.job.folder = Some(folder);
    }
    for value in &args.share {
        request.shares.push(share(value)?);
    }
    request.inputs = args.input.iter().map(|value| input(value)).collect::<Result<_, _>>()?;
    request.outputs = args
        .output
        .iter()
        .map(|value| output(value))
        .collect::<Result<_, _>>()?;
    request.job.folder = args.cwd.clone().or(request.job.folder);
    request.job.environment = environment(context, &args.env, defaults, &request.job.identity, &request.image.name);
    request.start = start(args.boot, request.image.direct);
    request.memory = args.memory.unwrap_or(request.memory);
    request.cpus = args.cpus.unwrap_or(request.cpus);
    request.scratch = args.scratch;
    request.network = args.net.into();
    request.limits.boot = args.boot_timeout.unwrap_or(request.limits.boot);
    request.limits.job = args.timeout;
    request.limits.grace = args.grace;
    request.console.clone_from(&args.console);
    request.keep = args.keep;
    Ok(request)
}

fn start(boot: Boot, direct: bool) -> Start {
    match boot {
        Boot::Auto if direct => Start::Direct,
        Boot::Direct => Start::Direct,
        // A stock guest has drivers for all of them; AHCI is the quicker one.
        Boot::Auto | Boot::Bios => Start::Bios(Chipset::Q35),
        Boot::BiosIde => Start::Bios(Chipset::Pc),
    }
}

fn same_path(folder: &Path) -> Share {
    Share {
        host: folder.to_owned(),
        guest: folder.to_owned(),
        read_only: false,
    }
}

/// The caller's numeric identity under the image's user name.
fn identity(defaults: &RunDefaults) -> Identity {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let groups = rustix::process::getgroups().unwrap_or_default();
    let (user, home) = match uid {
        0 => ("root".to_owned(), "/root".to_owned()),
        _ => (defaults.user.clone(), format!("/home/{}", defaults.user)),
    };
    Identity {
        uid,
        gid,
        groups: groups.into_iter().map(rustix::fs::Gid::as_raw).collect(),
        user,
        home,
    }
}

/// The mask can only be read by setting it; no other thread makes files yet.
fn current_umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// The image's name as far as a host name may look like it.
fn hostname(image: &str) -> String {
    let name: String = image
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    name.trim_matches('-').to_owned()
}

/// What programs of a template have for an environment.
pub(super) fn template_environment(defaults: &RunDefaults, image: &str) -> Vec<(OsString, OsString)> {
    let variables = image_environment(defaults, "root", "/root", image);
    variables.into_iter().collect()
}

/// What every job of an image has in its environment.
fn image_environment(defaults: &RunDefaults, user: &str, home: &str, image: &str) -> BTreeMap<OsString, OsString> {
    let own = [
        ("PATH", JOB_PATH),
        ("HOME", home),
        ("USER", user),
        ("LOGNAME", user),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("HPCVM_IMAGE", image),
    ];
    let own = own.map(|(name, value)| (name.into(), value.into()));
    let recipe = defaults
        .environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    own.into_iter().chain(recipe).collect()
}

/// The job's environment: made from nothing, then the recipe's, then the command line's.
fn environment(
    context: &Context,
    wishes: &[OsString],
    defaults: &RunDefaults,
    identity: &Identity,
    image: &str,
) -> Vec<(OsString, OsString)> {
    let mut variables = image_environment(defaults, &identity.user, &identity.home, image);
    for wish in wishes {
        match split(wish, b'=') {
            (name, Some(value)) => drop(variables.insert(name, value)),
            (name, None) => {
                let value = name
                    .to_str()
                    .and_then(|name| context.environment.get(name))
                    .map(OsStr::to_owned);
                variables.extend(value.map(|value| (name, value)));
            }
        }
    }
    variables.into_iter().collect()
}

fn share(value: &OsStr) -> Result<Share, ArgumentError> {
    let (rest, read_only) = match value.as_bytes().strip_suffix(b":ro") {
        Some(rest) => (OsStr::from_bytes(rest), true),
        None => (value, false),
    };
    let (host, guest) = split(rest, b':');
    let host = absolute("share", value, &host)?;
    let guest = guest.map_or_else(|| host.clone(), PathBuf::from);
    Ok(Share { host, guest, read_only })
}

fn input(value: &OsStr) -> Result<Input, ArgumentError> {
    let (host, guest) = split(value, b':');
    let host = absolute("input", value, &host)?;
    let guest = guest.map(PathBuf::from).or_else(|| host.file_name().map(PathBuf::from));
    let guest = guest.ok_or_else(|| argument("input", value, "name a place in the guest after a colon"))?;
    Ok(Input { host, guest })
}

fn output(value: &OsStr) -> Result<Output, ArgumentError> {
    let (guest, host) = split(value, b':');
    let guest = PathBuf::from(guest);
    let host = host.map(PathBuf::from).or_else(|| guest.file_name().map(PathBuf::from));
    let host = host.ok_or_else(|| argument("output", value, "name a place on the host after a colon"))?;
    if guest
        .components()
        .any(|component| component == std::path::Component::ParentDir)
    {
        return Err(argument("output", value, "'..' cannot be brought back"));
    }
    Ok(Output {
        guest,
        host: absolute("output", value, host.as_os_str())?,
    })
}

fn argument(option: &'static str, value: &OsStr, why: &'static str) -> ArgumentError {
    ArgumentError::Option {
        option,
        value: value.to_owned(),
        why,
    }
}

fn absolute(option: &'static str, value: &OsStr, path: &OsStr) -> Result<PathBuf, ArgumentError> {
    std::path::absolute(path).map_err(|_| argument(option, value, "the path is empty"))
}

/// Splits at the first `separator`; nothing after it counts as nothing there.
fn split(value: &OsStr, separator: u8) -> (OsString, Option<OsString>) {
    let bytes = value.as_bytes();
    match bytes.iter().position(|&byte| byte == separator) {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]).to_owned(),
            Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        ),
        None => (value.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        let share = |text: &str| share(OsStr::new(text)).unwrap();
        for (text, host, guest, read_only) in [
            ("/data", "/data", "/data", false),
            ("/data:ro", "/data", "/data", true),
            ("/data:/in", "/data", "/in", false),
            ("/data:/in:ro", "/data", "/in", true),
        ] {
            assert_eq!(
                share(text),
                Share {
                    host: host.into(),
                    guest: guest.into(),
                    read_only
                },
                "{text}"
            );
        }
    }

    #[test]
    fn inputs_and_outputs_keep_their_names() {
        let expected = Input {
            host: "/a/b.txt".into(),
            guest: "b.txt".into(),
        };
        assert_eq!(input(OsStr::new("/a/b.txt")).unwrap(), expected);
        let there = output(OsStr::new("out/c:/tmp/d")).unwrap();
        assert_eq!(
            there,
            Output {
                guest: "out/c".into(),
                host: "/tmp/d".into()
            }
        );
        assert!(output(OsStr::new("../x")).is_err());
        assert!(input(OsStr::new("")).is_err());
    }

    #[test]
    fn host_names_are_made_of_letters_digits_and_dashes() {
        assert_eq!(hostname("debian_12.i386"), "debian-12-i386");
    }
}
