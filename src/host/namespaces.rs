//! User namespaces: what lets an ordinary user bootstrap a Debian.

use std::time::Duration;

use super::finding::{Finding, State};
use crate::exec::{Ended, ExecError, Host, Invocation};

const LIMIT: Duration = Duration::from_secs(10);

/// Tries to make user namespaces, with a range of users and with one.
pub(super) fn look(host: &Host) -> Finding {
    let subject = "user namespaces";
    if rustix::process::geteuid().is_root() {
        return Finding::ok(subject, "not needed: running as root");
    }
    let attempt = |mapping: &[&str]| -> Result<Ended, ExecError> {
        let unshare = Invocation::new("unshare").arg("--user").args(mapping).arg("true");
        host.run_within(&unshare, LIMIT)
    };
    let ranges = attempt(&["--map-auto", "--map-root-user"]);
    let one = attempt(&["--map-root-user"]);
    judge(subject, ranges, one)
}

fn judge(subject: &str, ranges: Result<Ended, ExecError>, one: Result<Ended, ExecError>) -> Finding {
    let why = match ranges {
        Ok(ended) if ended.success() => return Finding::ok(subject, "work, with a range of users"),
        Ok(ended) => ended.reason(),
        Err(error) => error.to_string(),
    };
    match one {
        Ok(ended) if ended.success() => Finding::bad(
            State::Warning,
            subject,
            format!("work for one user only ({why}): recipes can be built with `bootstrap: extract`"),
            "apt-get install uidmap, then usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        ),
        _ => Finding::bad(
            State::Warning,
            subject,
            format!("do not work ({why}): recipes can be built with `bootstrap: extract`, or by root"),
            "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::exec::Completed;

    fn ended(code: i32) -> Ended {
        Ended {
            status: Some(ExitStatus::from_raw(code << 8)),
            said: Completed::default(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn what_works_decides() {
        let missing = || {
            Err(ExecError::NotFound {
                program: "unshare".into(),
            })
        };
        for (ranges, one, state, words) in [
            (Ok(ended(0)), Ok(ended(0)), State::Ok, "range of users"),
            (Ok(ended(1)), Ok(ended(0)), State::Warning, "one user only"),
            (
                Ok(ended(1)),
                Ok(ended(1)),
                State::Warning,
                "do not work (exit status: 1)",
            ),
            (missing(), missing(), State::Warning, "unshare is not installed"),
        ] {
            let finding = judge("x", ranges, one);
            assert_eq!(finding.state, state);
            assert!(finding.detail.contains(words), "{}", finding.detail);
        }
    }
}
