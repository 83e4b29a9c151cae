//! Where a node's cache is.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::StageError;
use super::node_cache::NodeCache;
use crate::durable;

/// Magic numbers of file systems that other machines serve (statfs(2), and the file systems' own
/// sources for those that Linux does not ship).
const REMOTE: [u64; 12] = [
    0x6969,      // NFS
    0x0bd0_0bd0, // Lustre
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x517b,      // SMB
    0x00c3_6400, // Ceph
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0x5346_414f, // AFS
    0x6b41_4653, // kAFS
    0x0102_1997, // 9p
    0x6573_5546, // FUSE: CernVM-FS, SSHFS, ...
];

/// Whether the file system at `path` is served by another machine, so that reading it from here
/// costs the network each time.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    let kind = rustix::fs::statfs(path).map(|found| found.f_type);
    #[expect(
        clippy::cast_sign_loss,
        reason = "magic numbers have 32 bits; the type's sign varies"
    )]
    kind.is_ok_and(|kind| REMOTE.contains(&(kind as u64 & 0xffff_ffff)))
}

/// The cache of the node called `host`: a private folder of random name below `scratch`, made when
/// there is none. Which it is, is recorded in the folder `records` of the user's own, which the
/// nodes may share; so there is no name in a shared temporary folder that others could foresee.
pub fn find_cache(records: &Path, host: &str, scratch: &Path) -> Result<NodeCache, StageError> {
    durable::create_private_folder(records)?;
    let record = records.join(record_name(host, scratch));
    if let Some(cache) = recorded(&record, scratch) {
        return Ok(cache);
    }
    let made = durable::private_folder_in(scratch, "hpcvm-cache-").map_err(|source| StageError::Cache {
        path: scratch.to_owned(),
        source,
    })?;
    match publish(&record, made.path(), scratch) {
        Ok(()) => NodeCache::at(&made.keep()),
        // Another task of this node was first: its folder is the cache, and ours goes away.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            recorded(&record, scratch).map_or_else(|| NodeCache::at(&made.keep()), Ok)
        }
        Err(source) => Err(StageError::Cache { path: record, source }),
    }
}

/// A file name for a host's record.
fn record_name(host: &str, scratch: &Path) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
            c
        } else {
            '_'
        }
    };
    let host: String = host.chars().map(plain).collect();
    let scratch = crate::digest::Digest::of(scratch.as_os_str().as_encoded_bytes()).short();
    format!("{host}-{scratch}")
}

/// The cache that a record names, if it is still there and its owner's alone.
fn recorded(record: &Path, scratch: &Path) -> Option<NodeCache> {
    let text = fs::read_to_string(record).ok()?;
    let folder = PathBuf::from(text.strip_suffix('\n')?);
    if folder.parent() != Some(scratch) {
        return None;
    }
    NodeCache::at(&folder).ok()
}

/// Records `folder`. A record whose folder is gone, because the node was set up anew, gives way.
fn publish(record: &Path, folder: &Path, scratch: &Path) -> io::Result<()> {
    let path = folder.display();
    let beside = tempfile::Builder::new()
        .prefix(".node-")
        .tempfile_in(record.parent().unwrap_or(record))?;
    io::Write::write_all(&mut beside.as_file(), format!("{path}\n").as_bytes())?;
    beside.as_file().sync_all()?;
    match fs::hard_link(beside.path(), record) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && recorded(record, scratch).is_none() => {
            beside.persist(record).map(drop).map_err(|error| error.error)
        }
        linked => linked,
    }
}

/// Whether `folder` is a folder of this user's that nobody else can enter; says what is wrong.
pub(super) fn check_private(folder: &Path) -> Result<(), StageError> {
    let foreign = |why: &str| {
        Err(StageError::Foreign {
            path: folder.to_owned(),
            why: why.to_owned(),
        })
    };
    let metadata = fs::symlink_metadata(folder).map_err(|source| StageError::Cache {
        path: folder.to_owned(),
        source,
    })?;
    if !metadata.is_dir() {
        return foreign("it is no folder");
    }
    if metadata.uid() != rustix::process::getuid().as_raw() {
        return foreign("it belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return foreign("other users can write to it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn all_tasks_of_a_node_find_the_same_private_folder() {
        let (records, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let find = |host: &str| {
            find_cache(records.path(), host, scratch.path())
                .unwrap()
                .root()
                .to_owned()
        };
        let first = find("node1");
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(find("node1"), first);
        assert_ne!(find("node2"), first);
        // The node was set up anew.
        fs::remove_dir_all(&first).unwrap();
        let second = find("node1");
        assert_ne!(second, first);
        assert_eq!(find("node1"), second);
        // Two tasks at once, many times.
        for round in 0..20 {
            let host = format!("racy{round}");
            let found: Vec<PathBuf> = std::thread::scope(|scope| {
                let tasks: Vec<_> = (0..4).map(|_| scope.spawn(|| find(&host))).collect();
                tasks.into_iter().map(|task| task.join().unwrap()).collect()
            });
            assert!(found.iter().all(|folder| *folder == found[0]), "{found:?}");
        }
        let folders = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(folders, 22, "what lost the race is gone");
    }

    #[test]
    fn a_record_that_leads_elsewhere_is_not_followed() {
        let (records, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        let record = records.path().join(record_name("node1", scratch.path()));
        fs::write(&record, format!("{}\n", elsewhere.path().display())).unwrap();
        let found = find_cache(records.path(), "node1", scratch.path()).unwrap();
        assert_eq!(found.root().parent(), Some(scratch.path()));
    }

    #[test]
    fn folders_that_others_can_write_to_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = check_private(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("other users can write to it"), "{error}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(
            check_private(&link)
                .unwrap_err()
                .to_string()
                .ends_with("it is no folder")
        );
    }

    #[test]
    fn the_host_s_own_file_systems_are_not_remote() {
        assert!(!is_remote(Path::new("/proc")));
        assert!(!is_remote(Path::new("/no/such/path")));
    }
}
