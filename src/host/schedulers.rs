//! Which schedulers are here, and how far hpcvm was tried with each.

use super::finding::{Finding, State};
use crate::exec::Host;
use crate::scheduler::{Evidence, Kind, choose, detect};

/// A line for each scheduler that hpcvm speaks to; `has_variable` tells which the environment names.
#[must_use]
pub fn schedulers(host: &Host, has_variable: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    look(&|name| host.find(name).is_some(), has_variable)
}

fn look(has_program: &dyn Fn(&str) -> bool, has_variable: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let found = detect(has_program, has_variable);
    let chosen = choose(&found);
    let line = |kind: Kind| {
        let is_here = kind == Kind::Local || found.iter().any(|found| found.kind == kind);
        let here = match (is_here, kind == chosen) {
            (_, true) => "used where none is named",
            (true, false) => "here",
            (false, false) => "not here",
        };
        let detail = format!("{here}; {}", tried(kind.evidence()));
        let subject = format!("scheduler {kind}");
        if is_here && kind.evidence() != Evidence::Real {
            let remedy = format!("try a small job first: hpcvm submit --scheduler {kind} --wait IMAGE -- true");
            return Finding::bad(State::Warning, subject, detail, remedy);
        }
        Finding::ok(subject, detail)
    };
    Kind::ALL.into_iter().map(line).collect()
}

fn tried(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Real => "jobs ran under the real one in hpcvm's tests",
        Evidence::Dialect => "its dialect was taken by another scheduler's commands; never run under the real one",
        Evidence::Recorded => "rendered as its manual has it; no job ran under the real one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_and_was_never_tried_is_warned_of() {
        let lsf = ["bsub", "bjobs", "bkill"];
        let findings = look(&|name| lsf.contains(&name), &|_| false);
        let warned: Vec<_> = findings.iter().filter(|finding| finding.state != State::Ok).collect();
        assert_eq!(findings.len(), Kind::ALL.len());
        assert_eq!(warned.len(), 1);
        assert_eq!(
            (warned[0].subject.as_str(), warned[0].detail.as_str()),
            (
                "scheduler lsf",
                "used where none is named; rendered as its manual has it; no job ran under the real one"
            )
        );
        let local = look(&|_| false, &|_| false).pop().unwrap();
        assert_eq!((local.subject.as_str(), local.state), ("scheduler local", State::Ok));
        assert!(local.detail.starts_with("used where none is named; "));
    }
}
