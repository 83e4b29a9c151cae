//! Input files on the job disk: a tar that the guest unpacks before the job starts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use super::error::LaunchError;
use super::request::Input;
use crate::guest::job_disk::Identity;

/// Writes a tar of `inputs`, each at its guest path below `folder`, owned by the job's user.
pub(super) fn write_archive(
    out: &mut File,
    inputs: &[Input],
    folder: &Path,
    owner: &Identity,
) -> Result<(), LaunchError> {
    let mut builder = Builder::new(out);
    let mut made = BTreeSet::new();
    for input in inputs {
        append_parents(&mut builder, &input.guest, folder, owner, &mut made)?;
        let failed = |path: &Path, source| LaunchError::Input {
            path: path.to_owned(),
            source,
        };
        for entry in WalkDir::new(&input.host).sort_by_file_name() {
            let entry = entry.map_err(|error| failed(&input.host, error.into()))?;
            let below = entry
                .path()
                .strip_prefix(&input.host)
                .expect("walkdir stays below its root");
            let guest = guest_path(&folder.join(&input.guest), below);
            append(&mut builder, entry.path(), &guest, owner).map_err(|source| failed(entry.path(), source))?;
        }
    }
    let finished = builder.into_inner().and_then(Write::flush);
    finished.map_err(|source| LaunchError::Input {
        path: PathBuf::from("the job disk"),
        source,
    })
}

/// No tar of the file or folder `host` is longer: each entry has a header and, where its name is long, a second
/// with its name. What cannot be read is counted as nothing, and found when it is written.
pub(super) fn most_bytes(host: &Path) -> u64 {
    const BLOCK: u64 = 512;
    const HEADERS: u64 = 24 * BLOCK;
    let entries = WalkDir::new(host).into_iter().flatten();
    let length = |entry: walkdir::DirEntry| {
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_file);
        HEADERS + found.map_or(0, |found| found.len().next_multiple_of(BLOCK))
    };
    entries.map(length).sum()
}

/// Adds the folders that a relative guest path implies, so that they are the job's and not root's.
fn append_parents(
    builder: &mut Builder<&mut File>,
    guest: &Path,
    folder: &Path,
    owner: &Identity,
    made: &mut BTreeSet<PathBuf>,
) -> Result<(), LaunchError> {
    if guest.is_absolute() {
        return Ok(());
    }
    let mut parents: Vec<&Path> = guest
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    parents.reverse();
    for parent in parents {
        if made.insert(parent.to_owned()) {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            header.set_mtime(0);
            own(&mut header, owner)
                .and_then(|()| {
                    builder.append_data(
                        &mut header,
                        guest_path(&folder.join(parent), Path::new("")),
                        io::empty(),
                    )
                })
                .map_err(|source| LaunchError::Input {
                    path: parent.to_owned(),
                    source,
                })?;
        }
    }
    Ok(())
}

fn own(header: &mut Header, owner: &Identity) -> io::Result<()> {
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header.set_username(&owner.user)
}

/// The name in the archive: relative to the guest's root.
fn guest_path(base: &Path, below: &Path) -> PathBuf {
    let path = if below.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(below)
    };
    path.strip_prefix("/").map(Path::to_owned).unwrap_or(path)
}

fn append(builder: &mut Builder<&mut File>, host: &Path, guest: &Path, owner: &Identity) -> io::Result<()> {
    let metadata = fs::symlink_metadata(host)?;
    let mut header = Header::new_gnu();
    header.set_metadata(&metadata);
    own(&mut header, owner)?;
    if metadata.is_symlink() {
        header.set_size(0);
        return builder.append_link(&mut header, guest, fs::read_link(host)?);
    }
    if metadata.is_dir() {
        header.set_size(0);
        return builder.append_data(&mut header, guest, io::empty());
    }
    if header.entry_type() != EntryType::Regular {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither a file, a folder nor a symbolic link",
        ));
    }
    // Exactly as long as the header says, even if the file grows or shrinks meanwhile.
    let file = io::Read::take(File::open(host)?, metadata.len());
    builder.append_data(&mut header, guest, io::Read::chain(file, io::empty()))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn inputs_are_owned_by_the_job_and_named_below_its_folder() {
        let host = tempfile::tempdir().unwrap();
        fs::create_dir(host.path().join("data")).unwrap();
        fs::write(host.path().join("data/a b"), b"1 2").unwrap();
        std::os::unix::fs::symlink("a b", host.path().join("data/link")).unwrap();
        let mut archive = tempfile::tempfile().unwrap();
        let inputs = [Input {
            host: host.path().join("data"),
            guest: "deep/in".into(),
        }];
        let owner = Identity {
            uid: 1234,
            gid: 99,
            user: "job".into(),
            ..Identity::default()
        };
        write_archive(&mut archive, &inputs, Path::new("/home/job"), &owner).unwrap();
        archive.rewind().unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                (1234, 99)
            );
            names.push(entry.path().unwrap().display().to_string());
        }
        assert_eq!(
            names,
            [
                "home/job/deep",
                "home/job/deep/in",
                "home/job/deep/in/a b",
                "home/job/deep/in/link"
            ]
        );
    }

    #[test]
    fn a_missing_input_is_named() {
        let inputs = [Input {
            host: "/nonexistent/x".into(),
            guest: "x".into(),
        }];
        let error = write_archive(
            &mut tempfile::tempfile().unwrap(),
            &inputs,
            Path::new("/"),
            &Identity::default(),
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("cannot read the input /nonexistent/x")
        );
    }
}
