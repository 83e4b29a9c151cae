//! Which Debian package holds which program, and where programs are.

use std::ffi::OsStr;
use std::path::PathBuf;

/// Programs hpcvm may start, with the Debian package that has each.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("arch-test", "arch-test"),
    ("debootstrap", "debootstrap"),
    ("debugfs", "e2fsprogs"),
    ("dpkg-deb", "dpkg"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mkfs.vfat", "dosfstools"),
    ("mke2fs", "e2fsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("mmd", "mtools"),
    ("newuidmap", "uidmap"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-i386", "qemu-system-x86"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("syslinux", "syslinux"),
    ("unshare", "util-linux"),
];

/// The Debian package that holds `program`, where hpcvm knows it.
#[must_use]
pub fn debian_package(program: &str) -> Option<&'static str> {
    PACKAGES
        .iter()
        .find(|(name, _)| *name == program)
        .map(|(_, package)| *package)
}

/// Folders searched after those of `PATH`: Debian keeps file system tools there, outside an
/// ordinary user's `PATH`.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where `program` is, given the value of `PATH`.
#[must_use]
pub fn find_program(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return is_executable(program.as_ref()).then(|| program.into());
    }
    std::env::split_paths(path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

/// Whether `path` is a file this user may execute.
fn is_executable(path: &std::path::Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
