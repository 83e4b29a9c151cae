//! Modules in machine code of Python and Perl: they belong to the interpreter, whatever script it
//! runs.

use std::path::{Path, PathBuf};

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::table::Candidate;
use super::uses::home;

/// As many modules as one interpreter is given at most.
const MOST: usize = 16 * 1024;

/// The extension modules of a Python: below `lib/pythonX.Y`, `lib/pythonX` and
/// `local/lib/pythonX.Y` of its prefix, which `site` puts into `sys.path` (Debian's policy for
/// Python, and PEP 3149 for names).
pub(super) fn python(loader: &Loader<'_>, interpreter: &Loaded) -> Vec<Candidate> {
    let Some((major, minor)) = version(interpreter) else {
        return Vec::new();
    };
    let own = format!("lib/python{major}.{minor}");
    let Some(prefix) = prefix(loader, &interpreter.path, &own) else {
        return Vec::new();
    };
    let folders = [own.clone(), format!("lib/python{major}"), format!("local/{own}")];
    let tag = format!("cpython-{major}{minor}");
    let fits = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(stem) = name.strip_suffix(".so") else {
            return false;
        };
        match stem.split_once('.') {
            None | Some((_, "abi3")) => true,
            Some((_, suffix)) => suffix == tag || suffix.starts_with(&format!("{tag}-")),
        }
    };
    let folders: Vec<PathBuf> = folders.iter().map(|folder| prefix.join(folder)).collect();
    below(loader, interpreter, &folders, fits)
}

/// The version of a Python, as the name of its library or its own says it.
fn version(interpreter: &Loaded) -> Option<(u32, u32)> {
    let soname = interpreter.object.soname.as_deref();
    let names = soname.into_iter().chain(interpreter.path.file_name());
    let versions = names.filter_map(|name| {
        let (_, rest) = name.to_str()?.split_once("python")?;
        let (major, rest) = rest.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((major.parse().ok()?, rest[..end].parse().ok()?))
    });
    versions.into_iter().next()
}

/// The modules of a Perl: `auto/**/*.so` below the folders of `@INC` (perlvar(1)), which are those
/// of Debian, of other distributions, and of Perl's own `make install`.
pub(super) fn perl(loader: &Loader<'_>, interpreter: &Loaded) -> Vec<Candidate> {
    let triplet = interpreter.object.abi.multiarch().unwrap_or_default();
    let roots = ["/usr", "/usr/local"].map(PathBuf::from);
    let own = home(loader, &interpreter.path).parent().map(Path::to_owned);
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in roots.into_iter().chain(own) {
        for lib in [
            format!("lib/{triplet}"),
            "lib".to_owned(),
            "lib64".to_owned(),
            "share".to_owned(),
        ] {
            for name in ["perl", "perl5", "perl-base"] {
                let folder = root.join(&lib).join(name);
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
    }
    let fits = |path: &Path| {
        path.extension().is_some_and(|suffix| suffix == "so")
            && path.components().any(|part| part.as_os_str() == "auto")
    };
    below(loader, interpreter, &folders, fits)
}

/// The first folder above the interpreter that has the folder `wanted`.
fn prefix(loader: &Loader<'_>, interpreter: &Path, wanted: &str) -> Option<PathBuf> {
    let real = loader.files().real_path(interpreter).ok()?;
    let home = home(loader, interpreter);
    let mut above = home.ancestors().chain(real.ancestors().skip(1));
    let found = above.find(|folder| loader.is_folder(&folder.join(wanted)));
    found.map(Path::to_owned)
}

/// The files of the interpreter's ABI below `folders` whose paths fit.
fn below(
    loader: &Loader<'_>,
    interpreter: &Loaded,
    folders: &[PathBuf],
    fits: impl Fn(&Path) -> bool,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for folder in folders.iter().filter(|folder| loader.is_folder(folder)) {
        let files = loader.files().walk(folder).unwrap_or_default();
        let modules = files.into_iter().filter(|path| fits(path)).filter(|path| {
            let object = loader.read(path).and_then(|read| read.object.ok());
            object.is_some_and(|object| object.abi == interpreter.object.abi)
        });
        let why = format!("below {}", folder.display());
        let room = MOST.saturating_sub(found.len());
        found.extend(modules.take(room).map(|path| Candidate {
            name: path.into(),
            why: why.clone(),
        }));
    }
    found
}
