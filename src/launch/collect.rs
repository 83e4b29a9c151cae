//! Outputs off the result disk: a tar written by a guest that nobody trusts.
//!
//! It is unpacked into a new private folder beside each target and moved over only when whole,
//! so that a hostile or cut archive neither leaves the target nor half-replaces it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};
use tempfile::TempDir;

use super::error::LaunchError;
use super::request::Output;
use super::spool::OUTPUTS_END;
use crate::durable;
use crate::guest::result_disk::TAR_OFFSET;

/// Brings every output from the result disk at `disk` to its place on the host.
pub(super) fn collect(disk: &Path, outputs: &[Output]) -> Result<(), LaunchError> {
    if outputs.is_empty() {
        return Ok(());
    }
    let mut parcels = outputs.iter().map(Parcel::open).collect::<Result<Vec<_>, _>>()?;
    let unreadable = |error: io::Error| refused(disk, format!("the guest's archive cannot be read: {error}"));
    let mut file = File::open(disk).map_err(unreadable)?;
    file.seek(SeekFrom::Start(TAR_OFFSET)).map_err(unreadable)?;
    // What follows is no archive.
    let mut archive = Archive::new(file.take(OUTPUTS_END - TAR_OFFSET));
    archive.set_unpack_xattrs(false);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.into_owned();
        let Some((parcel, below)) = parcels
            .iter_mut()
            .find_map(|parcel| parcel.place_of(&name).map(|below| (parcel, below)))
        else {
            return Err(refused(&name, "the guest sent it without being asked".to_owned()));
        };
        parcel.unpack(&mut entry, &below)?;
    }
    parcels.into_iter().try_for_each(Parcel::deliver)
}

fn refused(path: &Path, reason: String) -> LaunchError {
    LaunchError::Collect {
        path: path.to_owned(),
        reason,
    }
}

/// One output on its way.
struct Parcel<'a> {
    output: &'a Output,
    /// A private folder beside the target; the output is `content` in it.
    folder: TempDir,
    arrived: bool,
}

impl<'a> Parcel<'a> {
    fn open(output: &'a Output) -> Result<Self, LaunchError> {
        let parent = match output.host.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = durable::private_folder_in(parent, ".hpcvm-output-");
        let folder = folder.map_err(|error| refused(&output.host, format!("cannot write beside it: {error}")))?;
        Ok(Self {
            output,
            folder,
            arrived: false,
        })
    }

    /// The path below this output that the archive's `name` stands for.
    fn place_of(&self, name: &Path) -> Option<PathBuf> {
        let asked = plain(&self.output.guest)?;
        plain(name)?.strip_prefix(asked).ok().map(Path::to_owned)
    }

    fn unpack(&mut self, entry: &mut tar::Entry<'_, io::Take<File>>, below: &Path) -> Result<(), LaunchError> {
        let path = joined(&self.output.guest, below);
        match entry.header().entry_type() {
            EntryType::Regular
            | EntryType::Directory
            | EntryType::Symlink
            | EntryType::Continuous
            | EntryType::GNUSparse => {}
            EntryType::Link => return Err(refused(&path, "hard links are not brought back".to_owned())),
            _ => {
                return Err(refused(
                    &path,
                    "it is neither a file, a folder nor a symbolic link".to_owned(),
                ));
            }
        }
        let target = joined(&self.folder.path().join("content"), below);
        self.refuse_links_above(&target, &path)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| refused(&path, error.to_string()))?;
        }
        entry
            .unpack(&target)
            .map_err(|error| refused(&path, root_cause(&error)))?;
        self.arrived = true;
        Ok(())
    }

    /// Refuses to unpack below a symbolic link that the archive brought earlier.
    fn refuse_links_above(&self, target: &Path, path: &Path) -> Result<(), LaunchError> {
        let above = target
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(self.folder.path()));
        for folder in above {
            if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(refused(path, "it would be written through a symbolic link".to_owned()));
            }
        }
        Ok(())
    }

    fn deliver(self) -> Result<(), LaunchError> {
        if !self.arrived {
            return Err(refused(
                &self.output.guest,
                "the job left no such file or folder".to_owned(),
            ));
        }
        let result = move_over(&self.folder.path().join("content"), &self.output.host);
        result.map_err(|error| refused(&self.output.host, error.to_string()))
    }
}

/// What the operating system said below the names of temporary files, which mean nothing to the user.
fn root_cause(error: &io::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// `below` under `base`; `Path::join` of nothing would name a folder, with a slash at its end.
fn joined(base: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(below)
    }
}

/// A guest path without its root and `.` components; `None` if it has `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// Moves a file or folder to `to`; folders are merged, files replaced.
fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !(is_folder(from) && is_folder(to)) {
        return fs::rename(from, to);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        move_over(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tar::{Builder, Header};

    use super::*;

    /// A result disk whose archive has these entries: name, kind, link target or content.
    fn disk(entries: &[(&str, EntryType, &str)]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[0; 4096]).unwrap();
        let mut builder = Builder::new(file.as_file());
        for (name, kind, data) in entries {
            let mut header = Header::new_gnu();
            // set_path() refuses what a hostile guest would write: put the bytes there directly.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let linked = matches!(kind, EntryType::Symlink | EntryType::Link);
            if linked {
                header.as_gnu_mut().unwrap().linkname[..data.len()].copy_from_slice(data.as_bytes());
            }
            let content = if linked { "" } else { data };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        drop(builder);
        file
    }

    fn output(guest: &str, host: &Path) -> Output {
        Output {
            guest: guest.into(),
            host: host.to_owned(),
        }
    }

    #[test]
    fn outputs_arrive_and_replace_what_was_there() {
        use EntryType::{Directory, Regular, Symlink};
        let host = tempfile::tempdir().unwrap();
        fs::create_dir(host.path().join("results")).unwrap();
        fs::write(host.path().join("results/old"), "kept").unwrap();
        fs::write(host.path().join("results/a"), "replaced").unwrap();
        let disk = disk(&[
            ("out/", Directory, ""),
            ("out/a", Regular, "new"),
            ("out/sub/b", Regular, "2"),
            ("out/link", Symlink, "a"),
            ("tmp/log", Regular, "log"),
        ]);
        let outputs = [
            output("out", &host.path().join("results")),
            output("/tmp/log", &host.path().join("log")),
        ];
        collect(disk.path(), &outputs).unwrap();
        for (name, content) in [
            ("results/a", "new"),
            ("results/old", "kept"),
            ("results/sub/b", "2"),
            ("log", "log"),
        ] {
            assert_eq!(fs::read_to_string(host.path().join(name)).unwrap(), content);
        }
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn hostile_archives_leave_the_target_alone() {
        use EntryType::{Block, Link, Regular, Symlink};
        type Case<'a> = (&'a str, &'a [(&'a str, EntryType, &'a str)]);
        let cases: [Case<'_>; 6] = [
            ("without being asked", &[("other", Regular, "x")]),
            ("without being asked", &[("out/../../escape", Regular, "x")]),
            (
                "through a symbolic link",
                &[("out/l", Symlink, "/tmp"), ("out/l/escape", Regular, "x")],
            ),
            ("hard links", &[("out/l", Link, "/etc/passwd")]),
            ("neither a file", &[("out/d", Block, "")]),
            ("no such file", &[]),
        ];
        for (reason, entries) in cases {
            let host = tempfile::tempdir().unwrap();
            let error = collect(disk(entries).path(), &[output("out", &host.path().join("out"))]).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0, "{reason}");
        }
    }
}
