//! A repository: its folder, its name, its generations.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::LibraryError;
use super::error::{reading, writing};
use super::index::Index;
use super::lock::Lock;
use super::session;
use crate::digest::Digest;

/// The version of the format that this hpcvm writes.
pub const REPOSITORY_VERSION: u32 = 1;

/// The file that makes a folder a repository.
pub const REPOSITORY_FILE: &str = "repository.json";

pub(super) const OBJECTS: &str = "objects";
pub(super) const FOLDERS: &str = "folders";
pub(super) const GENERATIONS: &str = "generations";
pub(super) const EXPORTS: &str = "exports";
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const INCOMING: &str = "incoming";

/// A shared library repository. Nothing is kept open: it may change while this lives.
#[derive(Clone, Debug)]
pub struct Repository {
    folder: PathBuf,
    name: String,
}

/// The content of [`REPOSITORY_FILE`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Description {
    repository: u32,
    name: String,
}

impl Repository {
    /// The repository in `folder`, which must be there. Needs no right to write.
    pub fn open(folder: &Path) -> Result<Self, LibraryError> {
        let path = folder.join(REPOSITORY_FILE);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let folder = folder.to_owned();
                return Err(LibraryError::NoRepository { folder });
            }
            read => read.map_err(reading(&path))?,
        };
        let damaged = |why: String| LibraryError::Damaged {
            path: path.clone(),
            why,
        };
        let found: Description = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if found.repository != REPOSITORY_VERSION {
            return Err(LibraryError::Foreign {
                path,
                version: found.repository,
                known: REPOSITORY_VERSION,
            });
        }
        if !is_name(&found.name) {
            return Err(damaged(format!("'{}' is no name", found.name)));
        }
        // Links and exports name objects by absolute paths where they can.
        let folder = folder.canonicalize().map_err(reading(folder))?;
        let name = found.name;
        Ok(Self { folder, name })
    }

    /// Makes a repository in `folder`, which must be empty or not exist. One that is there
    /// already is opened, whatever its name.
    pub fn create(folder: &Path, name: &str) -> Result<Self, LibraryError> {
        match Self::open(folder) {
            Err(LibraryError::NoRepository { .. }) => {}
            there => return there,
        }
        if !is_name(name) {
            return Err(LibraryError::Name(name.to_owned()));
        }
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(writing(parent))?;
        }
        // A folder that is there already keeps the mode that its owner gave it.
        make_public(folder)?;
        refuse_occupied(folder)?;
        let incoming = folder.join(INCOMING);
        session::make_private(&incoming)?;
        let lock = Lock::acquire(folder, &incoming)?;
        for part in [OBJECTS, FOLDERS, GENERATIONS, EXPORTS] {
            make_public(&folder.join(part))?;
        }
        let description = Description {
            repository: REPOSITORY_VERSION,
            name: name.to_owned(),
        };
        let text = serde_json::to_string(&description).expect("a number and a name");
        let path = folder.join(REPOSITORY_FILE);
        // Another process may have been quicker: its name counts.
        publish(&incoming, format!("{text}\n").as_bytes(), &path).map_err(writing(&path))?;
        drop(lock);
        Self::open(folder)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, absolute and without links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The numbers of its generations, ascending.
    pub fn generations(&self) -> Result<Vec<u32>, LibraryError> {
        let folder = self.folder.join(GENERATIONS);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).map_err(reading(&folder))? {
            let name = entry.map_err(reading(&folder))?.file_name();
            numbers.extend(number_of(&name.to_string_lossy(), ".json"));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The number for the next generation. A damaged one that was taken away keeps its number,
    /// for images may name it.
    pub(super) fn next_number(&self) -> Result<u32, LibraryError> {
        let folder = self.folder.join(QUARANTINE);
        let mut highest = self.generations()?.last().copied().unwrap_or(0);
        match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries.map_err(reading(&folder))? {
                    let name = entry.map_err(reading(&folder))?.file_name();
                    highest = highest.max(number_of(&name.to_string_lossy(), ".json").unwrap_or(0));
                }
            }
        }
        Ok(highest + 1)
    }

    /// Reads one generation.
    pub fn generation(&self, number: u32) -> Result<Index, LibraryError> {
        match Index::read(&self.generation_path(number), number, &self.name) {
            Err(LibraryError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let numbers = self.generations()?;
                Err(LibraryError::NoGeneration {
                    repository: self.name.clone(),
                    number,
                    there: spans(&numbers),
                })
            }
            read => read,
        }
    }

    /// Reads the newest generation; `None` while nothing was added.
    pub fn latest(&self) -> Result<Option<Index>, LibraryError> {
        let newest = self.generations()?.last().copied();
        newest.map(|number| self.generation(number)).transpose()
    }

    /// Reads the newest generation; that nothing was added yet is an error.
    pub fn newest(&self) -> Result<Index, LibraryError> {
        match self.latest()? {
            Some(index) => Ok(index),
            None => self.generation(1),
        }
    }

    /// Where the object of this digest is or would be.
    #[must_use]
    pub fn object_path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(OBJECTS).join(&name[..2]).join(&name[2..])
    }

    /// Where the folder of this digest is or would be.
    #[must_use]
    pub fn folder_path(&self, digest: Digest) -> PathBuf {
        self.folder.join(FOLDERS).join(digest.to_string())
    }

    pub(super) fn generation_path(&self, number: u32) -> PathBuf {
        self.folder.join(GENERATIONS).join(format!("{number}.json"))
    }
}

/// The number in a file name such as `12.json`, spelled as hpcvm spells it.
pub(super) fn number_of(name: &str, ending: &str) -> Option<u32> {
    let digits = name.strip_suffix(ending)?;
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(number)
}

/// Numbers for a reader: `1 to 4, 7`.
fn spans(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let spans: Vec<String> = spans
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first} to {last}"),
        })
        .collect();
    if spans.is_empty() {
        "none".to_owned()
    } else {
        spans.join(", ")
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=100).contains(&name.len()) && name.starts_with(plain) && name.chars().all(|c| plain(c) || "._-".contains(c))
}

/// Fails where `folder` holds what no repository does: one that was half made is fine.
fn refuse_occupied(folder: &Path) -> Result<(), LibraryError> {
    let ours = [
        OBJECTS,
        FOLDERS,
        GENERATIONS,
        EXPORTS,
        INCOMING,
        "lock",
        "lock.holder",
        REPOSITORY_FILE,
    ];
    for entry in fs::read_dir(folder).map_err(reading(folder))? {
        let name = entry.map_err(reading(folder))?.file_name();
        if !ours.iter().any(|our| *our == name) {
            let folder = folder.to_owned();
            return Err(LibraryError::Occupied { folder });
        }
    }
    Ok(())
}

/// Makes a folder that everybody may read, whatever the umask.
pub(super) fn make_public(folder: &Path) -> Result<(), LibraryError> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(writing(folder))?,
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(writing(folder))
}

/// Writes a file of mode 0444 that appears whole at `target`, and only if nothing is there: of
/// two writers, on whatever hosts, one gets `Ok(true)`. `scratch` is of the same file system.
pub(super) fn publish(scratch: &Path, bytes: &[u8], target: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let mut file = tempfile::Builder::new().prefix("publish-").tempfile_in(scratch)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(0o444))?;
    file.as_file().sync_all()?;
    let published = match fs::hard_link(file.path(), target) {
        Ok(()) => true,
        // The server's answer to the first try may have been lost.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => file.as_file().metadata()?.nlink() == 2,
        // A file system without hard links.
        Err(error) if is_unsupported(&error) => {
            match renameat_with(CWD, file.path(), CWD, target, RenameFlags::NOREPLACE) {
                Ok(()) => true,
                Err(rustix::io::Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            }
        }
        Err(error) => return Err(error),
    };
    if let Some(folder) = target.parent() {
        crate::durable::sync_folder(folder)?;
    }
    Ok(published)
}

/// Whether the file system says that it has no hard links, or no more of them for this file.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
    refusals
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_made_once_and_opened_by_everybody() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/libs");
        assert!(matches!(
            Repository::open(&folder),
            Err(LibraryError::NoRepository { .. })
        ));
        let repository = Repository::create(&folder, "site").unwrap();
        assert_eq!(repository.name(), "site");
        assert_eq!(Repository::create(&folder, "other").unwrap().name(), "site");
        assert_eq!(repository.generations().unwrap(), [0_u32; 0]);
        assert!(repository.latest().unwrap().is_none());
        let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(REPOSITORY_FILE), mode("objects"), mode("incoming")),
            (0o444, 0o755, 0o700)
        );
        let text = fs::read_to_string(folder.join(REPOSITORY_FILE)).unwrap();
        assert_eq!(text, "{\"repository\":1,\"name\":\"site\"}\n");
        assert_eq!(fs::read_dir(folder.join(INCOMING)).unwrap().count(), 0);
    }

    #[test]
    fn other_folders_and_bad_names_are_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("letters"), b"").unwrap();
        let error = Repository::create(home.path(), "site").unwrap_err();
        assert!(matches!(error, LibraryError::Occupied { .. }), "{error}");
        for name in ["", ".", "Site", "a b", "-a", &"a".repeat(101)] {
            let error = Repository::create(&home.path().join("x"), name).unwrap_err();
            assert!(matches!(error, LibraryError::Name(_)), "{name}: {error}");
        }
    }

    #[test]
    fn what_describes_a_repository_may_be_foreign_or_damaged() {
        let home = tempfile::tempdir().unwrap();
        for (text, code) in [
            ("{\"repository\":2,\"name\":\"x\",\"more\":1}", "HV2502"),
            ("{\"repository\":1", "HV2503"),
            ("{\"repository\":1,\"name\":\"../x\"}", "HV2503"),
            ("", "HV2503"),
        ] {
            fs::write(home.path().join(REPOSITORY_FILE), text).unwrap();
            let error = Repository::open(home.path()).unwrap_err();
            assert_eq!(crate::diagnostic::Problem::code(&error), code, "{text}: {error}");
        }
    }

    #[test]
    fn only_one_writer_makes_a_number() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("1.json");
        assert!(publish(home.path(), b"first", &target).unwrap());
        assert!(!publish(home.path(), b"second", &target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"first");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(number_of("12.json", ".json"), Some(12));
        for name in ["012.json", "0.json", "a.json", "1.json.old", "-1.json"] {
            assert_eq!(number_of(name, ".json"), None, "{name}");
        }
        assert_eq!(spans(&[1, 2, 3, 7]), "1 to 3, 7");
    }
}
