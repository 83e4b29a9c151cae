//! Reads a recipe and, depth first, everything it includes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::codes::{self, Code};
use super::located::{Located, Place};
use super::model::{self, Recipe};
use super::node::Value;
use super::node_deserializer::NodeDeserializer;
use super::report::{Report, quoted};
use super::{schema, shape, yaml};
use crate::diagnostic::{SourceFile, Span};

/// The largest recipe file read, in bytes: hundreds of times what a recipe needs.
pub const MAX_FILE_SIZE: u64 = 1024 * 1024;
const TOO_COMPLEX_HELP: &str = "write fewer values, without aliases of aliases";
/// The most files one recipe may be made of.
const MAX_FILES: usize = 64;

/// The models of `path` and of all it includes, each file once, what is included before what
/// includes it. Problems go to `report`, whose first file is `path`.
pub(super) fn read_all(path: &Path, report: &mut Report) -> Vec<Recipe> {
    let mut reader = Reader {
        report,
        schema: schema::recipe(),
        open: Vec::new(),
        done: BTreeSet::new(),
        recipes: Vec::new(),
    };
    reader.read(path, None);
    reader.recipes
}

struct Reader<'a> {
    report: &'a mut Report,
    schema: serde_json::Value,
    /// The files being read, the root first: one of them again is a circle.
    open: Vec<PathBuf>,
    done: BTreeSet<PathBuf>,
    recipes: Vec<Recipe>,
}

impl Reader<'_> {
    /// Reads one file; `included_at` is the line that asks for it.
    fn read(&mut self, path: &Path, included_at: Option<&Place>) {
        let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.done.contains(&identity) {
            return;
        }
        if let (true, Some(place)) = (self.open.contains(&identity), included_at) {
            let message = format!("{} includes itself", quoted(&path.display().to_string()));
            let added = self.report.add(place, codes::INCLUDE_CYCLE, message);
            added.help("move what both need into a third recipe and include that");
            return;
        }
        if let (true, Some(place)) = (self.done.len() + self.open.len() >= MAX_FILES, included_at) {
            let message = format!("a recipe of more than {MAX_FILES} files");
            self.report
                .add(place, codes::TOO_COMPLEX, message)
                .help("merge some of them");
            return;
        }
        self.open.push(identity.clone());
        match read_text(path) {
            Ok(text) => self.parse(path, text),
            Err(refusal) => self.refuse(path, &refusal, included_at),
        }
        self.open.pop();
        self.done.insert(identity);
    }

    fn parse(&mut self, path: &Path, text: String) {
        let source = Arc::new(SourceFile {
            path: path.to_owned(),
            text,
        });
        let file = self.report.add_file(Arc::clone(&source));
        let mut root = match yaml::parse(&source.text) {
            Ok(root) => root,
            Err(error) => {
                let place = Place { file, span: error.span };
                let added = self.report.add(&place, error.code, error.message);
                added.maybe_help((error.code == codes::TOO_COMPLEX).then(|| TOO_COMPLEX_HELP.to_owned()));
                return;
            }
        };
        if let Some(version) = root.get("recipe")
            && let Value::Integer(number) = version.value
            && number != i128::from(model::VERSION)
        {
            let place = Place {
                file,
                span: version.span.clone(),
            };
            let message = format!("recipe version {number} is not known to this hpcvm");
            let added = self.report.add(&place, codes::VERSION, message);
            added.help(format!("write 'recipe: {}', or use a newer hpcvm", model::VERSION));
            return;
        }
        shape::check(&mut root, &self.schema, file, self.report);
        if !matches!(root.value, Value::Map(_)) {
            return;
        }
        match Recipe::deserialize(NodeDeserializer::new(&root, file)) {
            Ok(recipe) => {
                self.follow(path, recipe.include.as_deref().unwrap_or_default());
                self.recipes.push(recipe);
            }
            // Only reached if the schema allows what the types do not.
            Err(error) => {
                let place = Place {
                    file,
                    span: Span { range: 0..0 },
                };
                self.report.add(&place, codes::WRONG_TYPE, error.to_string());
            }
        }
    }

    fn follow(&mut self, path: &Path, includes: &[Located<String>]) {
        let folder = path.parent().unwrap_or(Path::new(""));
        for include in includes {
            self.read(&folder.join(&include.value), Some(&include.place));
        }
    }

    fn refuse(&mut self, path: &Path, refusal: &Refusal, included_at: Option<&Place>) {
        let shown = quoted(&path.display().to_string());
        let message = format!("{shown} {}", refusal.message);
        let place = included_at.cloned().unwrap_or_else(|| Place {
            file: self.report.add_file(Arc::new(SourceFile {
                path: path.to_owned(),
                text: String::new(),
            })),
            span: Span { range: 0..0 },
        });
        let code = match included_at {
            None if refusal.code == codes::INCLUDE_MISSING => codes::UNREADABLE,
            _ => refusal.code,
        };
        let help = match (code, included_at) {
            (codes::TOO_LARGE, _) => "a recipe names large files under 'files' or 'overlays', it does not hold them",
            (codes::NOT_UTF8, _) => "save the file as UTF-8",
            (_, Some(_)) => "paths are relative to the file that includes",
            (_, None) => "name a recipe file that you may read",
        };
        self.report.add(&place, code, message).help(help);
    }
}

/// Why a file has no text.
struct Refusal {
    code: Code,
    message: String,
}

fn read_text(path: &Path) -> Result<String, Refusal> {
    let refusal = |code, message| Err(Refusal { code, message });
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Refusal {
            code: codes::INCLUDE_MISSING,
            message: "does not exist".to_owned(),
        },
        _ => Refusal {
            code: codes::UNREADABLE,
            message: format!("cannot be read: {error}"),
        },
    };
    // Asked before opening: to open a named pipe would wait for its other end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return refusal(codes::UNREADABLE, "is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return refusal(codes::TOO_LARGE, format!("is larger than {} KiB", MAX_FILE_SIZE / 1024));
    }
    String::from_utf8(bytes).or_else(|error| {
        let wrong = error.utf8_error().valid_up_to() + 1;
        refusal(
            codes::NOT_UTF8,
            format!("is not UTF-8: byte number {wrong} is the first wrong one"),
        )
    })
}
