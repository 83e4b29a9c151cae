//! Where `VirtualBox` is on this machine, and whether its kernel driver is.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::VirtualBoxError;
use crate::exec::{Host, Invocation};

/// Where packages put it: Debian's, and Oracle's. `PATH` has only shell wrappers, which print warnings on standard
/// output and remove the sockets of others.
const PLACES: [&str; 2] = ["/usr/lib/virtualbox", "/opt/VirtualBox"];
/// The device of the kernel driver.
const DEVICE: &str = "/dev/vboxdrv";
/// Calls are known to stand still for ten seconds now and then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where `VirtualBox` is.
#[derive(Clone, Debug)]
pub struct Installation {
    folder: PathBuf,
}

impl Installation {
    /// The one in a folder of the host's `PATH`, or where packages put it.
    pub fn find(host: &Host) -> Result<Self, VirtualBoxError> {
        let on_path = std::env::split_paths(host.path());
        let places = on_path.chain(PLACES.map(PathBuf::from));
        let is_whole = |folder: &PathBuf| {
            ["VBoxSVC", "VBoxHeadless"]
                .iter()
                .all(|name| folder.join(name).is_file())
        };
        let found = places.into_iter().find(is_whole);
        let folder = found.ok_or_else(|| VirtualBoxError::NotInstalled {
            places: PLACES.map(str::to_owned).to_vec(),
        })?;
        Ok(Self { folder })
    }

    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its version, as in `7.2.22_Debianr175245`; `None` when it does not tell.
    #[must_use]
    pub fn version(&self, host: &Host) -> Option<String> {
        let asked = host.run_within(&Invocation::new(self.program("VBoxManage")).arg("--version"), PATIENCE);
        let said = asked.ok().filter(crate::exec::Ended::success)?.said.text();
        // A wrapper's warnings come first.
        said.lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    }
}

/// How the kernel driver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Machines run on the processor itself.
    Usable,
    /// It is not loaded.
    Missing,
    /// It is there, and not for this user; what the operating system said.
    Refused(String),
}

/// Looks for the kernel driver.
///
/// Debian's device is for root alone: `VBoxHeadless` opens it as a program that is set to root. Then what counts is
/// that the device is there and the program may be executed.
#[must_use]
pub fn driver(installation: &Installation) -> Driver {
    driver_at(Path::new(DEVICE), &installation.program("VBoxHeadless"))
}

fn driver_at(device: &Path, headless: &Path) -> Driver {
    use std::os::unix::fs::PermissionsExt;
    let is_device = fs::metadata(device).is_ok_and(|metadata| metadata.file_type().is_char_device());
    if !is_device {
        return Driver::Missing;
    }
    match rustix::fs::access(headless, rustix::fs::Access::EXEC_OK) {
        Err(error) => {
            return Driver::Refused(format!(
                "cannot execute {}: {}",
                headless.display(),
                io::Error::from(error)
            ));
        }
        Ok(()) if fs::metadata(headless).is_ok_and(|found| found.permissions().mode() & 0o4000 != 0) => {
            return Driver::Usable;
        }
        Ok(()) => {}
    }
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Driver::Usable,
        Err(error) => Driver::Refused(format!("cannot open {}: {error}", device.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_installation_on_the_path_is_found_and_asked() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(folder.path().into(), "/".into());
        program(&folder.path().join("VBoxHeadless"), "", 0o755);
        program(
            &folder.path().join("VBoxManage"),
            "#!/bin/sh\necho WARNING: no driver\necho 7.2.0r1\n",
            0o755,
        );
        program(&folder.path().join("VBoxSVC"), "", 0o755);
        let found = Installation::find(&host).unwrap();
        assert_eq!(found.program("VBoxSVC"), folder.path().join("VBoxSVC"));
        assert_eq!(found.version(&host).as_deref(), Some("7.2.0r1"));
        program(&folder.path().join("VBoxManage"), "#!/bin/sh\nexit 1\n", 0o755);
        assert_eq!(found.version(&host), None);
    }

    #[test]
    fn the_driver_is_a_device_that_the_program_may_use() {
        let folder = tempfile::tempdir().unwrap();
        let headless = folder.path().join("VBoxHeadless");
        program(&headless, "", 0o755);
        let null = Path::new("/dev/null");
        assert_eq!(driver_at(&folder.path().join("vboxdrv"), &headless), Driver::Missing);
        assert_eq!(driver_at(&headless, &headless), Driver::Missing);
        assert_eq!(driver_at(null, &headless), Driver::Usable);
        assert!(matches!(
            driver_at(null, &folder.path().join("none")),
            Driver::Refused(_)
        ));
        program(&headless, "", 0o4755);
        assert_eq!(driver_at(null, &headless), Driver::Usable);
    }
}
