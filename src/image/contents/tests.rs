use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use super::*;
use crate::exec::Host;
use crate::image::root::{Ext4, Squashfs, write_ext4, write_squashfs};
use crate::recipe::{Compression, RootKind};
use crate::rootfs::tree::{Content, Entry, Kind, Origin, Tree, TreePath};
use crate::units::{Bytes, MIB};

fn tree() -> Tree {
    let mut tree = Tree::default();
    let mut put = |path: &[u8], kind: Kind| {
        let path = TreePath::new(path).unwrap();
        tree.insert(path, Entry::new(kind, 0o755, 1, Origin::Recipe));
    };
    let long = || Kind::File(Content::inline(vec![7; 300_000]));
    put(b"usr/lib/libx.so.1.2", long());
    put(b"usr/lib/libx.so.1", Kind::Symlink(b"libx.so.1.2".to_vec()));
    put(
        b"usr/lib/other",
        Kind::HardLink(TreePath::new(b"usr/lib/libx.so.1.2").unwrap()),
    );
    put(b"lib", Kind::Symlink(b"usr/lib".to_vec()));
    put(b"usr/lib/liby.so", Kind::Symlink(b"/libs/objects/y".to_vec()));
    put(b"up", Kind::Symlink(b"../../lib/../lib".to_vec()));
    put(b"loop", Kind::Symlink(b"loop".to_vec()));
    put(b"odd\\\xff", Kind::File(Content::inline(*b"odd")));
    put(b"dev/null", Kind::CharDevice(1, 3));
    put(b"libs", Kind::Directory);
    tree
}

/// The tree's image behind 4096 other bytes.
fn files(folder: &Path, kind: Option<Compression>) -> GuestFiles {
    let host = Host::new("/usr/sbin:/usr/bin:/sbin:/bin".into(), "/".into());
    let target = folder.join("root");
    let (root_kind, image) = if let Some(compression) = kind {
        let options = Squashfs {
            compression,
            epoch: 1,
            processors: 1,
        };
        (RootKind::ReadOnly, write_squashfs(&host, &tree(), options, &target))
    } else {
        let free_space = Bytes(8 * MIB);
        let options = Ext4 { free_space, epoch: 1 };
        (RootKind::Writable, write_ext4(&host, &tree(), options, &target))
    };
    let bytes = [vec![0; 4096], fs::read(&image.unwrap().path).unwrap()].concat();
    let disk = folder.join("disk");
    fs::write(&disk, &bytes).unwrap();
    GuestFiles {
        entries: nodes(&FileList::of(&tree())),
        reader: Reader::open(&disk, root_kind, (4096, bytes.len() as u64 - 4096)).unwrap(),
        mounts: Vec::new(),
    }
}

#[test]
fn files_of_every_kind_of_root_are_read() {
    let kinds = [Compression::Zstd, Compression::Lz4, Compression::Xz].map(Some);
    for kind in kinds.into_iter().chain([None]) {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), kind);
        for path in [
            "/usr/lib/libx.so.1.2",
            "/lib/libx.so.1",
            "/usr/lib/other",
            "/up/libx.so.1",
        ] {
            let source = files.open(Path::new(path)).unwrap();
            assert_eq!(source.id, FileId::Path("/usr/lib/libx.so.1.2".into()), "{path}");
            assert_eq!(source.read_all(1 << 20).unwrap(), vec![7; 300_000], "{kind:?} {path}");
        }
        for path in [
            "/lib",
            "/none",
            "/loop",
            "/dev/null",
            "/usr/lib/liby.so",
            "/usr/lib/libx.so.1/x",
        ] {
            assert!(files.open(Path::new(path)).is_err(), "{path}");
        }
        let odd = Path::new(OsStr::from_bytes(b"/odd\\\xff"));
        if kind.is_some() {
            assert_eq!(files.open(odd).unwrap().read_all(9).unwrap(), b"odd");
        }
    }
}

#[test]
fn folders_of_the_host_hide_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    fs::create_dir_all(host.join("objects")).unwrap();
    fs::write(host.join("objects/y"), "library").unwrap();
    symlink("/lib/libx.so.1", host.join("back")).unwrap();
    let mut files = files(folder.path(), Some(Compression::Lz4));
    for guest in ["/libs", "/home/me"] {
        let (guest, host) = (guest.into(), host.clone());
        files.mount(Mount { guest, host });
    }
    let (guest, program) = ("/lone".into(), host.join("objects/y"));
    files.mount(Mount { guest, host: program });
    assert_eq!(files.open(Path::new("/usr/lib/liby.so")).unwrap().length, 7);
    assert_eq!(files.open(Path::new("/lone")).unwrap().length, 7);
    // A link of the host leads where it would in the guest.
    assert_eq!(files.open(Path::new("/home/me/back")).unwrap().length, 300_000);
    assert!(files.is_folder(Path::new("/home")));
    let names = |path: &str| {
        let names = files.list(Path::new(path)).unwrap().into_iter();
        names.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("/libs"), ["back", "objects"]);
    assert_eq!(names("/home"), ["me"]);
    assert!(names("/lib").contains(&"libx.so.1.2".to_owned()));
    assert_eq!(
        files.walk(Path::new("/lib")).unwrap(),
        ["/lib/libx.so.1.2", "/lib/other"].map(PathBuf::from)
    );
    assert_eq!(
        files.walk(Path::new("/home")).unwrap(),
        [PathBuf::from("/home/me/objects/y")]
    );
}

#[test]
fn a_damaged_root_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::write(&disk, [0x5a; 8192]).unwrap();
    for kind in [RootKind::ReadOnly, RootKind::Writable] {
        let error = Reader::open(&disk, kind, (4096, 4096)).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
