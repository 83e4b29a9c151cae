//! How the VMs of a slot ended, for people.

use std::fmt::Write as _;
use std::time::Duration;

/// A line for each VM: its index, exit status, time and what went wrong.
#[must_use]
pub fn table(ends: &[(u8, Duration, Option<String>)]) -> String {
    let mut text = String::from("VM  status  seconds\n");
    for (index, (status, took, problem)) in ends.iter().enumerate() {
        let first_line = problem
            .as_deref()
            .and_then(|problem| problem.lines().next())
            .unwrap_or_default();
        let line = format!("{index:<3} {status:<7} {:<8.2} {first_line}", took.as_secs_f64());
        // Writing to a String cannot fail.
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vm_has_its_line() {
        let ends = [
            (0, Duration::from_millis(1830), None),
            (
                122,
                Duration::from_millis(20),
                Some("the guest needs 2 GiB\n  more".to_owned()),
            ),
        ];
        insta::assert_snapshot!(table(&ends), @"
        VM  status  seconds
        0   0       1.83
        1   122     0.02     the guest needs 2 GiB
        ");
    }
}
