//! The programs hpcvm starts.

use std::path::Path;
use std::time::Duration;

use rayon::prelude::*;

use super::finding::{Finding, State};
use super::survey::Purpose;
use crate::exec::{Host, Invocation, debian_package};

/// A program and how it tells its version.
struct Tool {
    name: &'static str,
    /// `None` where it cannot tell: that it can be found must do.
    version: Option<&'static [&'static str]>,
    /// What does not work without it.
    purpose: Purpose,
    /// What stands in for it: without both, it is a problem.
    instead: Option<&'static str>,
}

const fn tool(name: &'static str, version: &'static [&'static str], purpose: Purpose) -> Tool {
    Tool {
        name,
        version: Some(version),
        purpose,
        instead: None,
    }
}

const TOOLS: [Tool; 15] = [
    Tool {
        instead: Some("debootstrap"),
        ..tool("mmdebstrap", &["--version"], Purpose::Build)
    },
    Tool {
        instead: Some("mmdebstrap"),
        ..tool("debootstrap", &["--version"], Purpose::Build)
    },
    tool("arch-test", &["--version"], Purpose::Build),
    tool("apt-get", &["--version"], Purpose::Build),
    tool("dpkg-deb", &["--version"], Purpose::Build),
    Tool {
        version: None,
        ..tool("newuidmap", &[], Purpose::Build)
    },
    tool("mksquashfs", &["-version"], Purpose::Build),
    tool("mke2fs", &["-V"], Purpose::Build),
    tool("debugfs", &["-V"], Purpose::Build),
    // Without arguments it tells its version and how it is used.
    tool("mkfs.vfat", &[], Purpose::Build),
    tool("mcopy", &["-V"], Purpose::Build),
    tool("syslinux", &["-v"], Purpose::Build),
    tool("qemu-system-i386", &["--version"], Purpose::Run),
    tool("qemu-system-x86_64", &["--version"], Purpose::Run),
    tool("qemu-img", &["--version"], Purpose::Run),
];

/// Where distributions keep syslinux' master boot record.
const MBR_PLACES: [&str; 4] = [
    "/usr/lib/syslinux/mbr/mbr.bin",
    "/usr/lib/syslinux/bios/mbr.bin",
    "/usr/share/syslinux/mbr.bin",
    "/usr/lib/syslinux/mbr.bin",
];

/// No tool needs a second to tell its version, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// Every tool that `purpose` needs.
pub(super) fn look(host: &Host, purpose: Option<Purpose>) -> Vec<Finding> {
    let wanted = |tool: &&Tool| purpose.is_none_or(|purpose| purpose == tool.purpose);
    let tools: Vec<&Tool> = TOOLS.iter().filter(wanted).collect();
    let mut findings: Vec<Finding> = tools.par_iter().map(|tool| look_at(host, tool)).collect();
    if purpose != Some(Purpose::Run) {
        findings.push(master_boot_record(&MBR_PLACES));
    }
    findings
}

fn look_at(host: &Host, tool: &Tool) -> Finding {
    let Some(path) = host.find(tool.name) else {
        return missing(tool, tool.instead.filter(|other| host.find(other).is_some()));
    };
    let Some(arguments) = tool.version else {
        return Finding::ok(tool.name, path.display().to_string());
    };
    let ended = match host.run_within(&Invocation::new(&path).args(arguments), LIMIT) {
        Ok(ended) => ended,
        Err(error) => return broken(tool, &error.to_string()),
    };
    let said = ended.said.text() + &String::from_utf8_lossy(&ended.said.stderr);
    match version_in(&said) {
        Some(version) => Finding::ok(tool.name, version),
        None => broken(tool, &ended.reason()),
    }
}

fn missing(tool: &Tool, instead: Option<&str>) -> Finding {
    match instead {
        Some(other) => Finding::bad(
            State::Warning,
            tool.name,
            format!("not installed; {other} is used instead"),
            install(tool.name),
        ),
        None => Finding::bad(State::Problem, tool.name, "not installed", install(tool.name)),
    }
}

fn broken(tool: &Tool, why: &str) -> Finding {
    let package = debian_package(tool.name).unwrap_or(tool.name);
    let remedy = format!("apt-get install --reinstall {package}");
    Finding::bad(State::Warning, tool.name, format!("tells no version: {why}"), remedy)
}

fn install(program: &str) -> String {
    format!("apt-get install {}", debian_package(program).unwrap_or(program))
}

fn master_boot_record(places: &[&str]) -> Finding {
    let found = places.iter().find(|place| Path::new(place).is_file());
    match found {
        Some(place) => Finding::ok("mbr.bin", *place),
        None => Finding::bad(
            State::Problem,
            "mbr.bin",
            "not installed",
            "apt-get install syslinux-common",
        ),
    }
}

/// The first word of `text` that is a version: a digit, then at least one dot; a leading `v`
/// and what closes a bracket or a sentence do not belong to it.
fn version_in(text: &str) -> Option<String> {
    text.lines()
        .take(3)
        .flat_map(str::split_whitespace)
        .map(|word| word.strip_prefix('v').unwrap_or(word))
        .map(|word| word.trim_end_matches(['.', ',', ')']))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (said, version) in [
            ("mmdebstrap 1.3.5", Some("1.3.5")),
            ("debootstrap 1.0.128+nmu2+deb12u2", Some("1.0.128+nmu2+deb12u2")),
            ("arch-test v0.20", Some("0.20")),
            ("mke2fs 1.47.0 (5-Feb-2023)", Some("1.47.0")),
            ("mcopy (GNU mtools) 4.0.32", Some("4.0.32")),
            (
                "Debian 'dpkg-deb' package archive backend version 1.21.22 (amd64).",
                Some("1.21.22"),
            ),
            ("Usage: x\nno digits", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn every_tool_has_a_package_and_every_stand_in_is_a_tool() {
        for tool in &TOOLS {
            assert!(debian_package(tool.name).is_some(), "{}", tool.name);
            let known = |other| TOOLS.iter().any(|tool| tool.name == other);
            assert!(tool.instead.is_none_or(known), "{}", tool.name);
        }
    }

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let nowhere = Host::new("/nonexistent".into(), "/".into());
        let tool = tool("mcopy-of-nobody", &["-V"], Purpose::Build);
        let finding = look_at(&nowhere, &tool);
        assert_eq!(finding.state, State::Problem);
        let bootstrapper = missing(&TOOLS[0], Some("debootstrap"));
        assert_eq!(bootstrapper.state, State::Warning);
        assert_eq!(bootstrapper.remedy.unwrap(), "apt-get install mmdebstrap");
        assert_eq!(
            master_boot_record(&["/nonexistent"]).remedy.unwrap(),
            "apt-get install syslinux-common"
        );
    }

    #[test]
    fn a_tool_of_this_machine_tells_its_version() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let finding = look_at(&host, &tool("dpkg-deb", &["--version"], Purpose::Build));
        assert_eq!(finding.state, State::Ok, "{finding:?}");
    }
}
