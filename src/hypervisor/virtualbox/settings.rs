//! A machine's settings file and the registry that names it. Pure: nothing is started or looked at.
//!
//! Settings version 1.19 is that of `VirtualBox` 7.0; later releases read it and convert it in memory.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::VirtualBoxError;
use crate::architecture::Architecture;
use crate::hypervisor::machine::{HostShare, Network};
use crate::image::uuid::Uuid;
use crate::units::Bytes;

const NAMESPACE: &str = "http://www.virtualbox.org/";
/// Standard addresses and interrupts of a PC's serial ports, COM1 to COM4.
const SERIAL: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];

/// The disk that the machine boots from: a differencing image over an image that stays as it is.
#[derive(Clone, Debug)]
pub struct Base {
    /// The image's disk.
    pub file: PathBuf,
    /// What it is known as.
    pub uuid: Uuid,
    /// The machine's differencing image.
    pub clone: PathBuf,
    /// What that is known as.
    pub clone_uuid: Uuid,
}

/// A serial port.
#[derive(Clone, Debug)]
pub enum Port {
    /// What the guest sends goes to this file, which is emptied first.
    File(PathBuf),
    /// Joined to the socket on which somebody listens here.
    Socket(PathBuf),
}

/// All that `VirtualBox` is told of a machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the machine is known as.
    pub uuid: Uuid,
    /// The processor's architecture.
    pub architecture: Architecture,
    /// Whether `VirtualBox` interprets the guest's instructions, for want of its kernel driver.
    pub is_interpreted: bool,
    /// Guest memory.
    pub memory: Bytes,
    /// Virtual processors.
    pub cpus: u32,
    /// The disk it boots from.
    pub base: Base,
    /// Its other disks: descriptor files, and what each is known as.
    pub disks: Vec<(PathBuf, Uuid)>,
    /// Serial ports from COM1 on, at most four.
    pub ports: Vec<Port>,
    /// Host folders it can mount.
    pub shares: Vec<HostShare>,
    /// Its network.
    pub network: Network,
}

impl Settings {
    /// The machine's settings file, which is to stand in the same folder as its disks.
    pub fn machine(&self) -> Result<String, VirtualBoxError> {
        let mut xml = Xml::begin("1.19-linux");
        let engine = if self.is_interpreted {
            " executionEngine=\"Interpreter\""
        } else {
            ""
        };
        let os = match self.architecture {
            Architecture::I386 => "Linux26",
            Architecture::Amd64 => "Linux26_64",
        };
        xml.line(format_args!(
            "<Machine uuid=\"{{{}}}\" name=\"hpcvm\" OSType=\"{os}\" snapshotFolder=\"Snapshots\"{engine}>",
            self.uuid
        ));
        self.media(&mut xml)?;
        xml.line(format_args!("<Hardware>"));
        self.processor(&mut xml);
        self.devices(&mut xml)?;
        self.storage(&mut xml);
        xml.line(format_args!("</Hardware>\n</Machine>"));
        Ok(xml.end())
    }

    fn media(&self, xml: &mut Xml) -> Result<(), VirtualBoxError> {
        let base = &self.base;
        let (file, clone) = (name(&base.file)?, name(&base.clone)?);
        xml.line(format_args!("<MediaRegistry>\n<HardDisks>"));
        // Of many machines at once, and written by none: the machine's own writes go to its clone.
        xml.line(format_args!(
            "<HardDisk uuid=\"{{{}}}\" location=\"{file}\" format=\"VDI\" type=\"MultiAttach\">",
            base.uuid
        ));
        xml.line(format_args!(
            "<HardDisk uuid=\"{{{}}}\" location=\"{clone}\" format=\"VDI\"/>\n</HardDisk>",
            base.clone_uuid
        ));
        for (file, uuid) in &self.disks {
            let file = name(file)?;
            xml.line(format_args!(
                "<HardDisk uuid=\"{{{uuid}}}\" location=\"{file}\" format=\"VMDK\" type=\"Normal\"/>"
            ));
        }
        xml.line(format_args!("</HardDisks>\n</MediaRegistry>"));
        Ok(())
    }

    fn processor(&self, xml: &mut Xml) {
        let long_mode = self.architecture == Architecture::Amd64;
        xml.line(format_args!("<CPU count=\"{}\">\n<PAE enabled=\"true\"/>", self.cpus));
        xml.line(format_args!("<LongMode enabled=\"{long_mode}\"/>\n</CPU>"));
        xml.line(format_args!("<Memory RAMSize=\"{}\"/>", self.memory.as_mebibytes()));
        xml.line(format_args!("<Boot>\n<Order position=\"1\" device=\"HardDisk\"/>"));
        for position in 2..=4 {
            xml.line(format_args!("<Order position=\"{position}\" device=\"None\"/>"));
        }
        xml.line(format_args!("</Boot>\n<Display VRAMSize=\"4\"/>"));
        // The logo alone takes two seconds.
        xml.line(format_args!("<BIOS>\n<IOAPIC enabled=\"true\"/>"));
        xml.line(format_args!(
            "<Logo fadeIn=\"false\" fadeOut=\"false\" displayTime=\"0\"/>\n<BootMenu mode=\"Disabled\"/>\n</BIOS>"
        ));
        xml.line(format_args!("<RTC localOrUTC=\"UTC\"/>"));
    }

    fn devices(&self, xml: &mut Xml) -> Result<(), VirtualBoxError> {
        let adapter = match self.network {
            Network::None => "enabled=\"false\" type=\"virtio\">".to_owned(),
            // An enabled adapter without an address keeps the machine from starting. The guest's settings name the
            // proxy's address.
            Network::User => format!(
                "enabled=\"true\" MACAddress=\"{}\" type=\"virtio\">\
                 <NAT><DNS pass-domain=\"false\" use-proxy=\"true\"/></NAT>",
                self.hardware_address()
            ),
        };
        xml.line(format_args!(
            "<Network>\n<Adapter slot=\"0\" {adapter}</Adapter>\n</Network>"
        ));
        xml.line(format_args!("<UART>"));
        for (slot, (port, (address, interrupt))) in self.ports.iter().zip(SERIAL).enumerate() {
            let (mode, path) = match port {
                Port::File(path) => ("RawFile", name(path)?),
                Port::Socket(path) => ("HostPipe", name(path)?),
            };
            // With a 16550's queue the guest is interrupted once for sixteen bytes.
            xml.line(format_args!(
                "<Port slot=\"{slot}\" enabled=\"true\" IOBase=\"{address:#x}\" IRQ=\"{interrupt}\" path=\"{path}\" \
                 hostMode=\"{mode}\" server=\"false\" uartType=\"16550A\"/>"
            ));
        }
        xml.line(format_args!("</UART>\n<SharedFolders>"));
        for share in &self.shares {
            let (folder, writable) = (name(&share.folder)?, !share.read_only);
            xml.line(format_args!(
                "<SharedFolder name=\"{}\" hostPath=\"{folder}\" writable=\"{writable}\" autoMount=\"false\"/>",
                share.tag
            ));
        }
        xml.line(format_args!("</SharedFolders>"));
        Ok(())
    }

    /// An address of the range that `VirtualBox` gives its machines, made of the machine's UUID.
    fn hardware_address(&self) -> String {
        let uuid = self.uuid.to_string();
        format!("080027{}", uuid[uuid.len() - 6..].to_uppercase())
    }

    fn storage(&self, xml: &mut Xml) {
        let ports = self.disks.len() + 1;
        xml.line(format_args!("<StorageControllers>"));
        xml.line(format_args!(
            "<StorageController name=\"SATA\" type=\"AHCI\" PortCount=\"{ports}\" useHostIOCache=\"true\" Bootable=\"true\">"
        ));
        let uuids = std::iter::once(self.base.clone_uuid).chain(self.disks.iter().map(|(_, uuid)| *uuid));
        for (port, uuid) in uuids.enumerate() {
            xml.line(format_args!(
                "<AttachedDevice type=\"HardDisk\" port=\"{port}\" device=\"0\"><Image uuid=\"{{{uuid}}}\"/></AttachedDevice>"
            ));
        }
        xml.line(format_args!("</StorageController>\n</StorageControllers>"));
    }

    /// The registry of a home that holds this machine alone, whose settings are in `file`.
    pub fn registry(&self, file: &Path) -> Result<String, VirtualBoxError> {
        let mut xml = Xml::begin("1.12-linux");
        let file = name(file)?;
        xml.line(format_args!("<Global>\n<MachineRegistry>"));
        xml.line(format_args!(
            "<MachineEntry uuid=\"{{{}}}\" src=\"{file}\"/>",
            self.uuid
        ));
        xml.line(format_args!("</MachineRegistry>\n</Global>"));
        Ok(xml.end())
    }
}

struct Xml(String);

impl Xml {
    fn begin(version: &str) -> Self {
        let mut xml = Self(String::from("<?xml version=\"1.0\"?>\n"));
        xml.line(format_args!("<VirtualBox xmlns=\"{NAMESPACE}\" version=\"{version}\">"));
        xml
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("strings take every line");
    }

    fn end(mut self) -> String {
        self.line(format_args!("</VirtualBox>"));
        self.0
    }
}

/// A path as the value of an attribute.
fn name(path: &Path) -> Result<String, VirtualBoxError> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| VirtualBoxError::Name(path.to_owned()))?;
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Ok(escaped.replace('"', "&quot;"))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
