//! `hpcvm scan`

use std::path::PathBuf;

use rayon::prelude::*;

use super::scan_graph::{dot, tree, why};
use super::scan_image::{Guest, ImageArgs, lines};
use super::scan_plugins;
use super::scan_report::{Json, problems, table};
use super::scan_verdicts;
use super::ui::Style;
use super::{CliError, Context, Exit};
use crate::elf::ElfError;
use crate::elf::file_system::{FileSystem, FolderFiles, HostFiles};
use crate::elf::loader::{Loader, Settings};
use crate::elf::processor;
use crate::elf::scan::{Found, Options, Scanned, scan};
use crate::image::DISK_FILE;
use crate::image::manifest::MANIFEST_FILE;
use crate::rootfs::tarball;
use crate::rootfs::tree::{Origin, Tree};

/// Arguments of `hpcvm scan`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exits with 1 when a library, a version, a symbol or an interpreter is missing. \
                             docs/scan.md tells the rules and the JSON format."
)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent")]
pub struct Args {
    /// Programs, libraries or folders; inside the root if one is given [default: all of the root]
    #[arg(required_unless_present = "root")]
    paths: Vec<PathBuf>,
    /// Folder, uncompressed tar archive or image of the store to take for the root [default: this host]
    #[arg(long, value_name = "DIR|TAR|IMAGE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    guest: ImageArgs,
    /// `LD_LIBRARY_PATH` of the programs [default: that of hpcvm, and none with --root]
    #[arg(long, value_name = "DIRS")]
    ldpath: Option<std::ffi::OsString>,
    /// Level of x86-64 that counts for glibc-hwcaps folders [default: this host's, and 1 with --root]
    #[arg(long, value_name = "1-4", value_parser = clap::value_parser!(u8).range(1..=4))]
    cpu: Option<u8>,
    /// Look for every undefined symbol too
    #[arg(long)]
    symbols: bool,
    /// Leave out plug-ins: what is loaded without being named as needed
    #[arg(long)]
    no_plugins: bool,
    /// Tell only what is missing
    #[arg(long, conflicts_with_all = ["dot", "why"])]
    problems: bool,
    /// One line for each file
    #[arg(long, conflicts_with_all = ["dot", "why", "problems"])]
    table: bool,
    /// Tell what became of each library of an image, and why; with --why, of one
    #[arg(long, requires = "root", conflicts_with_all = ["dot", "table", "problems"])]
    verdicts: bool,
    /// Print a graph for Graphviz
    #[arg(long, conflicts_with = "why")]
    dot: bool,
    /// Tell everything that leads to this library
    #[arg(long, value_name = "SONAME")]
    why: Option<String>,
}

/// Where `env` of a script looks in a guest (login.defs, `ENV_SUPATH`).
const GUEST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scans files and tells what they load.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if let Some(image) = &args.guest.image {
        return run_in_image(context, args, image);
    }
    if let (true, Some(root)) = (args.verdicts, &args.root) {
        return scan_verdicts::run(context, root, args.why.as_deref());
    }
    let files = files(context, args)?;
    let loader = Loader::new(files.as_ref(), settings(context, args));
    let own_path = context.environment.get("PATH").filter(|_| args.root.is_none());
    let options = Options {
        symbols: args.symbols,
        plugins: !args.no_plugins,
        path: own_path.unwrap_or(GUEST_PATH.as_ref()).to_owned(),
    };
    let paths = match &args.paths[..] {
        [] => vec![PathBuf::from("/")],
        paths => paths.to_vec(),
    };
    let scanned = scan(&loader, &paths, &options)?;
    print(context, args, &loader, &scanned)?;
    let broken = scanned.iter().any(Scanned::is_broken);
    Ok(if broken { Exit::Found } else { Exit::Done })
}

/// Scans the user's own files as the guest of an image would load them.
fn run_in_image(context: &Context, args: &Args, reference: &str) -> Result<Exit, CliError> {
    let image = context.store().find(reference)?;
    let mut guest = Guest::open(context, image, args.guest.libs.as_deref())?;
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let paths: Vec<PathBuf> = args
        .paths
        .iter()
        .map(|path| std::path::absolute(path).unwrap_or_else(|_| here.join(path)))
        .collect();
    guest.share(&here, &paths);
    let settings = Settings {
        library_path: args.ldpath.clone().unwrap_or_default(),
        cpu_level: args.cpu.unwrap_or(1),
        working_folder: here,
    };
    let loader = Loader::new(&guest.files, settings);
    let options = Options {
        symbols: args.symbols,
        // What the guest's own libraries could load besides is not the question here.
        plugins: false,
        path: GUEST_PATH.into(),
    };
    let scanned = scan(&loader, &paths, &options)?;
    let advice = guest.advice(context, &scanned);
    let reports = args.dot || args.table || args.why.is_some();
    if context.ui.json() && !reports {
        let mut json = serde_json::to_value(Json {
            loader: &loader,
            scanned: &scanned,
        })
        .expect("the report has string keys only");
        json["image"] = guest.image.reference().into();
        json["advice"] = serde_json::json!(advice);
        context.ui.print_json(&json)?;
    } else if reports {
        print(context, args, &loader, &scanned)?;
    } else {
        let style = context.ui.stdout_style();
        context.ui.print(lines(&scanned, &advice, args.problems, style))?;
        let (all, broken, image) = (scanned.len(), advice.len(), guest.image.reference());
        let ran = format!("{all} files scanned, {broken} would not run in {image}");
        context.ui.note(&ran);
    }
    Ok(if advice.is_empty() { Exit::Done } else { Exit::Found })
}

fn settings(context: &Context, args: &Args) -> Settings {
    let host = args.root.is_none();
    let inherited = context.environment.get("LD_LIBRARY_PATH").filter(|_| host);
    let library_path = args.ldpath.as_deref().or(inherited).unwrap_or_default();
    let here = std::env::current_dir().ok().filter(|_| host);
    Settings {
        library_path: library_path.to_owned(),
        cpu_level: args.cpu.unwrap_or(if host { processor::level() } else { 1 }),
        working_folder: here.unwrap_or_else(|| "/".into()),
    }
}

/// The root that is scanned.
fn files(context: &Context, args: &Args) -> Result<Box<dyn FileSystem>, CliError> {
    let Some(root) = &args.root else {
        return Ok(Box::new(HostFiles));
    };
    let is_image = root.join(MANIFEST_FILE).is_file() && root.join(DISK_FILE).is_file();
    if root.is_dir() && !is_image {
        return Ok(Box::new(FolderFiles::new(root)));
    }
    if !root.is_file() {
        let reference = root.to_str().filter(|name| is_image || !name.contains('/'));
        let reference = reference.ok_or_else(|| ElfError::NoRoot { path: root.to_owned() })?;
        let image = context.store().find(reference)?;
        return Ok(Box::new(Guest::open(context, image, args.guest.libs.as_deref())?.files));
    }
    let mut tree = Tree::default();
    for (path, entry) in tarball::entries(root, &Origin::Bootstrap)? {
        tree.insert(path, entry);
    }
    tarball::check_links(&tree)?;
    Ok(Box::new(tree))
}

fn print(context: &Context, args: &Args, loader: &Loader<'_>, scanned: &[Scanned]) -> Result<(), CliError> {
    let ui = &context.ui;
    let style = ui.stdout_style();
    if let Some(name) = &args.why {
        let chains = why(scanned, name, style).ok_or_else(|| ElfError::NotNeeded { name: name.clone() })?;
        return Ok(ui.print(chains)?);
    }
    if args.dot {
        return Ok(ui.print(dot(scanned))?);
    }
    if ui.json() {
        return Ok(ui.print_json(&Json { loader, scanned })?);
    }
    if args.table {
        return Ok(ui.print(table(loader, scanned, style))?);
    }
    let texts: Vec<String> = scanned
        .par_iter()
        .map(|file| text_of(loader, file, args.problems, style))
        .collect();
    let text = texts.concat();
    ui.print(text)?;
    let broken = scanned.iter().filter(|file| file.is_broken()).count();
    ui.note(&format!("{} files scanned, {broken} with problems", scanned.len()));
    Ok(())
}

/// What is said of one file; nothing where only problems are asked for and there are none.
fn text_of(loader: &Loader<'_>, file: &Scanned, only_problems: bool, style: Style) -> String {
    let problems = problems(loader, file);
    if only_problems && problems.is_empty() {
        return String::new();
    }
    let mut text = if only_problems {
        format!("{}\n", file.path.display())
    } else {
        tree(file, style)
    };
    if let Found::Elf(program) = &file.found
        && !only_problems
    {
        text += &scan_plugins::lines(program, style);
    }
    for problem in problems {
        text += &["  ", &style.error("problem"), ": ", &problem, "\n"].concat();
    }
    text
}
