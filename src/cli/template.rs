//! `hpcvm template`: what warm starts are copied from.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::places::absolute;
use super::run_warm::{self, PlaceArgs};
use super::{CliError, Context, Exit, accelerator, run, run_libraries, run_request};
use crate::launch::template::{Kept, TemplateError, Templates, make};
use crate::launch::{BootImage, LaunchError, Output, Share};
use crate::units::Bytes;

/// Arguments of `hpcvm template`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the template that launches of an image with these options are copied from
    Build(Box<BuildArgs>),
    /// List this machine's templates
    Ls(LsArgs),
    /// Remove templates; launches that run from them go on
    Rm(RmArgs),
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// A name, NAME@DIGITS, the first digits of a digest, or the path of an image's folder
    image: String,
    /// Virtual processors [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Guest memory, such as 512M [default: the recipe's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// How many host folders the jobs see, the working directory among them
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(0..=32))]
    shares: u8,
    /// For jobs with --output
    #[arg(long)]
    output: bool,
    /// For jobs with --scratch of this size
    #[arg(long, value_name = "SIZE")]
    scratch: Option<Bytes>,
    /// For jobs with this network
    #[arg(long, value_name = "KIND", default_value = "none", hide_possible_values = true)]
    net: run_request::NetworkKind,
    #[command(flatten)]
    libraries: run_libraries::LibraryArgs,
    /// What executes the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "KIND", default_value = "auto", hide_possible_values = true)]
    accel: accelerator::Wanted,
    #[command(flatten)]
    place: PlaceArgs,
    /// Make it for all users of the site, below this folder of yours, which they read only
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Those that the site has made below this folder
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RmArgs {
    /// The first digits of its name, as hpcvm template ls tells them
    name: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// Of those that you have made for the site below this folder
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    match &args.what {
        What::Build(args) => build(context, args),
        What::Ls(args) => list(context, args),
        What::Rm(args) => {
            let removed = templates(context, &args.place, args.site.as_deref())?.remove_named(&args.name)?;
            for kept in removed {
                context.ui.note(&format!("removed {}", kept.key.short()));
            }
            Ok(Exit::Done)
        }
    }
}

fn build(context: &Context, args: &BuildArgs) -> Result<Exit, CliError> {
    let interrupts = run::catch_signals();
    let image = context.store().find(&args.image)?;
    image.check_lengths()?;
    let boot_image = BootImage::from(&image);
    let accelerator = accelerator::choose(context, args.accel, boot_image.architecture)?;
    let defaults = &image.manifest.run;
    let mut request = run_request::plain(context, boot_image, defaults, accelerator, vec!["true".into()]);
    request.memory = args.memory.unwrap_or(request.memory);
    request.cpus = args.cpus.unwrap_or(request.cpus);
    request.scratch = args.scratch;
    request.network = args.net.into();
    let somewhere = || Share {
        host: context.places.scratch.clone(),
        guest: PathBuf::from("/mnt"),
        read_only: true,
    };
    request.shares = (0..args.shares).map(|_| somewhere()).collect();
    request.outputs = Vec::from_iter(args.output.then(|| Output {
        guest: PathBuf::from("output"),
        host: context.places.scratch.join("output"),
    }));
    run_libraries::attach(context, &image, &args.libraries, &mut request)?;
    let warm = run_warm::start(&image, templates(context, &args.place, args.site.as_deref())?);
    request.warm = Some(warm.clone());
    let made = make(&context.host, &request, &warm, interrupts).map_err(LaunchError::from)?;
    context.ui.note(if made { "made" } else { "it is there already" });
    Ok(Exit::Done)
}

/// One's own templates, or those that one makes for all users of a site.
fn templates(context: &Context, place: &PlaceArgs, site: Option<&Path>) -> Result<Templates, TemplateError> {
    match site {
        Some(folder) => Templates::for_site(&absolute(folder.to_owned())),
        None => run_warm::templates(context, place),
    }
}

fn list(context: &Context, args: &LsArgs) -> Result<Exit, CliError> {
    let all = match &args.site {
        Some(folder) => run_warm::site_templates(context, folder)?.map_or_else(Vec::new, |site| site.list()),
        None => run_warm::templates(context, &args.place)?.list(),
    };
    if context.ui.json() {
        context.ui.print_json(&serde_json::json!({"templates": all}))?;
    } else {
        context.ui.print(table(&all))?;
    }
    Ok(Exit::Done)
}

/// One line each: the start of its name, the image, its size, whether it is in use, the last use.
fn table(all: &[Kept]) -> String {
    let line = |kept: &Kept| {
        let used = i64::try_from(kept.used)
            .ok()
            .and_then(|used| Timestamp::from_second(used).ok());
        let used = used.map_or_else(String::new, |used| used.to_string());
        let state = if kept.in_use { "in use" } else { "idle" };
        let (key, size) = (kept.key.short(), Bytes(kept.bytes).to_string());
        format!("{key}  {:24} {size:>10}  {state:6}  {used}\n", kept.image)
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn each_template_has_its_line() {
        let kept = Kept {
            key: Digest::of(b"x"),
            image: "minimal-i386".into(),
            bytes: 61 << 20,
            used: 1_700_000_000,
            in_use: true,
        };
        let said = table(&[kept]);
        assert!(said.contains("minimal-i386") && said.contains("in use"), "{said}");
        assert!(said.ends_with("2023-11-14T22:13:20Z\n"), "{said}");
    }
}
