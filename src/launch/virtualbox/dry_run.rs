//! What a launch would do, as a shell would do it.

use std::fmt::Write as _;
use std::path::Path;

use crate::exec::{FIRST_DESCRIPTOR, Invocation};
use crate::hypervisor::machine::Machine;
use crate::hypervisor::virtualbox::{Folders, SOCKETS};

/// The files that make `machine`, a clone of `base`, known to `VirtualBox` when its launch is in `folder`, and the
/// programs that run it, in this order. `VBoxManage` is not among them.
pub(in super::super) fn dry_run(machine: &Machine, base: &Path, folder: &Path) -> String {
    let (name, sockets) = Folders::sockets_of(folder);
    let home = folder.join("virtualbox");
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("strings take every line");
    line("# Files that are written; VBoxManage is not called.".to_owned());
    let mut file = |path: &Path, what: &str| line(format!("#   {}: {what}", path.display()));
    let (root, rest) = machine
        .disks
        .split_first()
        .expect("a machine has the disk it boots from");
    file(
        &root.file,
        &format!("empty differencing image of {}, attached multi-attach", base.display()),
    );
    for disk in rest {
        file(&disk.file, &format!("the disk {}", disk.id));
        file(&disk.file.with_extension("vmdk"), "its descriptor");
    }
    file(
        &folder.join("hpcvm.vbox"),
        "the machine's settings, with the registry of its disks",
    );
    file(&home.join("VirtualBox.xml"), "a registry with this machine alone");
    line("# Sockets that hpcvm listens on, for COM2 to COM4.".to_owned());
    for socket in SOCKETS {
        line(format!("#   {}", sockets.join(socket).display()));
    }
    line("# Programs, each in the foreground; the second is started when the first has said READY.".to_owned());
    let within = |invocation: Invocation| {
        let invocation = invocation.env("VBOX_USER_HOME", &home);
        invocation.env("VBOX_IPC_SOCKETID", &name).to_string()
    };
    let service = Invocation::new("VBoxSVC").args(["--auto-shutdown", "--inherit-startup-pipe"]);
    line(within(service.arg(FIRST_DESCRIPTOR.to_string())));
    let headless = Invocation::new("VBoxHeadless").args(["--startvm", "hpcvm", "--vrde", "off"]);
    line(within(headless));
    text.truncate(text.trim_end().len());
    text
}
