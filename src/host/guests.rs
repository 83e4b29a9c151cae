//! Whether guests run: programs of the guest's architecture, and guests themselves.

use std::path::Path;
use std::time::Duration;

use super::finding::{Finding, State};
use crate::architecture::Architecture;
use crate::exec::{Host, Invocation, Runner};
use crate::hypervisor::accelerator::{self, Accelerator, AcceleratorState, Verdict};

/// Whether the host runs programs of this architecture, which maintainer scripts need.
pub(super) fn foreign_programs(runner: &Host, architecture: Architecture) -> Finding {
    let subject = format!("{architecture} programs");
    let arch_test = Invocation::new("arch-test").arg(architecture.debian());
    let why = match runner.run_within(&arch_test, Duration::from_secs(10)) {
        Ok(ended) if ended.success() => return Finding::ok(subject, "run"),
        Ok(ended) => ended.reason(),
        Err(error) => error.to_string(),
    };
    Finding::bad(
        State::Warning,
        subject,
        format!("do not run ({why}): recipes can be built with `bootstrap: extract`"),
        "apt-get install qemu-user-static binfmt-support",
    )
}

/// Tries every accelerator with a small guest.
pub(super) fn accelerators(host: &Host, scratch: &Path, architecture: Architecture) -> Vec<Finding> {
    match accelerator::probe(host, scratch, architecture) {
        Ok(states) => states.iter().map(|state| judge(architecture, state)).collect(),
        Err(error) => vec![Finding::bad(
            State::Problem,
            format!("{architecture} guests"),
            error.to_string(),
            crate::diagnostic::Problem::help(&error).unwrap_or_default(),
        )],
    }
}

fn judge(architecture: Architecture, state: &AcceleratorState) -> Finding {
    let subject = format!("{architecture} guests, {}", state.accelerator.qemu());
    let detail = match &state.verdict {
        Verdict::Works(took) => {
            return Finding::ok(subject, format!("work: probe took {:.2} s", took.as_secs_f64()));
        }
        Verdict::Absent(why) => why.clone(),
        Verdict::Fails(why) => format!("fail: {why}"),
        Verdict::Hangs(limit) => format!("hang: no answer in {:.2} s", limit.as_secs_f64()),
    };
    if state.accelerator == Accelerator::Tcg {
        let remedy = "apt-get install --reinstall qemu-system-x86";
        return Finding::bad(State::Problem, subject, detail, remedy);
    }
    // Emulation stands in for it, several times slower.
    let remedy = match &state.verdict {
        Verdict::Absent(_) => {
            "emulation is used instead; KVM needs virtualisation in the firmware and membership in the group kvm"
        }
        _ => "emulation is used instead; KVM inside another virtual machine often is of no use",
    };
    Finding::bad(State::Warning, subject, detail, remedy)
}

/// Whether apt knows where packages come from.
pub(super) fn package_sources(runner: &dyn Runner) -> Finding {
    let subject = "package sources";
    let asked = Invocation::new("apt-get").args(["indextargets", "--format", "$(RELEASE)", "Created-By: Packages"]);
    let none = |detail: String| {
        Finding::bad(
            State::Warning,
            subject,
            detail,
            "name a mirror in recipes (base: {mirror: ...}), or add sources to /etc/apt/sources.list.d and run apt-get update",
        )
    };
    let told = match runner.run(&asked) {
        Ok(completed) => completed.text(),
        Err(error) => return none(error.to_string()),
    };
    let mut releases: Vec<&str> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    releases.sort_unstable();
    releases.dedup();
    if releases.is_empty() {
        return none("apt knows of none".to_owned());
    }
    Finding::ok(subject, releases.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{ExecError, Scripted};

    #[test]
    fn without_kvm_there_is_a_warning_without_emulation_a_problem() {
        let hangs = || Verdict::Hangs(Duration::from_millis(201));
        for (accelerator, verdict, state, detail) in [
            (Accelerator::Kvm, hangs(), State::Warning, "hang: no answer in 0.20 s"),
            (Accelerator::Tcg, hangs(), State::Problem, "hang: no answer in 0.20 s"),
            (Accelerator::Kvm, Verdict::Absent("none".into()), State::Warning, "none"),
            (
                Accelerator::Kvm,
                Verdict::Works(Duration::from_millis(61)),
                State::Ok,
                "work: probe took 0.06 s",
            ),
        ] {
            let finding = judge(Architecture::I386, &AcceleratorState { accelerator, verdict });
            assert_eq!((finding.state, finding.detail.as_str()), (state, detail));
        }
    }

    #[test]
    fn package_sources_are_listed_once() {
        let runner = Scripted::answering([
            Scripted::says("bookworm\nbookworm-updates\nbookworm\n"),
            Scripted::says("\n"),
            Err(ExecError::NotFound {
                program: "apt-get".into(),
            }),
        ]);
        let findings: Vec<Finding> = (0..3).map(|_| package_sources(&runner)).collect();
        assert_eq!(findings[0].detail, "bookworm, bookworm-updates");
        assert_eq!(findings[1].detail, "apt knows of none");
        assert_eq!(findings[2].detail, "apt-get is not installed");
        assert_eq!(findings[2].state, State::Warning);
    }
}
