//! On what the figures were measured.

use std::fs;

use serde::Serialize;

use crate::architecture::Architecture;
use crate::exec::{ExecError, Invocation, Runner};
use crate::hypervisor::accelerator::Accelerator;

/// What matters of the host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// The processor's name, as the kernel tells it; empty where it does not.
    pub processor: String,
    /// Processors this process may use.
    pub cores: usize,
    /// The host's kernel release.
    pub kernel: String,
    /// Runnable processes over the last minute, before the first launch.
    pub load_before: Option<f64>,
    /// The first line of what QEMU says about itself.
    pub qemu: String,
    /// What executes the guests' instructions.
    pub accelerator: Accelerator,
}

impl Facts {
    /// Looks at this host. What the kernel does not tell is left empty.
    pub fn gather(
        runner: &dyn Runner,
        architecture: Architecture,
        accelerator: Accelerator,
    ) -> Result<Self, ExecError> {
        let version = runner.run(&Invocation::new(architecture.qemu_system()).arg("--version"))?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Ok(Self {
            processor: processor(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load(),
            qemu: version.text().lines().next().unwrap_or_default().to_owned(),
            accelerator,
        })
    }
}

/// Runnable processes over the last minute (proc(5), `/proc/loadavg`).
#[must_use]
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The first processor's name of `/proc/cpuinfo`.
fn processor(cpuinfo: &str) -> String {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let name = fields.find(|(key, _)| key.trim() == "model name");
    name.map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Scripted;

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A  B @ 2.8GHz\n\nmodel name\t: other\n";
        assert_eq!(processor(text), "A  B @ 2.8GHz");
        assert_eq!(processor(""), "");
    }

    #[test]
    fn qemu_says_its_version() {
        let runner = Scripted::answering([Scripted::says("QEMU emulator version 7.2\nCopyright\n")]);
        let facts = Facts::gather(&runner, Architecture::I386, Accelerator::Tcg).unwrap();
        assert_eq!(facts.qemu, "QEMU emulator version 7.2");
        assert_eq!(runner.seen(), ["qemu-system-i386 --version"]);
        assert!(facts.cores > 0 && facts.load_before.is_some());
    }
}
