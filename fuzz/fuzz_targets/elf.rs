//! An ELF file from anywhere, in a root where every library it names is the same file: it is read
//! or refused, and its closure ends.
#![no_main]

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use hpcvm::elf::bytes::{FileId, Source};
use hpcvm::elf::families::reached;
use hpcvm::elf::file_system::FileSystem;
use hpcvm::elf::loader::{Loader, Settings};
use hpcvm::elf::scan::{Found, Options, scan};
use hpcvm::elf::symbols::Symbols;
use libfuzzer_sys::fuzz_target;

/// A root of the fuzzer's bytes: libraries, the loader's cache, name services.
#[derive(Debug)]
struct Root<'a>(&'a [u8]);

impl FileSystem for Root<'_> {
    fn open(&self, path: &Path) -> io::Result<Source> {
        // Deep paths end, as PATH_MAX would end them; each path is a file of its own.
        if path.as_os_str().len() > 64 || path.components().count() > 6 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Source::memory(FileId::Path(path.into()), self.0.into()))
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.components().count() < 4
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<OsString>> {
        Ok(vec!["x.conf".into(), "y.so".into()])
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![path.join("z.so")])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let source = Source::memory(FileId::Path("/x".into()), bytes.into());
    let _ = Symbols::read(&source);
    let root = Root(bytes);
    let settings = Settings {
        working_folder: "/".into(),
        library_path: "/w:$ORIGIN".into(),
        cpu_level: 3,
    };
    let loader = Loader::new(&root, settings);
    let options = Options {
        symbols: true,
        plugins: true,
        path: "/bin".into(),
    };
    let scanned = scan(&loader, &["/bin".into()], &options).expect("the folder is there");
    for file in &scanned {
        if let Found::Elf(program) = &file.found {
            let all = reached(&program.closure, &program.plugins);
            assert!(program.closure.objects.iter().all(|loaded| all.contains_key(&loaded.path)));
        }
    }
});
