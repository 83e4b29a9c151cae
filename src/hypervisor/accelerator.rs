//! Which accelerators run guests on this machine: tried, not guessed.
//!
//! That `/dev/kvm` can be opened says little: inside another virtual machine KVM may be there
//! and yet hang at the first instruction in protected mode. So each accelerator gets a small
//! guest that does what a kernel does first (see `probe.S`) and is judged by whether it ends in
//! time. Emulation goes first: what is slower than a few times emulation is of no use.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::probe_rom::{EXIT_RIGHT, EXIT_WRONG, rom};
use crate::architecture::Architecture;
use crate::diagnostic::{Blame, Problem};
use crate::exec::{Ended, ExecError, Host, Invocation};

/// What executes a guest's instructions under QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor itself, through Linux' KVM.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's name for it, as in `-accel kvm`.
    #[must_use]
    pub const fn qemu(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// What came of trying an accelerator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The guest did its work and ended, after this time, QEMU's own start and end included.
    Works(Duration),
    /// It cannot be tried; why.
    Absent(String),
    /// The guest or QEMU failed; how.
    Fails(String),
    /// The guest did not end within this time.
    Hangs(Duration),
}

/// An accelerator and what came of trying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcceleratorState {
    /// Which one.
    pub accelerator: Accelerator,
    /// What came of it.
    pub verdict: Verdict,
}

impl AcceleratorState {
    /// Whether it can run guests.
    #[must_use]
    pub const fn works(&self) -> bool {
        matches!(self.verdict, Verdict::Works(_))
    }
}

/// The probe itself could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// QEMU is not installed or cannot be started.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The guest could not be written.
    #[error("cannot write the probe's guest into {}: {source}", folder.display())]
    Write {
        /// Where it was to go.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Problem for ProbeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exec(error) => error.code(),
            Self::Write { .. } => "HV1401",
        }
    }

    fn blame(&self) -> Blame {
        Blame::Host
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Exec(error) => error.help(),
            Self::Write { .. } => Some("name a folder with some free space with TMPDIR".to_owned()),
        }
    }
}

/// Emulation takes 0.05 s on an idle machine; a loaded one may take its time.
const EMULATION_LIMIT: Duration = Duration::from_secs(10);
/// The least time that KVM gets: it takes 0.06 s to start and end QEMU with it.
const KVM_LIMIT_MIN: Duration = Duration::from_millis(200);
/// The most time that KVM gets.
const KVM_LIMIT_MAX: Duration = Duration::from_secs(2);

/// Tries every accelerator with the QEMU for `architecture`; the best first, working or not.
///
/// Takes 0.05 s where there is no KVM, twice that where it works and 0.3 s where it hangs, on
/// an idle machine; never more than 12 s. The guest is written into `scratch` for that time.
pub fn probe(host: &Host, scratch: &Path, architecture: Architecture) -> Result<Vec<AcceleratorState>, ProbeError> {
    let rom = write_rom(scratch).map_err(|source| ProbeError::Write {
        folder: scratch.to_owned(),
        source,
    })?;
    let attempt = |accelerator, limit| -> Result<Verdict, ProbeError> {
        let ended = host.run_within(&invocation(accelerator, architecture, rom.path()), limit)?;
        Ok(judge(&ended))
    };
    let tcg = attempt(Accelerator::Tcg, EMULATION_LIMIT)?;
    let kvm = match may_use(Path::new("/dev/kvm")) {
        Err(why) => Verdict::Absent(why),
        Ok(()) => attempt(Accelerator::Kvm, kvm_limit(&tcg))?,
    };
    let state = |accelerator, verdict| AcceleratorState { accelerator, verdict };
    Ok(vec![state(Accelerator::Kvm, kvm), state(Accelerator::Tcg, tcg)])
}

/// The first accelerator of `states` that works.
#[must_use]
pub fn best(states: &[AcceleratorState]) -> Option<Accelerator> {
    states.iter().find(|state| state.works()).map(|state| state.accelerator)
}

/// Four times what emulation took: on a machine so loaded that this is long, KVM is slow too.
fn kvm_limit(tcg: &Verdict) -> Duration {
    match tcg {
        Verdict::Works(took) => (*took * 4).clamp(KVM_LIMIT_MIN, KVM_LIMIT_MAX),
        _ => KVM_LIMIT_MAX,
    }
}

fn write_rom(scratch: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix("hpcvm-probe-")
        .suffix(".rom")
        .tempfile_in(scratch)?;
    file.write_all(&rom())?;
    file.flush()?;
    Ok(file)
}

fn may_use(device: &Path) -> Result<(), String> {
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("there is no {}", device.display())),
        Err(error) => Err(format!("cannot open {}: {error}", device.display())),
    }
}

fn invocation(accelerator: Accelerator, architecture: Architecture, rom: &Path) -> Invocation {
    Invocation::new(architecture.qemu_system())
        .args(["-accel", accelerator.qemu(), "-M", "pc", "-m", "16"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .arg("-bios")
        .arg(rom)
}

fn judge(ended: &Ended) -> Verdict {
    match ended.code() {
        Some(EXIT_RIGHT) => Verdict::Works(ended.took),
        Some(EXIT_WRONG) => Verdict::Fails("the guest computed a wrong result".to_owned()),
        // A triple fault resets the machine, which `-no-reboot` turns into an end.
        Some(0) => Verdict::Fails("the guest crashed".to_owned()),
        _ if ended.status.is_none() => Verdict::Hangs(ended.took),
        _ => Verdict::Fails(ended.reason()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::exec::Completed;

    #[test]
    fn endings_are_judged() {
        let took = Duration::from_millis(60);
        let ended = |status: Option<i32>, stderr: &str| Ended {
            status: status.map(ExitStatus::from_raw),
            said: Completed {
                stdout: Vec::new(),
                stderr: stderr.into(),
            },
            took,
        };
        for (status, stderr, expected) in [
            (Some(85 << 8), "", Verdict::Works(took)),
            (
                Some(87 << 8),
                "",
                Verdict::Fails("the guest computed a wrong result".into()),
            ),
            (Some(0), "", Verdict::Fails("the guest crashed".into())),
            (None, "warning: x", Verdict::Hangs(took)),
            (Some(1 << 8), "a\nno kvm\n", Verdict::Fails("no kvm".into())),
            (Some(6), "", Verdict::Fails("ended by signal 6".into())),
        ] {
            assert_eq!(judge(&ended(status, stderr)), expected);
        }
    }

    #[test]
    fn kvm_gets_a_few_times_what_emulation_took() {
        for (took, limit) in [(10, 200), (100, 400), (5000, 2000)] {
            let tcg = Verdict::Works(Duration::from_millis(took));
            assert_eq!(kvm_limit(&tcg), Duration::from_millis(limit));
        }
        assert_eq!(kvm_limit(&Verdict::Fails(String::new())), KVM_LIMIT_MAX);
    }

    #[test]
    fn emulation_works_here() {
        let host = Host::new("/usr/bin:/bin".into(), "/".into());
        let scratch = tempfile::tempdir().unwrap();
        for architecture in [Architecture::I386, Architecture::Amd64] {
            let states = probe(&host, scratch.path(), architecture).unwrap();
            assert!(states[1].works(), "{states:?}");
            assert!(best(&states).is_some());
        }
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            0,
            "the guest is removed"
        );
    }

    #[test]
    fn a_device_that_cannot_be_used_says_why() {
        let why = may_use(Path::new("/dev/hpcvm-has-none")).unwrap_err();
        assert_eq!(why, "there is no /dev/hpcvm-has-none");
    }
}
