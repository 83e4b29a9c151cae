//! Clones: nothing to copy for a read-only root, a differencing image for a writable one.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::boot_image::BootImage;
use super::error::LaunchError;
use super::request::Start;
use crate::exec::{Invocation, Runner};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::machine::{Bus, Disk, DiskFormat};
use crate::hypervisor::qemu::UnspeakablePath;
use crate::hypervisor::virtualbox;
use crate::recipe::RootKind;

/// The file that takes what a guest writes to its root file system.
pub(super) const CLONE: &str = "clone.qcow2";

/// The disk the guest has its root file system on.
pub(super) fn root_disk(image: &BootImage, hypervisor: Hypervisor, start: Start, folder: &Path) -> Disk {
    let (offset, length) = image.root_part;
    let disk = |file: PathBuf, format, read_only, bus| Disk {
        id: "root".to_owned(),
        file,
        format,
        read_only,
        bus,
    };
    if hypervisor == Hypervisor::VirtualBox {
        return disk(folder.join("clone.vdi"), DiskFormat::DifferencingVdi, false, Bus::Board);
    }
    match (start, image.root) {
        (Start::Direct, RootKind::ReadOnly) => disk(
            image.disk.clone(),
            DiskFormat::RawPart(offset, length),
            true,
            Bus::Virtio,
        ),
        (Start::Direct, RootKind::Writable) => disk(folder.join(CLONE), DiskFormat::Qcow2, false, Bus::Virtio),
        // QEMU's IDE and AHCI disks cannot be read-only: there a clone takes the writes that do not come.
        (Start::Bios(_), _) => disk(folder.join(CLONE), DiskFormat::Qcow2, false, Bus::Board),
    }
}

/// Makes the differencing image where `disk` needs one (qemu-img(1), `docs/vdi.md`): over the image's own disk, or over
/// what a template wrote, `saved`. One that is there is made anew.
pub(super) fn make(
    runner: &dyn Runner,
    image: &BootImage,
    start: Start,
    disk: &Disk,
    saved: Option<&Path>,
) -> Result<(), LaunchError> {
    match disk.format {
        DiskFormat::Raw | DiskFormat::RawPart(..) => return Ok(()),
        DiskFormat::DifferencingVdi => return Ok(virtualbox::make_clone(&image.disk, &disk.file)?),
        DiskFormat::Qcow2 => {}
    }
    let text = |path: &Path| -> Result<String, LaunchError> {
        let text = path.to_str().ok_or_else(|| UnspeakablePath(path.to_owned()))?;
        Ok(text.to_owned())
    };
    let base = text(&image.disk)?;
    let (backing, format) = match (start, saved) {
        (_, Some(saved)) => (text(saved)?, "qcow2"),
        (Start::Bios(_), None) => (base, "vdi"),
        (Start::Direct, None) => {
            let (offset, size) = image.root_part;
            let file = json!({"driver": "file", "filename": base});
            (
                format!(
                    "json:{}",
                    json!({"driver": "raw", "offset": offset, "size": size, "file": file})
                ),
                "raw",
            )
        }
    };
    let create = Invocation::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]);
    runner.run(&create.arg(backing).arg(&disk.file))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::exec::Scripted;
    use crate::hypervisor::machine::Chipset;
    use crate::recipe::Init;

    fn image(root: RootKind) -> BootImage {
        BootImage {
            name: "x".into(),
            architecture: Architecture::I386,
            disk: "/store/image.vdi".into(),
            kernel: "/store/kernel".into(),
            initrd: "/store/initrd".into(),
            full_initrd: "/store/initrd-full".into(),
            command_line: String::new(),
            root,
            root_part: (4096, 512),
            init: Init::JobRunner,
            direct: true,
        }
    }

    #[test]
    fn only_what_is_written_to_is_cloned() {
        for (root, start, commands) in [
            (RootKind::ReadOnly, Start::Direct, 0),
            (RootKind::Writable, Start::Direct, 1),
            (RootKind::ReadOnly, Start::Bios(Chipset::Q35), 1),
        ] {
            let runner = Scripted::default();
            let disk = root_disk(&image(root), Hypervisor::Qemu, start, Path::new("/scratch"));
            make(&runner, &image(root), start, &disk, None).unwrap();
            assert_eq!(runner.seen().len(), commands, "{root:?} {start:?}");
            assert_eq!(disk.read_only, commands == 0);
        }
    }

    #[test]
    fn a_copy_of_a_template_goes_on_from_what_that_wrote() {
        let runner = Scripted::default();
        let image = image(RootKind::Writable);
        let disk = root_disk(&image, Hypervisor::Qemu, Start::Direct, Path::new("/scratch"));
        make(&runner, &image, Start::Direct, &disk, Some(Path::new("/t/clone.qcow2"))).unwrap();
        let said = format!("{:?}", runner.seen());
        assert!(
            said.contains("/t/clone.qcow2") && !said.contains("/store/image.vdi"),
            "{said}"
        );
    }
}
