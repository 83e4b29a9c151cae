//! Whether `VirtualBox` runs machines here, and what is in its way.

use super::finding::{Finding, State};
use crate::exec::Host;
use crate::hypervisor::virtualbox::{Driver, Installation, driver};

const SUBJECT: &str = "VirtualBox";
/// The oldest release that reads the settings we write.
const OLDEST: u32 = 7;

/// Looks for `VirtualBox`, its version and its kernel driver.
pub(super) fn look(host: &Host) -> Finding {
    let Ok(installation) = Installation::find(host) else {
        let remedy = "QEMU runs machines instead; for --hypervisor virtualbox install VirtualBox 7.0 or later";
        return Finding::bad(State::Warning, SUBJECT, "is not installed", remedy);
    };
    judge(installation.version(host).as_deref(), &driver(&installation))
}

fn judge(version: Option<&str>, driver: &Driver) -> Finding {
    let Some(version) = version else {
        let remedy = "look what VBoxManage --version says; QEMU runs machines instead";
        return Finding::bad(State::Warning, SUBJECT, "does not tell its version", remedy);
    };
    let number = version.split('.').next().and_then(|number| number.parse::<u32>().ok());
    if number.is_none_or(|number| number < OLDEST) {
        let detail = format!("{version} does not read the settings that hpcvm writes");
        return Finding::bad(
            State::Warning,
            SUBJECT,
            detail,
            "install VirtualBox 7.0 or later; QEMU runs machines instead",
        );
    }
    let (why, remedy) = match driver {
        // What hpcvm's own tests show is said: docs/virtualbox.md.
        Driver::Usable => {
            return Finding::ok(
                SUBJECT,
                format!("{version} and its kernel driver are here; hpcvm is tested without the driver"),
            );
        }
        Driver::Missing => (
            "its kernel driver is not loaded".to_owned(),
            "as root: modprobe vboxdrv; on Debian after apt-get install virtualbox-dkms linux-headers-$(uname -r)",
        ),
        Driver::Refused(why) => (
            why.clone(),
            "as root: usermod --append --groups vboxusers USER, then log in again; or install its VBoxHeadless set to root",
        ),
    };
    Finding::bad(
        State::Warning,
        SUBJECT,
        format!("{version} runs no machines: {why}"),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_named_with_its_mend() {
        for (version, driver, state, detail, remedy) in [
            (
                Some("7.2.22_Debianr1"),
                Driver::Usable,
                State::Ok,
                "7.2.22_Debianr1 and its kernel driver are here",
                "",
            ),
            (
                Some("7.0.1"),
                Driver::Missing,
                State::Warning,
                "7.0.1 runs no machines: its kernel driver is not loaded",
                "modprobe vboxdrv",
            ),
            (
                Some("7.0.1"),
                Driver::Refused("cannot open it".into()),
                State::Warning,
                "7.0.1 runs no machines: cannot open it",
                "vboxusers",
            ),
            (
                Some("6.1.50"),
                Driver::Usable,
                State::Warning,
                "6.1.50 does not read",
                "7.0 or later",
            ),
            (
                Some("WARNING"),
                Driver::Usable,
                State::Warning,
                "WARNING does not read",
                "7.0 or later",
            ),
            (
                None,
                Driver::Usable,
                State::Warning,
                "does not tell its version",
                "VBoxManage --version",
            ),
        ] {
            let finding = judge(version, &driver);
            assert_eq!(finding.state, state);
            assert!(finding.detail.starts_with(detail), "{}", finding.detail);
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{remedy}");
        }
    }
}
