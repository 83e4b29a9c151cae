//! The programs of one machine's `VirtualBox`.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::super::error::LaunchError;
use super::super::prepare::RESULT_DISK;
use super::super::relay::Relay;
use super::super::request::LaunchRequest;
use super::super::spawn::Spawned;
use super::super::spool::{self, Spooling};
use super::bridge::Bridge;
use super::disk_full;
use crate::exec::{Host, Invocation};
use crate::guest::result_disk::Spool;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::Machine;
use crate::hypervisor::virtualbox::{
    Driver, Folders, Installation, SOCKETS, Service, VirtualBoxError, driver, register,
};
use crate::image::uuid::Uuid;

/// One machine that `VirtualBox` knows. When dropped, nothing of it is left outside the launch's folder.
#[derive(Debug)]
pub(in super::super) struct VirtualBox {
    // Dropped in this order: the service before its sockets.
    service: Option<Service>,
    bridge: Bridge,
    installation: Installation,
    uuid: Uuid,
    folder: PathBuf,
    folders: Folders,
    spool: Option<Spool>,
}

impl VirtualBox {
    /// Registers `machine`, whose disks are in `folder`.
    pub(in super::super) fn register(
        host: &Host,
        request: &LaunchRequest,
        machine: &Machine,
        folder: &Path,
    ) -> Result<Self, LaunchError> {
        let installation = Installation::find(host)?;
        check_driver(&installation, request.accelerator)?;
        if request.warm.is_some() {
            return Err(VirtualBoxError::Unsupported("it is to be restored from a template").into());
        }
        let folders = Folders::create(folder)?;
        let uuid = register(machine, &request.image.disk, folder, &folders)?;
        let bridge = Bridge::listen(folders.sockets(), SOCKETS).map_err(|source| VirtualBoxError::Write {
            path: folders.sockets().to_owned(),
            source,
        })?;
        Ok(Self {
            service: None,
            bridge,
            installation,
            uuid,
            folder: folder.to_owned(),
            folders,
            spool: spool::of(request),
        })
    }

    /// Starts the machine; the words of its programs go to the file `log` and one beside it.
    ///
    /// Must be called from a thread that outlives the programs, which are tied to it.
    pub(in super::super) fn spawn(&mut self, host: &Host, log: &Path, relay: &Relay) -> Result<Spawned, LaunchError> {
        self.service = None;
        let own_log = log.with_file_name("service.log");
        let stop = || relay.kept_signal();
        self.service = Some(Service::start(
            host,
            &self.installation,
            &self.folders,
            &own_log,
            &stop,
        )?);
        let failed = |source| LaunchError::Scratch {
            path: log.to_owned(),
            source,
        };
        let log_file = File::create(log).map_err(failed)?;
        let invocation = Invocation::new(self.installation.program("VBoxHeadless")).args([
            "--startvm",
            &self.uuid.to_string(),
            "--vrde",
            "off",
        ]);
        let child = host.spawn_tethered(&self.folders.within(invocation), &log_file, &[])?;
        disk_full::watch(&child, &self.folder).map_err(failed)?;
        let ports = self.bridge.join(&child).map_err(failed)?;
        Ok(Spawned {
            child,
            ports,
            monitor: None,
            // Its daemon wants to see a machine end.
            may_be_killed: false,
            spooling: self.spool.map(|spool| Spooling {
                spool,
                disk: self.folder.join(RESULT_DISK),
            }),
        })
    }

    /// Whether the machine has never run, whatever the exit status said: `VirtualBox` begins each run with a log.
    pub(in super::super) fn has_never_run(&self) -> bool {
        !self.folder.join("Logs/VBox.log").exists()
    }
}

/// Interpreted machines need no driver.
fn check_driver(installation: &Installation, accelerator: Accelerator) -> Result<(), VirtualBoxError> {
    if accelerator == Accelerator::Tcg {
        return Ok(());
    }
    match driver(installation) {
        Driver::Usable => Ok(()),
        Driver::Missing => Err(VirtualBoxError::NoDriver("there is no /dev/vboxdrv".to_owned())),
        Driver::Refused(why) => Err(VirtualBoxError::NoDriver(why)),
    }
}
