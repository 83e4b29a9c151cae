//! An image with a library that stands in a repository, and small i386 programs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hpcvm::digest::Digest;
use hpcvm::rootfs::tree::{Content, TreePath};
use hpcvm::sharedlibs::{Addition, FolderItem, Index, MOUNT_POINT, NewFolder, NewLibrary, Provenance, Repository};

use super::harness::{Place, tool};
use super::images::{folder, recipe};

/// The image's name.
pub(crate) const LINKED: &str = "linked-i386";

/// Where the library stands in the guest.
pub(crate) const LIBRARY: &str = "/usr/lib/i386-linux-gnu/libanswer.so.1";

/// Prints what the library's one function returns.
const PROGRAM: &str = r#"
extern int answer(void);
static long sys(long n, long a, long b, long c)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
    return r;
}
void _start(void)
{
    char text[2] = {(char)('0' + answer()), '\n'};
    sys(4, 1, (long)text, 2);
    sys(1, 0, 0, 0);
    for (;;)
        ;
}
"#;

/// An image in a folder of its own, and the repository that it links to.
pub(crate) struct Linked {
    pub(crate) place: Place,
    pub(crate) image: PathBuf,
    pub(crate) repository: Repository,
    pub(crate) index: Index,
    pub(crate) object: Digest,
}

/// Compiles an i386 library `name` whose function `answer` returns 7.
pub(crate) fn library(folder: &Path, name: &str) -> PathBuf {
    let (source, file) = (folder.join("answer.c"), folder.join(name));
    fs::write(&source, "int answer(void) { return 7; }\n").unwrap();
    let soname = format!("-Wl,-soname,{name}");
    compile(&["-fPIC", "-shared", &soname], &[&source], &file);
    file
}

/// Compiles an i386 program that needs `library`.
pub(crate) fn program(folder: &Path, name: &str, library: &Path) -> PathBuf {
    let (source, file) = (folder.join("program.c"), folder.join(name));
    fs::write(&source, PROGRAM).unwrap();
    let options = [
        "-fPIE",
        "-pie",
        "-fno-stack-protector",
        "-Wl,--dynamic-linker,/lib/ld-linux.so.2",
    ];
    compile(&options, &[&source, library], &file);
    file
}

fn compile(options: &[&str], sources: &[&Path], file: &Path) {
    let options = ["-m32", "-nostdlib"].into_iter().chain(options.iter().copied());
    let mut words: Vec<PathBuf> = options.map(PathBuf::from).collect();
    words.extend(sources.iter().map(|&source| source.to_owned()));
    words.extend(["-o".into(), file.to_owned()]);
    tool("cc", words);
}

fn path(text: &str) -> TreePath {
    TreePath::new(text.trim_start_matches('/').as_bytes()).unwrap()
}

/// A repository with the library and a folder of data.
fn repository(folder: &Path, library: &Path) -> (Repository, Index, Digest, Digest) {
    let repository = Repository::create(folder, "site").unwrap();
    let provenance = Provenance {
        package: Some("libanswer1".into()),
        version: Some("1.0".into()),
        licence: None,
    };
    let content = Content::host_file(library).unwrap();
    let object = content.digest;
    let item = FolderItem::File {
        content: Content::inline(*b"data\n"),
        executable: false,
    };
    let items = vec![(path("file"), item)];
    let data = hpcvm::sharedlibs::folder_digest(&items);
    let additions = [
        Addition::Library(NewLibrary {
            path: path(LIBRARY),
            content,
            provenance: provenance.clone(),
        }),
        Addition::Folder(NewFolder {
            path: path("/usr/share/answer"),
            items,
            provenance: vec![provenance],
        }),
    ];
    let index = repository.provide(&additions).unwrap();
    (repository, index, object, data)
}

/// Builds the image, whose root is `root` (`read-only` or `writable`).
pub(crate) fn linked(root: &str) -> Linked {
    let place = Place::with_own_store();
    let library = library(&place.path("home"), "libanswer.so.1");
    program(&place.path("work"), "greet", &library);
    let (repository, index, object, data) = repository(&place.path("libs"), &library);
    let digits = object.to_string();
    let (first, rest) = digits.split_at(2);
    let minimal = recipe("include/minimal");
    place.write(
        "recipe.yaml",
        format!(
            "recipe: 1\nname: {LINKED}\ninclude: [{}]\nbase: {{debian: bookworm, architecture: i386}}\n\
             kernel: {{package: linux-image-686}}\nimage: {{root: {root}}}\nfiles:\n\
             - {{path: /usr/local/bin/greet, source: greet, mode: \"0755\"}}\n\
             - {{path: {LIBRARY}, link: {MOUNT_POINT}/objects/{first}/{rest}}}\n\
             - {{path: /usr/share/answer, link: {MOUNT_POINT}/folders/{data}}}\n\
             - {{path: {MOUNT_POINT}, folder: true}}\n",
            minimal.display()
        ),
    );
    place.line("build recipe.yaml").success();
    let image = place.path("image");
    fs::create_dir(&image).unwrap();
    for entry in fs::read_dir(folder(&place, LINKED)).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), image.join(entry.file_name())).unwrap();
    }
    let mut linked = Linked {
        place,
        image,
        repository,
        index,
        object,
    };
    linked.describe(data);
    linked
}

impl Linked {
    /// Writes what a build with `libraries:` writes of the links.
    fn describe(&mut self, data: Digest) {
        let list = serde_json::json!({"libraries": 1, "entries": [{
            "path": LIBRARY, "soname": "libanswer.so.1",
            "length": fs::metadata(self.repository.object_path(self.object)).unwrap().len(),
            "package": "libanswer1", "verdict": "linked", "reason": "not-local",
            "needed-by": ["/usr/local/bin/greet"], "object": self.object,
        }], "folders": [{"path": "/usr/share/answer", "object": data, "files": 1, "bytes": 5}]});
        let list = list.to_string();
        fs::write(self.image.join("libraries.json"), &list).unwrap();
        self.edit(|manifest| {
            let count = serde_json::json!({"files": 1, "bytes": 1});
            manifest["artefacts"].as_array_mut().unwrap().push(serde_json::json!({
                "name": "libraries.json", "length": list.len(), "digest": Digest::of(list.as_bytes()),
            }));
            manifest["artefacts"]
                .as_array_mut()
                .unwrap()
                .sort_by_key(|artefact| artefact["name"].to_string());
            manifest["libraries"] = serde_json::json!({"local": count, "linked": count, "relocated": count});
        });
        let (number, digest) = (self.index.number, self.index.digest);
        self.name_generation(number, digest, true);
    }

    /// Writes into the manifest which generation the image links to, and perhaps where it is.
    pub(crate) fn name_generation(&self, number: u32, digest: Digest, with_folder: bool) {
        let mut generation = serde_json::json!({"repository": "site", "number": number, "digest": digest});
        if with_folder {
            generation["folder"] = serde_json::json!(self.repository.folder());
        }
        self.edit(|manifest| manifest["libraries"]["generation"] = generation);
    }

    fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.image.join("manifest.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, format!("{manifest:#}")).unwrap();
    }

    /// Exports the generation as a disk; its trailer names `digest`.
    pub(crate) fn export(&self, digest: Digest) -> PathBuf {
        let exports = self.repository.folder().join("exports");
        fs::create_dir_all(&exports).unwrap();
        let export = exports.join(format!("{}.squashfs", self.index.number));
        let _ = fs::remove_file(&export);
        let parts = ["objects", "folders"].map(|part| self.repository.folder().join(part));
        let mut words: Vec<PathBuf> = parts.to_vec();
        words.push(export.clone());
        words.extend(["-quiet", "-no-progress", "-no-xattrs"].map(PathBuf::from));
        tool("mksquashfs", words);
        let length = fs::metadata(&export).unwrap().len();
        assert_eq!(length % 4096, 0);
        let mut trailer = b"HPCVMLIB".to_vec();
        trailer.extend(1_u32.to_le_bytes());
        trailer.extend(self.index.number.to_le_bytes());
        trailer.extend(digest.as_bytes());
        trailer.extend(Digest::of(&fs::read(&export).unwrap()).as_bytes());
        trailer.extend(length.to_le_bytes());
        trailer.resize(4096, 0);
        let mut file = fs::File::options().append(true).open(&export).unwrap();
        file.write_all(&trailer).unwrap();
        export
    }

    /// Makes a file of the repository writable and writes it anew.
    pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
    }

    /// The image's folder as a word of a command line.
    pub(crate) fn image(&self) -> &str {
        self.image.to_str().unwrap()
    }
}
