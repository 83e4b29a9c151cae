//! `hpcvm libs add`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, Context, Exit, libs_table};
use crate::architecture::Architecture;
use crate::durable;
use crate::recipe::{Base, Bootstrap, Bootstrapper, Pocket};
use crate::rootfs::tree::{Content, TreePath};
use crate::sharedlibs::archive::{self, Order};
use crate::sharedlibs::provide::Added;
use crate::sharedlibs::sources::{Gathering, Source};
use crate::sharedlibs::{LibraryError, Provenance, Repository};
use crate::units::Bytes;

/// Arguments of `hpcvm libs add`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Package files, folders or tar archives with a root file system, single libraries, or names
    /// of Debian packages
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Make the repository if it is not there
    #[arg(long)]
    create: bool,
    /// Name of a repository that is made [default: its folder's name]
    #[arg(long, requires = "create")]
    name: Option<String>,
    /// Also take this folder of the guest as a whole, such as /usr/share/octave; may be given
    /// several times
    #[arg(long, value_name = "PATH")]
    folder: Vec<String>,
    /// Where folders, archives and single libraries stand in the guest [default: /, and the
    /// library's own folder]
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
    /// The package that libraries without one are recorded under
    #[arg(long, value_name = "NAME[=VERSION]")]
    package: Option<String>,
    /// The licence of libraries without a package
    #[arg(long, value_name = "FILE")]
    licence: Option<PathBuf>,
    #[command(flatten)]
    debian: Debian,
}

/// Where packages that are named come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Packages by name")]
struct Debian {
    /// Debian's code name of the release
    #[arg(long = "debian", value_name = "SUITE", default_value = "bookworm")]
    suite: String,
    /// The packages' architecture: i386 or amd64
    #[arg(long, value_name = "ARCH", default_value = "i386", value_parser = architecture)]
    architecture: Architecture,
    /// Components of the archive
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "main")]
    components: Vec<String>,
    /// Take security updates and point releases, too
    #[arg(long)]
    updates: bool,
    /// Debian mirror to fetch from [default: the one of this host's apt]
    #[arg(long, value_name = "URI", env = "HPCVM_MIRROR", hide_env_values = true)]
    mirror: Option<String>,
    /// Add the libraries of the packages they depend on, too
    #[arg(long)]
    with_dependencies: bool,
}

fn architecture(text: &str) -> Result<Architecture, String> {
    [Architecture::I386, Architecture::Amd64]
        .into_iter()
        .find(|architecture| architecture.to_string() == text)
        .ok_or_else(|| "known are i386 and amd64".to_owned())
}

impl Debian {
    fn base(&self) -> Base {
        Base {
            suite: self.suite.clone(),
            architecture: self.architecture,
            components: self.components.clone(),
            pockets: if self.updates {
                vec![Pocket::Updates, Pocket::Security]
            } else {
                Vec::new()
            },
            mirror: self.mirror.clone(),
            bootstrap: Bootstrap::Extract,
            bootstrapper: Bootstrapper::Auto,
        }
    }
}

/// Adds to the repository in `folder`.
pub(super) fn run(context: &Context, folder: &Path, args: &Args) -> Result<Exit, CliError> {
    // Before anything is fetched.
    let folders = paths(&args.folder)?;
    let at = paths(args.at.as_slice())?.pop();
    let repository = repository(folder, args)?;
    let scratch = &context.places.scratch;
    let scratch = durable::private_folder_in(scratch, "hpcvm-libs-").map_err(|source| LibraryError::Write {
        path: scratch.clone(),
        source,
    })?;
    let sources = sources(context, args)?;
    let step = context.ui.step("add", "looking for libraries");
    let gathering = Gathering {
        runner: &context.host,
        scratch: scratch.path(),
        folders: &folders,
        at,
        provenance: provenance(args)?,
    };
    let additions = gathering.gather(&sources).map_err(|error| match error {
        // Packages by name are known by digests there, which tell nobody anything.
        LibraryError::Nothing { .. } => LibraryError::Nothing {
            origin: args.sources.join(", "),
        },
        error => error,
    })?;
    let added = repository.add(&additions)?;
    drop(step);
    tell(context, &added)?;
    Ok(Exit::Done)
}

fn repository(folder: &Path, args: &Args) -> Result<Repository, LibraryError> {
    if !args.create {
        return Repository::open(folder);
    }
    let own = folder.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = args.name.clone().or(own).unwrap_or_default();
    Repository::create(folder, &name)
}

/// What is on the host as it is; the rest are names of packages, which are fetched.
fn sources(context: &Context, args: &Args) -> Result<Vec<Source>, CliError> {
    let is_name = |source: &str| !source.contains('/') && !Path::new(source).exists();
    let (names, files): (Vec<String>, Vec<String>) = args.sources.iter().cloned().partition(|source| is_name(source));
    let mut sources = Vec::new();
    for file in &files {
        sources.push(Source::at(Path::new(file))?);
    }
    if !names.is_empty() {
        let order = Order {
            base: &args.debian.base(),
            names: &names,
            dependencies: args.debian.with_dependencies,
        };
        let step = context.ui.step("fetch", &names.join(" "));
        let tell = |detail: &str| tracing::info!("{detail}");
        let fetched = archive::fetch(&context.host, order, &context.places.cache, &tell)?;
        drop(step);
        sources.extend(fetched.into_iter().map(Source::Package));
    }
    Ok(sources)
}

fn provenance(args: &Args) -> Result<Provenance, LibraryError> {
    let (package, version) = match args.package.as_deref().map(|package| package.split_once('=')) {
        None => (None, None),
        Some(None) => (args.package.clone(), None),
        Some(Some((package, version))) => (Some(package.to_owned()), Some(version.to_owned())),
    };
    let licence = args.licence.as_ref().map(|path| {
        Content::host_file(path).map_err(|source| LibraryError::Read {
            path: path.clone(),
            source,
        })
    });
    Ok(Provenance {
        package,
        version,
        licence: licence.transpose()?,
    })
}

/// Absolute paths of folders in the guest.
fn paths(given: &[String]) -> Result<Vec<TreePath>, LibraryError> {
    let path = |text: &String| {
        let refused = |why: &str| LibraryError::Item {
            path: text.clone(),
            why: why.to_owned(),
        };
        if !text.starts_with('/') {
            return Err(refused("it is no absolute path"));
        }
        match TreePath::new(text.as_bytes()) {
            Ok(path) if path == TreePath::root() => Err(refused("it is the whole guest")),
            Ok(path) => Ok(path),
            Err(_) => Err(refused("it leads up")),
        }
    };
    given.iter().map(path).collect()
}

fn tell(context: &Context, added: &Added) -> Result<(), CliError> {
    let (index, written) = (&added.index, added.written);
    if context.ui.json() {
        let result = json!({
            "add": 1,
            "repository": index.repository,
            "generation": index.number,
            "digest": index.digest,
            "new": added.new,
            "entries-added": added.entries,
            "objects-written": written.objects,
            "bytes-written": written.bytes,
            "folders-written": written.folders,
        });
        return Ok(context.ui.print_json(&result)?);
    }
    let (number, name, counts) = (index.number, &index.repository, libs_table::counts(index));
    let news = match (added.new, written.objects + written.folders) {
        (true, _) => format!("{} new", added.entries),
        (false, 0) => "unchanged".to_owned(),
        (false, _) => format!("{} objects restored", written.objects),
    };
    let bytes = Bytes(written.bytes);
    Ok(context.ui.print(format!(
        "generation {number} of {name}: {counts}; {news}, {bytes} written\n"
    ))?)
}
