//! The description of a machine that an OVA begins with.
//!
//! Source: DMTF DSP0243, "Open Virtualization Format Specification" 1.1; the numbers of resource types are those of
//! `CIM_ResourceAllocationSettingData.ResourceType`, the numbers of systems those of
//! `CIM_OperatingSystem.OsType`.

use crate::architecture::Architecture;
use crate::digest::Digest;
use crate::image::manifest::Manifest;
use crate::units::Bytes;

/// What the description tells of the disk.
pub(super) struct OvfDisk<'a> {
    /// Its file's name in the archive.
    pub(super) file: &'a str,
    /// Bytes of that file.
    pub(super) length: u64,
    /// Bytes of the virtual disk.
    pub(super) capacity: u64,
}

/// `text` as content of an element or value of an attribute; characters that XML has no place for become blanks.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            control if control.is_control() => escaped.push(' '),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// One resource of the machine, with its elements in the alphabetical order that the schema asks for.
fn item(elements: &[(&str, &str)]) -> String {
    let elements = elements
        .iter()
        .map(|(name, value)| format!("<rasd:{name}>{value}</rasd:{name}>"));
    format!("      <Item>{}</Item>", elements.collect::<String>())
}

/// Processors, memory, and a SATA controller with the disk.
fn items(manifest: &Manifest) -> String {
    let cpus = manifest.run.cpus.to_string();
    let memory = Bytes(manifest.run.memory).as_mebibytes().to_string();
    [
        item(&[
            ("ElementName", "processors"),
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", &cpus),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("ElementName", "memory"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", &memory),
        ]),
        item(&[
            ("Address", "0"),
            ("ElementName", "sata0"),
            ("InstanceID", "3"),
            ("ResourceSubType", "AHCI"),
            ("ResourceType", "20"),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("ElementName", "disk0"),
            ("HostResource", "ovf:/disk/disk0"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", "17"),
        ]),
    ]
    .join("\n")
}

/// The descriptor of `manifest`'s machine with this one disk, of the image with `digest`.
pub(super) fn descriptor(manifest: &Manifest, digest: Digest, disk: &OvfDisk<'_>) -> String {
    let name = escaped(&manifest.name);
    let (system, vbox) = match manifest.architecture {
        Architecture::I386 => (95, "Debian"),
        Architecture::Amd64 => (96, "Debian_64"),
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vbox="http://www.virtualbox.org/ovf/machine">
  <References>
    <File ovf:id="file0" ovf:href="{file}" ovf:size="{length}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:diskId="disk0" ovf:fileRef="file0" ovf:capacity="{capacity}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A machine of one disk, without a network</Info>
    <Name>{name}</Name>
    <AnnotationSection>
      <Info>What it is</Info>
      <Annotation>{description} (hpcvm image {digest})</Annotation>
    </AnnotationSection>
    <OperatingSystemSection ovf:id="{system}">
      <Info>Debian GNU/Linux</Info>
      <Description>{vbox}</Description>
      <vbox:OSType ovf:required="false">{vbox}</vbox:OSType>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>What the machine has</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10 virtualbox-2.2</vssd:VirtualSystemType>
      </System>
{items}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
        file = escaped(disk.file),
        length = disk.length,
        capacity = disk.capacity,
        description = escaped(&manifest.description),
        items = items(manifest),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::tests::{ARTEFACTS, manifest};

    #[test]
    fn the_description_is_xml_whatever_the_image_says_of_itself() {
        let mut manifest = manifest("minimal", &ARTEFACTS);
        manifest.description = "a < b & \"c\" \u{1b}[31m\u{ffff}".to_owned();
        manifest.architecture = Architecture::Amd64;
        manifest.run.memory += 1;
        let disk = OvfDisk {
            file: "d.vmdk",
            length: 123,
            capacity: 4096,
        };
        let text = descriptor(&manifest, Digest::of(b"x"), &disk);
        let document = roxmltree::Document::parse(&text).unwrap();
        let all = |name: &'static str| {
            let named = move |node: &roxmltree::Node<'_, '_>| node.tag_name().name() == name;
            document.descendants().filter(named)
        };
        let element = |name: &'static str| all(name).next().unwrap().text().unwrap();
        let digest = Digest::of(b"x");
        assert_eq!(
            element("Annotation"),
            format!("a < b & \"c\"  [31m  (hpcvm image {digest})")
        );
        assert_eq!(element("OSType"), "Debian_64");
        let namespace = "http://schemas.dmtf.org/ovf/envelope/1";
        let file = all("File").next().unwrap();
        assert_eq!(file.attribute((namespace, "href")), Some("d.vmdk"));
        assert_eq!(file.attribute((namespace, "size")), Some("123"));
        let quantities: Vec<&str> = all("VirtualQuantity").filter_map(|node| node.text()).collect();
        assert_eq!(quantities, ["1", "257"]);
        for item in all("Item") {
            let names: Vec<&str> = item.children().map(|child| child.tag_name().name()).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }
}
