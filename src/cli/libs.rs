//! `hpcvm libs`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::places::absolute;
use super::site::Site;
use super::{CliError, Context, Exit, libs_add, libs_report, libs_table};
use crate::diagnostic::{Blame, Problem};
use crate::image::Store;
use crate::sharedlibs::gc::Garbage;
use crate::sharedlibs::verify::Report;
use crate::sharedlibs::{Index, LibraryError, Repository};
use crate::units::Bytes;

/// Arguments of `hpcvm libs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the shared library repository [default: the site's]
    #[arg(long, global = true, value_name = "DIR", env = "HPCVM_LIBS", hide_env_values = true)]
    libs: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an empty repository, for builds to put into what they link
    Create(Create),
    /// Add libraries and folders of data: a new generation, unless one has them already
    Add(libs_add::Args),
    /// List the libraries and folders of a generation
    Ls(List),
    /// Tell all that is known of a library, a package or a folder
    Show(Show),
    /// Read the repository whole and compare it with its digests
    #[command(after_long_help = "Exits with 1 when something is not as it was written and was not mended.")]
    Verify(Verify),
    /// Leave libraries or folders out of the next generation
    Remove(Remove),
    /// Remove what no generation names and no image of the store
    Gc(Gc),
    /// Write a generation as one read-only file system image
    Export(Which),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The repository's name, which images remember [default: its folder's name]
    #[arg(long)]
    name: Option<String>,
}

/// Which generation.
#[derive(Debug, clap::Args)]
struct Which {
    /// Number of the generation [default: the newest]
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// List the generations instead
    #[arg(long, conflicts_with = "generation")]
    generations: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// A soname, a package, an absolute path in the guest, a build id, or eight or more digits of a digest
    name: String,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Remove what killed writers left, make damaged folders again, take damaged objects away
    #[arg(long)]
    repair: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// What to leave out, named as for `show`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Gc {
    /// Tell what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove generations, too, except the newest N and those that images name
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_generations: Option<u32>,
    /// Spare what the images of this store name, too; may be given several times
    #[arg(long, value_name = "DIR")]
    also_store: Vec<PathBuf>,
}

/// No repository was named.
#[derive(Debug, thiserror::Error)]
#[error("no shared library repository is named")]
struct Unnamed;

impl Problem for Unnamed {
    fn code(&self) -> &'static str {
        "HV2516"
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        Some("name its folder with --libs or HPCVM_LIBS, or as `libraries:` in /etc/hpcvm/site.yaml".to_owned())
    }
}

fn create(context: &Context, folder: &Path, name: Option<&str>) -> Result<Exit, CliError> {
    let repository = libs_add::create(folder, name)?;
    if context.ui.json() {
        context
            .ui
            .print_json(&json!({ "repository": repository.name(), "folder": folder }))?;
    } else {
        context
            .ui
            .print(format!("{}: repository {}\n", folder.display(), repository.name()))?;
    }
    Ok(Exit::Done)
}

/// Works on a repository.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let folder = match &args.libs {
        Some(folder) => absolute(folder.clone()),
        None => Site::read(&context.environment)?.libraries.ok_or(Unnamed)?,
    };
    match &args.what {
        What::Add(args) => return libs_add::run(context, &folder, args),
        What::Create(args) => return create(context, &folder, args.name.as_deref()),
        _ => {}
    }
    let repository = Repository::open(&folder)?;
    match &args.what {
        What::Add(_) | What::Create(_) => {}
        What::Ls(list) if list.generations => generations(context, &repository)?,
        What::Ls(list) => {
            let index = index_of(&repository, &list.which)?;
            if context.ui.json() {
                context.ui.print_json(&libs_table::document(&index))?;
            } else {
                context.ui.print(libs_table::table(&index))?;
            }
        }
        What::Show(show) => {
            let index = index_of(&repository, &show.which)?;
            let found = index.find(&show.name)?;
            if context.ui.json() {
                let found =
                    json!({"show": 1, "generation": index.number, "entries": found.entries, "folders": found.folders});
                context.ui.print_json(&found)?;
            } else {
                let text = libs_table::show(&repository, &found, context.ui.stdout_style());
                context.ui.print(text)?;
            }
        }
        What::Verify(verify) => return report(context, &repository, &repository.verify(verify.repair)?),
        What::Remove(remove) => made(context, &repository.remove(&remove.names)?)?,
        What::Gc(gc) => {
            let mut stores = vec![context.store()];
            stores.extend(gc.also_store.iter().map(|folder| Store::open(folder)));
            let garbage = repository.gc(&stores, gc.keep_generations, gc.dry_run)?;
            swept(context, &garbage, gc.dry_run)?;
        }
        What::Export(which) => export(context, &repository, which)?,
    }
    Ok(Exit::Done)
}

/// The generation meant.
fn index_of(repository: &Repository, which: &Which) -> Result<Index, LibraryError> {
    match which.generation {
        Some(number) => repository.generation(number),
        None => repository.newest(),
    }
}

fn generations(context: &Context, repository: &Repository) -> Result<(), CliError> {
    let numbers = repository.generations()?;
    let indexes = numbers.into_iter().map(|number| repository.generation(number));
    let indexes = indexes.collect::<Result<Vec<Index>, LibraryError>>()?;
    let exported = |index: &Index| repository.export_path(index.number);
    if context.ui.json() {
        let rows: Vec<_> = indexes
            .iter()
            .map(|index| {
                json!({
                    "generation": index.number,
                    "digest": index.digest,
                    "libraries": index.entries.len(),
                    "folders": index.folders.len(),
                    "bytes": libs_table::bytes(index),
                    "export": exported(index),
                })
            })
            .collect();
        return Ok(context.ui.print_json(&rows)?);
    }
    let rows = indexes.iter().map(|index| (index, exported(index).is_some()));
    Ok(context.ui.print(libs_table::generations(rows))?)
}

/// Tells which generation was made.
fn made(context: &Context, index: &Index) -> Result<(), CliError> {
    if context.ui.json() {
        let made = json!({"remove": 1, "generation": index.number, "digest": index.digest});
        return Ok(context.ui.print_json(&made)?);
    }
    let (number, name) = (index.number, &index.repository);
    let counts = libs_table::counts(index);
    Ok(context.ui.print(format!("generation {number} of {name}: {counts}\n"))?)
}

fn report(context: &Context, repository: &Repository, report: &Report) -> Result<Exit, CliError> {
    let exit = if report.is_sound() { Exit::Done } else { Exit::Found };
    if context.ui.json() {
        let mut object = json!({"verify": 1, "repository": repository.name(), "sound": report.is_sound()});
        object["report"] = json!(report);
        context.ui.print_json(&object)?;
        return Ok(exit);
    }
    context.ui.print(libs_report::verified(repository.name(), report))?;
    Ok(exit)
}

fn swept(context: &Context, garbage: &Garbage, dry_run: bool) -> Result<(), CliError> {
    if context.ui.json() {
        let mut object = json!({"gc": 1, "dry-run": dry_run});
        object["removed"] = json!(garbage);
        return Ok(context.ui.print_json(&object)?);
    }
    Ok(context.ui.print(libs_report::swept(garbage, dry_run))?)
}

fn export(context: &Context, repository: &Repository, which: &Which) -> Result<(), CliError> {
    let index = index_of(repository, which)?;
    let step = context.ui.step("export", &format!("generation {}", index.number));
    let path = repository.export(&context.host, index.number)?;
    drop(step);
    let length = std::fs::metadata(&path).map_or(0, |file| file.len());
    if context.ui.json() {
        let made = json!({
            "export": 1, "generation": index.number, "digest": index.digest, "path": path, "bytes": length,
        });
        return Ok(context.ui.print_json(&made)?);
    }
    let length = Bytes(length);
    Ok(context.ui.print(format!("{}: {length}\n", path.display()))?)
}
