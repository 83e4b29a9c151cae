//! What the installed QEMU is too old for.

use std::time::Duration;

use crate::exec::{Host, Invocation};

/// The first that saves a machine's state to a file and maps memory without any right to write it (QEMU's
/// `docs/about` and its changelog: `migrate file:`, `memory-backend-file,rom=off`).
const SAVES: (u32, u32) = (8, 2);
/// No QEMU needs a second to tell its version, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// The version of the QEMU `program`, if it cannot save machines and restore them as templates need it. One that does not tell
/// its version is tried.
#[must_use]
pub fn too_old_to_save(host: &Host, program: &str) -> Option<String> {
    let ended = host
        .run_within(&Invocation::new(program).arg("--version"), LIMIT)
        .ok()?;
    let said = ended.said.text();
    let version = said.split_once("version ")?.1.split_whitespace().next()?;
    (numbers(version)? < SAVES).then(|| version.to_owned())
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_old_ones_that_tell_it_are_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qemu");
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        for (says, old) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
                Some("7.2.22"),
            ),
            ("QEMU emulator version 8.1.0", Some("8.1.0")),
            ("QEMU emulator version 8.2.0", None),
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", None),
            ("something else", None),
        ] {
            fs::write(&program, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let found = too_old_to_save(&host, program.to_str().unwrap());
            assert_eq!(found.as_deref(), old, "{says}");
        }
        assert_eq!(too_old_to_save(&host, "/no/such/qemu"), None);
    }
}
