use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

fn uuid(last: u8) -> Uuid {
    let mut bytes = [0x11; 16];
    bytes[15] = last;
    Uuid::from_mixed_endian(bytes)
}

fn settings() -> Settings {
    Settings {
        uuid: uuid(1),
        architecture: Architecture::I386,
        is_interpreted: true,
        memory: Bytes::mebibytes(256),
        cpus: 2,
        base: Base {
            file: "/store/a & \"b\"/disk.vdi".into(),
            uuid: uuid(2),
            clone: "/s/clone.vdi".into(),
            clone_uuid: uuid(3),
        },
        disks: vec![("/s/job.vmdk".into(), uuid(4))],
        ports: vec![Port::File("/s/console".into()), Port::Socket("/t/control".into())],
        shares: vec![HostShare {
            folder: "/work/<x>".into(),
            tag: "share0".into(),
            read_only: true,
        }],
        network: Network::User,
    }
}

#[test]
fn a_machine_is_written_whole() {
    insta::assert_snapshot!(settings().machine().unwrap(), @r#"
    <?xml version="1.0"?>
    <VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">
    <Machine uuid="{11111111-1111-1111-1111-111111111101}" name="hpcvm" OSType="Linux26" snapshotFolder="Snapshots" executionEngine="Interpreter">
    <MediaRegistry>
    <HardDisks>
    <HardDisk uuid="{11111111-1111-1111-1111-111111111102}" location="/store/a &amp; &quot;b&quot;/disk.vdi" format="VDI" type="MultiAttach">
    <HardDisk uuid="{11111111-1111-1111-1111-111111111103}" location="/s/clone.vdi" format="VDI"/>
    </HardDisk>
    <HardDisk uuid="{11111111-1111-1111-1111-111111111104}" location="/s/job.vmdk" format="VMDK" type="Normal"/>
    </HardDisks>
    </MediaRegistry>
    <Hardware>
    <CPU count="2">
    <PAE enabled="true"/>
    <LongMode enabled="false"/>
    </CPU>
    <Memory RAMSize="256"/>
    <Boot>
    <Order position="1" device="HardDisk"/>
    <Order position="2" device="None"/>
    <Order position="3" device="None"/>
    <Order position="4" device="None"/>
    </Boot>
    <Display VRAMSize="4"/>
    <BIOS>
    <IOAPIC enabled="true"/>
    <Logo fadeIn="false" fadeOut="false" displayTime="0"/>
    <BootMenu mode="Disabled"/>
    </BIOS>
    <RTC localOrUTC="UTC"/>
    <Network>
    <Adapter slot="0" enabled="true" MACAddress="080027111101" type="virtio"><NAT><DNS pass-domain="false" use-proxy="true"/></NAT></Adapter>
    </Network>
    <UART>
    <Port slot="0" enabled="true" IOBase="0x3f8" IRQ="4" path="/s/console" hostMode="RawFile" server="false" uartType="16550A"/>
    <Port slot="1" enabled="true" IOBase="0x2f8" IRQ="3" path="/t/control" hostMode="HostPipe" server="false" uartType="16550A"/>
    </UART>
    <SharedFolders>
    <SharedFolder name="share0" hostPath="/work/&lt;x&gt;" writable="false" autoMount="false"/>
    </SharedFolders>
    <StorageControllers>
    <StorageController name="SATA" type="AHCI" PortCount="2" useHostIOCache="true" Bootable="true">
    <AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{11111111-1111-1111-1111-111111111103}"/></AttachedDevice>
    <AttachedDevice type="HardDisk" port="1" device="0"><Image uuid="{11111111-1111-1111-1111-111111111104}"/></AttachedDevice>
    </StorageController>
    </StorageControllers>
    </Hardware>
    </Machine>
    </VirtualBox>
    "#);
}

#[test]
fn only_what_is_asked_for_is_there() {
    let plain = Settings {
        architecture: Architecture::Amd64,
        is_interpreted: false,
        network: Network::None,
        shares: Vec::new(),
        ..settings()
    };
    let text = plain.machine().unwrap();
    for (words, expected) in [
        ("executionEngine", false),
        ("NAT", false),
        ("<SharedFolder ", false),
        ("<LongMode enabled=\"true\"/>", true),
        ("<Adapter slot=\"0\" enabled=\"false\"", true),
    ] {
        assert_eq!(text.contains(words), expected, "{words}");
    }
}

#[test]
fn the_registry_names_the_machine() {
    insta::assert_snapshot!(settings().registry(Path::new("/s/hpcvm.vbox")).unwrap(), @r#"
    <?xml version="1.0"?>
    <VirtualBox xmlns="http://www.virtualbox.org/" version="1.12-linux">
    <Global>
    <MachineRegistry>
    <MachineEntry uuid="{11111111-1111-1111-1111-111111111101}" src="/s/hpcvm.vbox"/>
    </MachineRegistry>
    </Global>
    </VirtualBox>
    "#);
}

#[test]
fn names_that_no_settings_file_can_hold_are_refused() {
    for bad in [&b"/a\xff"[..], b"/a\nb"] {
        let mut settings = settings();
        settings.base.file = OsStr::from_bytes(bad).into();
        assert!(matches!(settings.machine(), Err(VirtualBoxError::Name(_))), "{bad:?}");
    }
}
