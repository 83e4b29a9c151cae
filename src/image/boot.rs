//! The boot partition: a FAT file system with syslinux, the kernel and its initial RAM disk.
//!
//! `VirtualBox`, and any machine with a BIOS, starts from it. QEMU starts the same kernel and RAM
//! disk directly.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Blame, Problem};
use crate::digest::{Digest, Hasher};
use crate::durable::{self, WriteError};
use crate::exec::{ExecError, Invocation, Runner};
use crate::units::MIB;

/// What syslinux calls the kernel and the RAM disk in the partition.
const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";

/// Where Debian's syslinux-common puts the boot code of a partition table.
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/mbr.bin";

/// The longest command line that Linux takes on x86, without its terminating zero.
const COMMAND_LINE_MAX: usize = 2047;

/// The first time FAT can tell: 1980-01-01.
const FAT_EPOCH: u64 = 315_532_800;

/// `ldlinux.sys` and `ldlinux.c32`, which syslinux puts in, rounded up generously.
const SYSLINUX: u64 = 256 * 1024;
/// Boot sector, root folder, and what rounding costs.
const OVERHEAD: u64 = 128 * 1024;
const SECTOR: u64 = 512;
/// A FAT with fewer clusters is FAT12, with more FAT32.
const CLUSTERS: std::ops::RangeInclusive<u64> = 4200..=65_000;

/// What the boot partition starts.
#[derive(Clone, Copy, Debug)]
pub struct BootFiles<'a> {
    /// The kernel, a bzImage.
    pub kernel: &'a Path,
    /// The initial RAM disk.
    pub initrd: &'a Path,
    /// The kernel's command line; one line of printable ASCII.
    pub command_line: &'a str,
}

/// A boot partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImage {
    /// The image file.
    pub path: PathBuf,
    /// Its length in bytes, a multiple of 1 MiB.
    pub length: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// A boot partition could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel or the RAM disk could not be read, or the boot code of syslinux-common.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// syslinux or the kernel would not get what was meant.
    #[error("the kernel's command line {0}")]
    CommandLine(String),
    /// Kernel and RAM disk are larger than the file system can be.
    #[error("a kernel and RAM disk of {0} bytes do not fit in a FAT16 boot partition of 2 GiB")]
    TooLarge(u64),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ExecError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Problem for BootError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "HV2121",
            Self::CommandLine(_) => "HV2122",
            Self::TooLarge(_) => "HV2123",
            Self::Program(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } => Blame::Host,
            Self::CommandLine(_) | Self::TooLarge(_) => Blame::User,
            Self::Program(error) => error.blame(),
            Self::Write(error) => error.blame(),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read { path, .. } if path == Path::new(BOOT_CODE) => {
                "install it: apt-get install syslinux-common".to_owned()
            }
            Self::Read { .. } => return None,
            Self::CommandLine(_) => "change kernel.command-line in the recipe".to_owned(),
            Self::TooLarge(_) => "name fewer modules in the recipe, or choose hpcvm's own initrd".to_owned(),
            Self::Program(error) => return error.help(),
            Self::Write(error) => return error.help(),
        })
    }
}

/// Makes the boot partition image `target`, no larger than its content needs; `epoch` is the time
/// of everything in it, in seconds since 1970.
///
/// The file appears at `target` whole or not at all.
pub fn write_boot(
    runner: &dyn Runner,
    files: BootFiles<'_>,
    epoch: u64,
    target: &Path,
) -> Result<BootImage, BootError> {
    let configuration = configuration(files.command_line)?;
    let content = file_length(files.kernel)? + file_length(files.initrd)? + configuration.len() as u64;
    let size = Size::of(content).ok_or(BootError::TooLarge(content))?;
    let scratch = durable::scratch_beside(target)?;
    let image = scratch.path().join("boot.fat");
    let configuration_file = scratch.path().join("syslinux.cfg");
    durable::write(&configuration_file, configuration.as_bytes())?;
    let volume = volume_id(files, &configuration)?;
    let epoch = epoch.max(FAT_EPOCH);
    runner.run(&make_file_system(size, volume, &image))?;
    // syslinux first: the BIOS reads ldlinux.sys block by block, near the start it is all there.
    runner.run(&at(epoch, Invocation::new("syslinux")).arg("--install").arg(&image))?;
    for (file, name) in [
        (configuration_file.as_path(), "syslinux.cfg"),
        (files.kernel, KERNEL),
        (files.initrd, INITRD),
    ] {
        let copy = at(epoch, Invocation::new("mcopy")).arg("-i").arg(&image);
        runner.run(&copy.arg(file).arg(format!("::/{name}")))?;
    }
    durable::adopt(&image, target)?;
    Ok(BootImage {
        path: target.to_owned(),
        length: size.sectors * SECTOR,
        digest: read(target, Digest::of_file)?,
    })
}

/// The boot code that starts the active partition: at most 440 bytes.
pub fn boot_code() -> Result<Vec<u8>, BootError> {
    read(Path::new(BOOT_CODE), |path| fs::read(path))
}

/// Adds what makes the FAT tools use `epoch` for every time they write.
fn at(epoch: u64, invocation: Invocation) -> Invocation {
    invocation
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        // The image is no multiple of any track's length.
        .env("MTOOLS_SKIP_CHECK", "1")
        // Not what a user or the host configured for real floppies.
        .env("MTOOLSRC", "/dev/null")
}

fn make_file_system(size: Size, volume: u32, image: &Path) -> Invocation {
    Invocation::new("mkfs.vfat")
        .args(["--invariant", "-F", "16", "-n", "HPCVM", "-r", "512", "-R", "1"])
        .args(["-i", &format!("{volume:08x}")])
        .args(["-s", &size.cluster_sectors.to_string()])
        // Where the partition begins: some boot sectors trust this over the partition table.
        .args(["-h", &super::partition::ALIGNMENT.to_string()])
        .arg("-C")
        .arg(image)
        .arg((size.sectors * SECTOR / 1024).to_string())
}

/// syslinux's configuration: start at once, without a prompt.
fn configuration(command_line: &str) -> Result<String, BootError> {
    let wrong = |what: String| Err(BootError::CommandLine(what));
    if let Some(bad) = command_line.chars().find(|c| !matches!(c, ' '..='~')) {
        return wrong(format!("has the character {bad:?}; only printable ASCII is allowed"));
    }
    if command_line.len() > COMMAND_LINE_MAX {
        return wrong(format!("has {} bytes; Linux takes 2047", command_line.len()));
    }
    if command_line.split(' ').any(|word| word.starts_with("initrd=")) {
        return wrong("has an initrd= of its own".to_owned());
    }
    Ok(format!(
        "DEFAULT hpcvm\nPROMPT 0\nTIMEOUT 0\nLABEL hpcvm\n  LINUX /{KERNEL}\n  INITRD /{INITRD}\n  APPEND {command_line}\n"
    ))
}

/// A volume number that derives from the content.
fn volume_id(files: BootFiles<'_>, configuration: &str) -> Result<u32, BootError> {
    let mut hasher = Hasher::default();
    hasher.field(b"boot-volume").field(configuration.as_bytes());
    for file in [files.kernel, files.initrd] {
        hasher.field(read(file, Digest::of_file)?.as_bytes());
    }
    let digest = hasher.finish();
    let [a, b, c, d, ..] = *digest.as_bytes();
    Ok(u32::from_le_bytes([a, b, c, d]))
}

fn file_length(path: &Path) -> Result<u64, BootError> {
    Ok(read(path, |path| fs::metadata(path))?.len())
}

fn read<T>(path: &Path, how: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, BootError> {
    how(path).map_err(|source| BootError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The shape of a FAT16 file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    sectors: u64,
    cluster_sectors: u64,
}

impl Size {
    /// The smallest file system for `content` bytes, in whole mebibytes, with the largest
    /// clusters that still make it a FAT16: fewer entries for syslinux to follow.
    fn of(content: u64) -> Option<Self> {
        [64, 32, 16, 8, 4, 2, 1].into_iter().find_map(|cluster_sectors| {
            let cluster = cluster_sectors * SECTOR;
            // Five files, each of which leaves part of a cluster unused.
            let data = content + SYSLINUX + 5 * cluster;
            // Two tables of two bytes for each cluster.
            let tables = data / cluster * 4;
            let smallest = *CLUSTERS.start() * (cluster + 4);
            let bytes = (data + tables).max(if cluster_sectors == 1 { smallest } else { 0 }) + OVERHEAD;
            let sectors = bytes.next_multiple_of(MIB) / SECTOR;
            let clusters = (sectors * SECTOR - OVERHEAD) / (cluster + 4);
            CLUSTERS.contains(&clusters).then_some(Self {
                sectors,
                cluster_sectors,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Host;

    fn host() -> Host {
        Host::new("/usr/bin:/bin".into(), "/".into())
    }

    #[test]
    fn a_boot_partition_is_sound_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let kernel: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
        fs::write(file("vmlinuz"), &kernel).unwrap();
        fs::write(file("initrd.lz4"), vec![7; 700_000]).unwrap();
        let files = BootFiles {
            kernel: &file("vmlinuz"),
            initrd: &file("initrd.lz4"),
            command_line: "quiet hpcvm.root=12345678-02",
        };
        let one = write_boot(&host(), files, 0, &file("boot.fat")).unwrap();
        assert_eq!(one.length, 6 * MIB);
        host()
            .run(&Invocation::new("fsck.vfat").arg("-n").arg(&one.path))
            .unwrap();
        let list = host().run(
            &Invocation::new("mdir")
                .arg("-i")
                .arg(&one.path)
                .args(["-a", "-b", "::"]),
        );
        let mut names: Vec<_> = list.unwrap().text().lines().map(str::to_owned).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "::/initrd",
                "::/kernel",
                "::/ldlinux.c32",
                "::/ldlinux.sys",
                "::/syslinux.cfg"
            ]
        );
        let typed = |name: &str| {
            let invocation = Invocation::new("mtype")
                .arg("-i")
                .arg(&one.path)
                .arg(format!("::/{name}"));
            host().run(&invocation).unwrap().stdout
        };
        assert!(typed("kernel") == kernel);
        let configuration = String::from_utf8(typed("syslinux.cfg")).unwrap();
        assert!(
            configuration.contains("APPEND quiet hpcvm.root=12345678-02\n"),
            "{configuration}"
        );
        // FAT tells times to two seconds.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let two = write_boot(&host(), files, 0, &file("again.fat")).unwrap();
        assert_eq!(one.digest, two.digest);
    }

    #[test]
    fn every_size_is_a_fat16_just_large_enough() {
        for content in [0, 1, 20_000, 3 << 20, 12 << 20, 40 << 20, 300 << 20, 1900 << 20] {
            let size = Size::of(content).unwrap();
            let bytes = size.sectors * SECTOR;
            let spare = bytes - content;
            assert!(spare > SYSLINUX, "{content}: {size:?}");
            assert!(spare < 4 * MIB + content / 50, "{content}: {size:?}");
        }
        assert_eq!(Size::of(3 << 30), None);
    }

    #[test]
    fn command_lines_that_would_not_arrive_are_refused() {
        for (line, says) in [
            ("a\nb", "character '\\n'"),
            ("a=ü", "character 'ü'"),
            (&"x".repeat(2048), "has 2048 bytes"),
            ("quiet initrd=/other", "initrd= of its own"),
        ] {
            let error = configuration(line).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.help().is_some());
        }
    }
}
